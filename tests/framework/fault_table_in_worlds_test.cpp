// Every cell of the phase x fault table, in every world.
#include <gmock/gmock.h>

#include <algorithm>

#include "core/migration/fault_table.hpp"
#include "tests/framework/session_run.hpp"

namespace ferry {
namespace {

constexpr VmId vm0{0};
constexpr HostId host0{0}, host3{3};

class FaultTableInWorlds : public Contract {};
FERRY_FOR_EVERY_WORLD(FaultTableInWorlds);

Duration& timeout_of(Timeouts& timeouts, Phase phase) {
  switch (phase) {
    case Phase::detach_vf: return timeouts.detach;
    case Phase::remove_ivshmem:
    case Phase::add_ivshmem: return timeouts.ivshmem;
    case Phase::migration: return timeouts.migration;
    case Phase::attach_vf: return timeouts.attach;
    default: return timeouts.suspend;
  }
}

void prepare(SessionCase& session, Phase phase, FaultKind kind) {
  MoveSpec& move = session.move(vm0, host3);
  if (kind == FaultKind::times_out) {
    // Well above what the phase takes by itself, well below the stall.
    timeout_of(move.timeouts, phase) = Duration::seconds(3);
    session.fault(vm0, phase, Fault::Fail::no, Duration::seconds(4));
  } else {
    session.fault(vm0, phase,
                  kind == FaultKind::fails_once ? Fault::Fail::once : Fault::Fail::always);
  }
}

TEST_P(FaultTableInWorlds, each_fault_ends_as_the_table_allows) {
  for (const AllowedEnds& cell : fault_table()) {
    if (cell.fault == FaultKind::controller_down) continue;  // recovery_test.cpp
    SCOPED_TRACE(std::string(to_name(cell.phase)) + " " + std::string(to_name(cell.fault)));
    SessionCase session;
    prepare(session, cell.phase, cell.fault);
    GetParam()->run(session.cluster.instance, session.cluster.platform, [&](World& world) {
      const SessionEnd end = run_session(world, session);
      const MoveRecord& move = end.only_move();
      EXPECT_THAT(cell.ends, testing::Contains(move.outcome)) << to_name(move.outcome);
      const bool moved = move.outcome == Outcome::completed;
      EXPECT_EQ(move.to, moved ? host3 : host0);
      EXPECT_EQ(world.hypervisor.inspect(vm0).host, move.to);
      EXPECT_EQ(move.reason.empty(), moved && !cell.why.starts_with("the VM has moved")) << move.reason;
      expect_invariant(world, session, end);
    });
  }
}

TEST_P(FaultTableInWorlds, without_another_virtual_function_a_failed_attach_leads_back) {
  SessionCase session;
  session.cluster.instance.hosts[3].virtual_functions = 1;
  session.move(vm0, host3);
  session.fault(vm0, Phase::attach_vf, Fault::Fail::once);
  GetParam()->run(session.cluster.instance, session.cluster.platform, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    EXPECT_EQ(end.only_move().outcome, Outcome::rolled_back);
    EXPECT_EQ(end.only_move().reason,
              "fault: attach_vf of vm0 fails; host3 has no other free virtual function");
    EXPECT_EQ(world.hypervisor.inspect(vm0).host, host0);
    expect_invariant(world, session, end);
  });
}

TEST_P(FaultTableInWorlds, a_failed_move_is_tried_again_as_often_as_asked) {
  SessionCase session;
  session.move(vm0, host3).retry = {.attempts = 1, .wait = Duration::milliseconds(20)};
  session.fault(vm0, Phase::migration, Fault::Fail::once);
  GetParam()->run(session.cluster.instance, session.cluster.platform, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    EXPECT_EQ(end.only_move().outcome, Outcome::completed);
    EXPECT_EQ(end.only_move().to, host3);
    const auto attempts =
        std::count_if(end.spans.begin(), end.spans.end(),
                      [](const SpanRecord& span) { return span.phase == Phase::migration; });
    EXPECT_EQ(attempts, 2);
    expect_invariant(world, session, end);
  });
}

TEST_P(FaultTableInWorlds, an_unplug_that_timed_out_keeps_the_job_suspended_until_it_completes) {
  SessionCase session;
  prepare(session, Phase::detach_vf, FaultKind::times_out);
  GetParam()->run(session.cluster.instance, session.cluster.platform, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    const SpanRecord detach = end.span(vm0, Phase::detach_vf);
    EXPECT_GE(detach.end - detach.start, Duration::seconds(4));
    const SpanRecord attach = end.span(vm0, Phase::attach_vf);
    EXPECT_GE(attach.start, detach.end);
    EXPECT_EQ(attach.host, host0);
    EXPECT_GE(end.span(vm0, Phase::set_post_migration).start, attach.end);
  });
}

}  // namespace
}  // namespace ferry
