// The other ways of a virtual function, on every world: what becomes of the jobs, the phases and
// the accounts, and what a controller that went down leaves of it.
#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "core/migration/fault_table.hpp"
#include "tests/framework/session_run.hpp"

namespace ferry {
namespace {

constexpr VmId vm0{0};
constexpr HostId host0{0}, host3{3};

class DeviceStrategiesInWorlds : public Contract {
 protected:
  void SetUp() override {
    Contract::SetUp();
    for (VmSpec& vm : session.cluster.instance.vms) vm.ivshmem = Bytes();
  }
  MoveSpec& move(DeviceStrategy device) {
    MoveSpec& spec = session.move(vm0, host3);
    spec.transfer.device = device;
    return spec;
  }
  void run_case(const std::function<void(World&)>& body) {
    GetParam()->run(session.cluster.instance, session.cluster.platform, body);
  }
  [[nodiscard]] bool simulated() const { return GetParam()->name() == "simulated"; }

  SessionCase session;
  const HypervisorCosts& costs = session.cluster.platform.hypervisor;
};
FERRY_FOR_EVERY_WORLD(DeviceStrategiesInWorlds);

std::set<Phase> phases_of(const SessionEnd& end) {
  std::set<Phase> phases;
  for (const SpanRecord& span : end.spans) phases.insert(span.phase);
  return phases;
}

TEST_P(DeviceStrategiesInWorlds, with_a_stand_in_the_job_goes_on_and_only_redirections_cut_it_off) {
  move(DeviceStrategy::failover);
  run_case([&](World& world) {
    const SessionEnd end = run_session(world, session);
    const MoveRecord& record = end.only_move();
    EXPECT_EQ(record.outcome, Outcome::completed) << record.reason;
    EXPECT_EQ(record.reason, "");
    EXPECT_THAT(end.ranks, testing::IsEmpty());  // nobody was suspended
    EXPECT_EQ(phases_of(end),
              (std::set{Phase::set_pre_migration, Phase::detach_vf, Phase::migration,
                        Phase::attach_vf, Phase::set_post_migration}));
    const SpanRecord migration = end.span(vm0, Phase::migration);
    const SpanRecord attach = end.span(vm0, Phase::attach_vf);
    EXPECT_LE(end.span(vm0, Phase::detach_vf).end, migration.start);
    EXPECT_LE(migration.end, attach.start);
    EXPECT_GT(record.outage, record.transfer.downtime);
    // The slower NIC carried its part from the one redirection to the other.
    const Duration slow = attach.end - migration.start;
    EXPECT_GE(record.lost_traffic, record.outage * 0.99);
    EXPECT_LE(record.lost_traffic,
              record.outage + slow * (1.01 - costs.failover.throughput.value()));
    expect_invariant(world, session, end);
  });
}

TEST_P(DeviceStrategiesInWorlds, a_function_that_moves_leaves_three_phases_and_the_pause) {
  move(DeviceStrategy::vfio);
  run_case([&](World& world) {
    const SessionEnd end = run_session(world, session);
    const MoveRecord& record = end.only_move();
    EXPECT_EQ(record.outcome, Outcome::completed) << record.reason;
    EXPECT_THAT(end.ranks, testing::IsEmpty());
    EXPECT_EQ(phases_of(end),
              (std::set{Phase::set_pre_migration, Phase::migration, Phase::set_post_migration}));
    EXPECT_GE(record.transfer.downtime, costs.vfio.save + costs.vfio.load);
    EXPECT_EQ(record.outage, record.transfer.downtime);
    EXPECT_EQ(record.lost_traffic, record.transfer.downtime);
    expect_invariant(world, session, end);
  });
}

TEST_P(DeviceStrategiesInWorlds, in_the_usual_way_all_is_lost_from_the_drained_channels_on) {
  move(DeviceStrategy::detach);
  run_case([&](World& world) {
    const SessionEnd end = run_session(world, session);
    const MoveRecord& record = end.only_move();
    EXPECT_EQ(record.lost_traffic, record.end - end.span(vm0, Phase::set_pre_migration).end);
    EXPECT_EQ(record.outage, record.end - end.span(vm0, Phase::detach_vf).end);
    expect_invariant(world, session, end);
  });
}

TEST_P(DeviceStrategiesInWorlds, a_function_that_does_not_come_back_leads_to_the_source) {
  move(DeviceStrategy::failover);
  session.fault(vm0, Phase::attach_vf, Fault::Fail::once);
  session.cluster.instance.hosts[3].virtual_functions = 1;  // no other one to try
  run_case([&](World& world) {
    const SessionEnd end = run_session(world, session);
    EXPECT_EQ(end.only_move().outcome, Outcome::rolled_back) << end.only_move().reason;
    EXPECT_EQ(world.hypervisor.inspect(vm0).host, host0);
    expect_invariant(world, session, end);
  });
}

TEST_P(DeviceStrategiesInWorlds, a_state_that_is_too_large_leaves_the_vm_where_it_was) {
  MoveSpec& spec = move(DeviceStrategy::vfio);
  spec.transfer.downtime_limit = ms(1);
  spec.transfer.max_rounds = 3;
  run_case([&](World& world) {
    const SessionEnd end = run_session(world, session);
    EXPECT_EQ(end.only_move().outcome, Outcome::rolled_back) << end.only_move().reason;
    EXPECT_EQ(end.only_move().outage, Duration::zero());
    expect_invariant(world, session, end);
  });
}

TEST_P(DeviceStrategiesInWorlds, a_controller_that_goes_down_at_any_record_leaves_it_whole) {
  constexpr std::uint64_t beyond_the_last = 30;
  for (const DeviceStrategy device : {DeviceStrategy::failover, DeviceStrategy::vfio}) {
    for (std::uint64_t record = 1; record <= beyond_the_last; record += simulated() ? 1 : 3) {
      SCOPED_TRACE(std::string(to_name(device)) + ", record " + std::to_string(record));
      session.cluster.instance.moves.clear();
      move(device);
      run_case([&](World& world) {
        std::size_t controllers = 0;
        const SessionEnd end = run_session_through_downs(
            world, session, {{{record, ControllerDeath::When::torn}, ms(50)}}, &controllers);
        const Outcome outcome = end.only_move().outcome;
        EXPECT_TRUE(outcome == Outcome::completed || outcome == Outcome::rolled_back)
            << to_name(outcome) << ": " << end.only_move().reason;
        EXPECT_THAT(end.ranks, testing::IsEmpty());
        expect_invariant(world, session, end);
      });
    }
  }
}

}  // namespace
}  // namespace ferry
