// What `Hypervisor` promises of virtual functions that have a stand-in, or move with their VMs.
#include <algorithm>

#include "tests/contract/contract.hpp"

namespace ferry {
namespace {

constexpr DeviceKind vf = DeviceKind::virtual_function;
constexpr VmId vm0{0}, vm1{1};
constexpr HostId host0{0}, host3{3};
constexpr TimePoint never = TimePoint::never();

/// vm0 holds a virtual function and no IVShmem.
class DeviceStrategiesContract : public Contract {
 protected:
  void SetUp() override {
    Contract::SetUp();
    vm.ivshmem = Bytes();
    vm.dirty_rate = Bandwidth();
    vm.idle_dirty_rate = Bandwidth();
  }
  void falls_back() {
    MoveSpec move;
    move.vm = vm0;
    move.candidates = {host3};
    move.transfer.device = DeviceStrategy::failover;
    instance.moves.push_back(move);
  }

  VmSpec& vm = instance.vms[0];
  const HypervisorCosts& costs = platform.hypervisor;
  const double one_stream = 1e9;  // bytes a second
  TransferOptions with_function{.device = DeviceStrategy::vfio};
};
FERRY_FOR_EVERY_WORLD(DeviceStrategiesContract);

TEST_P(DeviceStrategiesContract,
       traffic_falls_back_when_the_function_has_gone_and_returns_with_it) {
  falls_back();
  run([&](World& world) {
    ASSERT_TRUE(succeeded(world.hypervisor.detach(vm0, vf, never)));
    const TimePoint gone = world.clock.now();
    const Result<Ratio> fallen_back = world.hypervisor.await_traffic(vm0, never);
    ASSERT_TRUE(succeeded(fallen_back));
    EXPECT_EQ(*fallen_back, costs.failover.throughput);
    EXPECT_LE(world.clock.now() - gone, costs.failover.redirect + ms(2000));

    ASSERT_TRUE(succeeded(world.hypervisor.attach(vm0, vf, never)));
    const TimePoint there = world.clock.now();
    const Result<Ratio> returned = world.hypervisor.await_traffic(vm0, never);
    ASSERT_TRUE(succeeded(returned));
    EXPECT_EQ(*returned, Ratio(1));
    // The caller may have heard of the event a little late; the guest has not waited for it.
    EXPECT_GT(world.clock.now() - there, costs.failover.redirect * 0.1);
    const TimePoint flows = world.clock.now();
    ASSERT_TRUE(succeeded(world.hypervisor.await_traffic(vm0, never)));
    EXPECT_LT(world.clock.now() - flows, ms(2000));  // it flows already
  });
}

TEST_P(DeviceStrategiesContract, the_wait_for_traffic_has_a_deadline_and_can_be_cancelled) {
  falls_back();
  platform.hypervisor.failover.redirect = Duration::seconds(3600);
  run([&](World& world) {
    ASSERT_TRUE(succeeded(world.hypervisor.detach(vm0, vf, never)));
    EXPECT_TRUE(failed_as(FailureKind::timed_out,
                          world.hypervisor.await_traffic(vm0, after(world, ms(5)))));
    ScopedTask waits(world, "waits", [&] {
      EXPECT_TRUE(failed_as(FailureKind::cancelled, world.hypervisor.await_traffic(vm0, never)));
    });
  });
}

TEST_P(DeviceStrategiesContract, a_vm_without_a_stand_in_has_no_traffic_to_wait_for) {
  run([&](World& world) {
    EXPECT_TRUE(failed_as(FailureKind::refused, world.hypervisor.await_traffic(vm0, never)));
  });
}

TEST_P(DeviceStrategiesContract, a_function_moves_with_its_vm_while_that_is_paused) {
  run([&](World& world) {
    RoundLog log;
    const auto report = world.hypervisor.migrate(vm0, host3, with_function, log, never);
    ASSERT_TRUE(succeeded(report));
    const VmInspection found = world.hypervisor.inspect(vm0);
    EXPECT_EQ(found.host, host3);
    EXPECT_TRUE(found.virtual_function);
    EXPECT_GE(report->bytes, vm.memory * 0.75 + costs.vfio.state);
    EXPECT_GE(report->downtime, costs.vfio.save + costs.vfio.load + costs.finish +
                                    costs.vfio.state / Bandwidth::bytes_per_second(one_stream));
  });
}

TEST_P(DeviceStrategiesContract, its_place_on_the_source_is_free_again_and_the_other_is_taken) {
  instance.hosts[0].virtual_functions = 2;  // vm0's and vm1's
  instance.hosts[3].virtual_functions = 1;
  instance.vms[1].ivshmem = Bytes();
  run([&](World& world) {
    RoundLog log;
    ASSERT_TRUE(succeeded(world.hypervisor.migrate(vm0, host3, with_function, log, never)));
    EXPECT_TRUE(failed_as(FailureKind::refused,
                          world.hypervisor.migrate(vm1, host3, with_function, log, never)));
    ASSERT_TRUE(succeeded(world.hypervisor.migrate(vm0, host0, with_function, log, never)));
    EXPECT_TRUE(succeeded(world.hypervisor.migrate(vm1, host3, with_function, log, never)));
  });
}

TEST_P(DeviceStrategiesContract, what_qemu_refuses_with_a_function_is_refused) {
  vm.ivshmem = Bytes::mebi(1);
  instance.vms[1].ivshmem = Bytes();
  run([&](World& world) {
    RoundLog log;
    EXPECT_TRUE(failed_as(FailureKind::refused,
                          world.hypervisor.migrate(vm0, host3, with_function, log, never)));
    TransferOptions postcopy = with_function;
    postcopy.mode = MemoryMode::postcopy;
    EXPECT_TRUE(failed_as(FailureKind::refused,
                          world.hypervisor.migrate(vm1, host3, postcopy, log, never)));
    postcopy.mode = MemoryMode::precopy;
    postcopy.on_stall = {OnStall::postcopy};
    EXPECT_TRUE(failed_as(FailureKind::refused,
                          world.hypervisor.migrate(vm1, host3, postcopy, log, never)));
    ASSERT_TRUE(succeeded(world.hypervisor.detach(vm1, vf, never)));
    EXPECT_TRUE(failed_as(FailureKind::refused,
                          world.hypervisor.migrate(vm1, host3, with_function, log, never)));
  });
}

TEST_P(DeviceStrategiesContract, a_state_that_does_not_fit_the_downtime_limit_never_switches_over) {
  with_function.downtime_limit = ms(2);  // 2 MB at 1 GB/s, and the state has 2 MiB
  with_function.max_rounds = 3;
  run([&](World& world) {
    RoundLog log;
    const auto report = world.hypervisor.migrate(vm0, host3, with_function, log, never);
    ASSERT_TRUE(failed_as(FailureKind::failed, report));
    EXPECT_NE(report.error().reason.find("device state"), std::string::npos)
        << report.error().reason;
    const VmInspection found = world.hypervisor.inspect(vm0);
    EXPECT_EQ(found.host, host0);
    EXPECT_TRUE(found.running);
    EXPECT_TRUE(found.virtual_function);
    // Nothing is left behind on the destination.
    with_function.downtime_limit = ms(300);
    for (int i = 0; i < 4; ++i) {
      ASSERT_TRUE(succeeded(
          world.hypervisor.migrate(vm0, i % 2 == 0 ? host3 : host0, with_function, log, never)));
    }
  });
}

}  // namespace
}  // namespace ferry
