// Every cell of the phase x fault table, in every world.
#include <gmock/gmock.h>

#include <algorithm>

#include "core/migration/fault_table.hpp"
#include "tests/contract/phase_timeouts.hpp"
#include "tests/framework/session_run.hpp"

namespace ferry {
namespace {

constexpr VmId vm0{0}, vm1{1}, vm3{3};
constexpr HostId host0{0}, host1{1}, host2{2}, host3{3};

class FaultTableInWorlds : public Contract {};
FERRY_FOR_EVERY_WORLD(FaultTableInWorlds);

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

bool of_the_cluster(FaultKind kind) {
  return kind == FaultKind::host_down || kind == FaultKind::other_host_down ||
         kind == FaultKind::link_down || kind == FaultKind::slow_link ||
         kind == FaultKind::late_libvirt;
}

ClusterFaultSpec cluster_fault(FaultKind kind, HostId own, HostId other, Duration at) {
  using Kind = ClusterFaultSpec::Kind;
  ClusterFaultSpec fault{.kind = Kind::host_down, .host = own, .from = TimePoint::at(at)};
  if (kind == FaultKind::other_host_down) fault.host = other;
  if (kind == FaultKind::link_down) fault.kind = Kind::link_down;
  if (kind == FaultKind::slow_link) {
    fault.kind = Kind::slow_link;
    fault.factor = Ratio(0.5);
  }
  if (kind == FaultKind::late_libvirt) {
    fault.kind = Kind::late_libvirt;
    fault.delay = Duration::seconds(1);
  }
  return fault;
}

void expect_lost_or_invariant(World& world, const SessionCase& session, const SessionEnd& end,
                              VmId vm) {
  if (end.only_move().outcome != Outcome::lost) {
    expect_invariant(world, session, end);
    return;
  }
  EXPECT_FALSE(world.hypervisor.inspect(vm).running);
  EXPECT_TRUE(end.held[vm.index].empty()) << "what is lost holds no place";
  EXPECT_NE(end.only_move().reason, "");
  expect_history_is_complete(world, session, end);
}

TEST_P(FaultTableInWorlds, each_fault_ends_as_the_table_allows) {
  for (const AllowedEnds& cell : fault_table()) {
    if (cell.fault == FaultKind::controller_down) continue;  // recovery_test.cpp
    if (of_the_cluster(cell.fault)) continue;                // below
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
      EXPECT_EQ(move.reason.empty(), moved && !cell.why.starts_with("the VM has moved"))
          << move.reason;
      expect_invariant(world, session, end);
    });
  }
}

TEST_P(FaultTableInWorlds, each_fault_of_the_cluster_ends_as_the_table_allows) {
  // vm3 is alone on its host.
  constexpr int attempts = 10;  // a busy machine may be late for the phase that is meant
  for (const AllowedEnds& cell : fault_table()) {
    if (!of_the_cluster(cell.fault)) continue;
    SCOPED_TRACE(std::string(to_name(cell.phase)) + " " + std::string(to_name(cell.fault)));
    const bool arrived = cell.phase > Phase::migration;
    const Duration at = Duration::seconds(1);
    for (int attempt = 0; attempt < attempts; ++attempt) {
      SessionCase session;
      session.move(vm3, host3);
      session.fault(vm3, cell.phase, Fault::Fail::no, Duration::seconds(2));
      session.cluster.platform.hypervisor.keepalive = Duration::seconds(1);
      session.cluster.instance.cluster_faults = {
          cluster_fault(cell.fault, arrived ? host3 : host2, arrived ? host2 : host3, at)};
      bool meant = false;
      // The simulated world's body runs in another process: it tells by failing, or it hits at
      // once.
      GetParam()->run(session.cluster.instance, session.cluster.platform, [&](World& world) {
        const SessionEnd end = run_session(world, session);
        meant = std::any_of(end.spans.begin(), end.spans.end(), [&](const SpanRecord& span) {
          return span.vm == vm3 && span.phase == cell.phase && span.start <= TimePoint::at(at) &&
                 TimePoint::at(at) <= span.end;
        });
        if (GetParam()->name() == "simulated") {
          EXPECT_TRUE(meant);
        }
        if (!meant) return;
        EXPECT_THAT(cell.ends, testing::Contains(end.only_move().outcome))
            << to_name(end.only_move().outcome) << ": " << end.only_move().reason;
        expect_lost_or_invariant(world, session, end, vm3);
      });
      if (meant || GetParam()->name() == "simulated") break;
      EXPECT_LT(attempt, attempts - 1) << "the phase was never hit";
    }
  }
}

/// A move of 8 s, in which something happens after 3 s.
struct LongMove {
  const char* what;
  MemoryMode mode;
  ClusterFaultSpec::Kind kind;
  HostId host;
  Duration lasts;  ///< zero: for good
  Outcome outcome;
};

constexpr Duration for_good = Duration::zero();

class LongMoves : public FaultTableInWorlds {
 protected:
  void run_case(const LongMove& row, Duration prepare = Duration::zero()) {
    SCOPED_TRACE(row.what);
    SessionCase session;
    MoveSpec& move = session.move(vm3, host3);
    move.timeouts.migration = Duration::seconds(60);
    move.transfer.mode = row.mode;
    VmSpec& vm = session.cluster.instance.vms[vm3.index];
    vm.memory = Bytes(8'000'000'512);
    vm.zero = Ratio(0);
    session.cluster.platform.hypervisor.keepalive = Duration::seconds(1);
    session.cluster.platform.hypervisor.prepare += prepare;
    // Pinned by the attach, in good time.
    session.cluster.platform.hypervisor.attach_vf.per_gib = Duration::zero();
    ClusterFaultSpec fault{
        .kind = row.kind, .host = row.host, .from = TimePoint::at(Duration::seconds(3))};
    if (row.lasts > Duration::zero()) fault.until = fault.from + row.lasts;
    session.cluster.instance.cluster_faults = {fault};
    GetParam()->run(session.cluster.instance, session.cluster.platform, [&](World& world) {
      const SessionEnd end = run_session(world, session);
      EXPECT_EQ(end.only_move().outcome, row.outcome) << end.only_move().reason;
      expect_lost_or_invariant(world, session, end, vm3);
      if (row.outcome != Outcome::lost) return;
      EXPECT_EQ(end.span(vm3, Phase::migration).outcome, Outcome::failed);
      EXPECT_EQ(end.progress.failed, 1U);
    });
  }
};
FERRY_FOR_EVERY_WORLD(LongMoves);

using ClusterKind = ClusterFaultSpec::Kind;

TEST_P(LongMoves, post_copy_is_lost_where_its_network_or_one_of_its_hosts_fails) {
  for (const LongMove& row : std::initializer_list<LongMove>{
           {"source's link", MemoryMode::postcopy, ClusterKind::link_down, host2, for_good,
            Outcome::lost},
           {"destination's link", MemoryMode::postcopy, ClusterKind::link_down, host3, for_good,
            Outcome::lost},
           {"source", MemoryMode::postcopy, ClusterKind::host_down, host2, for_good, Outcome::lost},
           {"destination", MemoryMode::postcopy, ClusterKind::host_down, host3, for_good,
            Outcome::lost},
           {"a link for a moment", MemoryMode::postcopy, ClusterKind::link_down, host3, ms(500),
            Outcome::completed},
           {"a host for a moment", MemoryMode::postcopy, ClusterKind::host_down, host2, ms(500),
            Outcome::lost}}) {
    run_case(row);
  }
}

TEST_P(LongMoves, post_copy_goes_on_at_its_source_where_that_fails_before_the_switch) {
  run_case({"destination", MemoryMode::postcopy, ClusterKind::host_down, host3, for_good,
            Outcome::rolled_back},
           Duration::seconds(6));
  run_case({"source", MemoryMode::postcopy, ClusterKind::host_down, host2, for_good, Outcome::lost},
           Duration::seconds(6));
}

TEST_P(LongMoves, pre_copy_is_lost_with_its_source_only) {
  for (const LongMove& row : std::initializer_list<LongMove>{
           {"source's link", MemoryMode::precopy, ClusterKind::link_down, host2, for_good,
            Outcome::rolled_back},
           {"destination's link", MemoryMode::precopy, ClusterKind::link_down, host3, for_good,
            Outcome::rolled_back},
           {"source", MemoryMode::precopy, ClusterKind::host_down, host2, for_good, Outcome::lost},
           {"destination", MemoryMode::precopy, ClusterKind::host_down, host3, for_good,
            Outcome::rolled_back},
           {"a link for a moment", MemoryMode::precopy, ClusterKind::link_down, host2, ms(500),
            Outcome::completed},
           {"a host for a moment", MemoryMode::precopy, ClusterKind::host_down, host3, ms(500),
            Outcome::rolled_back},
           {"paused, the source", MemoryMode::offline, ClusterKind::host_down, host2, for_good,
            Outcome::lost},
           {"paused, the destination", MemoryMode::offline, ClusterKind::host_down, host3, for_good,
            Outcome::rolled_back}}) {
    run_case(row);
  }
}

TEST_P(FaultTableInWorlds, a_link_that_is_slow_or_down_for_a_time_costs_just_that_time) {
  const auto migration = [&](const std::vector<ClusterFaultSpec>& faults, Duration least) {
    SessionCase session;
    MoveSpec& move = session.move(vm0, host3);
    move.timeouts.migration = Duration::seconds(60);
    move.transfer.mode = MemoryMode::offline;
    VmSpec& vm = session.cluster.instance.vms[vm0.index];
    vm.memory = Bytes(2'000'003'072);  // 2 s at 1 GB/s
    vm.zero = Ratio(0);
    session.cluster.platform.hypervisor.attach_vf.per_gib = Duration::zero();
    for (Network& network : session.cluster.instance.networks) {
      network.link.bandwidth = Bandwidth::bytes_per_second(1e9);
    }
    session.cluster.instance.cluster_faults = faults;
    GetParam()->run(session.cluster.instance, session.cluster.platform, [&](World& world) {
      const SessionEnd end = run_session(world, session);
      EXPECT_EQ(end.only_move().outcome, Outcome::completed) << end.only_move().reason;
      const SpanRecord span = end.span(vm0, Phase::migration);
      EXPECT_GE(span.end - span.start, least);
      if (GetParam()->name() == "simulated") {
        EXPECT_LE(span.end - span.start, least + ms(11));  // prepare, finish, clean_up
      }
      expect_invariant(world, session, end);
    });
  };
  const TimePoint from = TimePoint::at(ms(500));
  ClusterFaultSpec fault{
      .kind = ClusterKind::link_down, .host = host0, .from = from, .until = from + ms(700)};
  migration({}, ms(2000));
  migration({fault}, ms(2700));
  // Both ends at once are down no longer.
  ClusterFaultSpec same = fault;
  same.host = host3;
  migration({fault, same}, ms(2700));
  fault.kind = ClusterKind::slow_link;
  fault.factor = Ratio(0.25);
  fault.host = host3;
  migration({fault}, ms(2000 + 525));
  // A second one on the same way, later.
  ClusterFaultSpec other = fault;
  other.kind = ClusterKind::link_down;
  other.host = host0;
  other.from = fault.until;
  other.until = other.from + ms(300);
  migration({fault, other}, ms(2000 + 525 + 300));
}

TEST_P(FaultTableInWorlds, pending_moves_go_elsewhere_once_their_destination_does_not_answer) {
  SessionCase session;
  session.scenario.schedule.order = Order::sequential;
  session.move(vm1, host3).candidates = {host3, host1};
  session.move(vm3, host3).candidates = {host3, host1};
  session.cluster.platform.hypervisor.keepalive = ms(10);
  session.cluster.instance.cluster_faults = {
      cluster_fault(FaultKind::host_down, host3, host0, Duration::zero())};
  session.cluster.instance.moves[0].place = Place::in_order;
  session.cluster.instance.moves[1].place = Place::pack;
  GetParam()->run(session.cluster.instance, session.cluster.platform, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    ASSERT_EQ(end.moves.size(), 2U);
    EXPECT_EQ(end.moves[0].outcome, Outcome::rolled_back);
    EXPECT_THAT(end.moves[0].reason, testing::StartsWith("host3 does not answer: "));
    EXPECT_EQ(end.moves[1].outcome, Outcome::completed);
    EXPECT_EQ(end.moves[1].to, host1);
    EXPECT_THAT(end.journal, testing::Contains("down host3"));
    expect_invariant(world, session, end);
  });
}

TEST_P(FaultTableInWorlds, a_retry_goes_elsewhere_and_a_move_without_another_host_is_not_made) {
  SessionCase session;
  session.scenario.schedule.order = Order::sequential;
  session.move(vm1, host3).retry = {.attempts = 1, .wait = ms(10)};
  session.cluster.instance.moves[0].candidates = {host3, host2};
  session.cluster.instance.moves[0].place = Place::in_order;
  session.move(vm3, host3);
  session.cluster.platform.hypervisor.keepalive = ms(10);
  session.cluster.instance.cluster_faults = {
      cluster_fault(FaultKind::host_down, host3, host0, Duration::zero())};
  GetParam()->run(session.cluster.instance, session.cluster.platform, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    ASSERT_EQ(end.moves.size(), 2U);
    for (const MoveRecord& move : end.moves) {
      if (move.vm == vm1) {
        EXPECT_EQ(move.outcome, Outcome::completed) << move.reason;
        EXPECT_EQ(move.to, host2);
      } else {
        EXPECT_EQ(move.outcome, Outcome::not_started);
        EXPECT_EQ(move.reason,
                  "no place for vm3: host3 does not answer, and no running move will free one");
      }
    }
    expect_invariant(world, session, end);
  });
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
