// What `Hypervisor` promises of VMs as they are, whatever their operations take: on pretended VMs,
// and on a lab's, which have their devices when a test begins and when it ends.
#include <numeric>

#include "tests/contract/contract.hpp"

namespace ferry {
namespace {

constexpr DeviceKind vf = DeviceKind::virtual_function;
constexpr DeviceKind ivshmem = DeviceKind::ivshmem;
constexpr VmId vm0{0};

class VmContract : public testing::TestWithParam<const WorldUnderTest*> {
 protected:
  void SetUp() override {
    if (const auto missing = GetParam()->missing()) GTEST_SKIP() << *missing;
    cluster_ = GetParam()->cluster();
  }
  void run(const std::function<void(World&)>& body) const {
    GetParam()->run(cluster_.instance, cluster_.platform, body);
  }
  /// Of waits that end much earlier, if all is well.
  static TimePoint later(const World& world) { return after(world, Duration::seconds(120)); }
  [[nodiscard]] HostId home() const { return cluster_.instance.vms[0].host; }
  [[nodiscard]] HostId other_host() const {
    return {(home().index + 1) % static_cast<std::uint32_t>(cluster_.instance.hosts.size())};
  }

  void expect_at(World& world, HostId host, bool devices) const {
    const VmInspection now = world.hypervisor.inspect(vm0);
    EXPECT_EQ(now.host, host);
    EXPECT_TRUE(now.running);
    EXPECT_FALSE(now.moving);
    EXPECT_EQ(now.virtual_function, devices);
    EXPECT_EQ(now.ivshmem, devices);
  }
  static void detach_both(World& world) {
    for (const DeviceKind kind : {vf, ivshmem}) {
      EXPECT_TRUE(succeeded(world.hypervisor.detach(vm0, kind, later(world))));
    }
  }
  static void attach_both(World& world) {
    for (const DeviceKind kind : {vf, ivshmem}) {
      EXPECT_TRUE(succeeded(world.hypervisor.attach(vm0, kind, later(world))));
    }
  }

  SmallCluster cluster_;
};
INSTANTIATE_TEST_SUITE_P(Worlds, VmContract, testing::ValuesIn(worlds_with_vms()), world_name);

TEST_P(VmContract, a_vm_at_rest_has_nothing_to_wait_for_and_nothing_to_cancel) {
  run([&](World& world) {
    expect_at(world, home(), true);
    EXPECT_TRUE(succeeded(world.hypervisor.await_settled(vm0, later(world))));
    EXPECT_TRUE(failed_as(FailureKind::refused, world.hypervisor.cancel_migration(vm0)));
    expect_at(world, home(), true);
  });
}

TEST_P(VmContract, devices_go_at_their_detach_and_come_back_at_their_attach) {
  run([&](World& world) {
    EXPECT_TRUE(
        failed_as(FailureKind::refused, world.hypervisor.await_detached(vm0, vf, later(world))));
    detach_both(world);
    expect_at(world, home(), false);
    detach_both(world);  // what is not there is gone
    EXPECT_TRUE(succeeded(world.hypervisor.await_detached(vm0, vf, later(world))));
    attach_both(world);
    expect_at(world, home(), true);
    attach_both(world);  // what is there is attached
  });
}

TEST_P(VmContract, a_detach_that_timed_out_completes_later) {
  run([&](World& world) {
    const Result<> detached = world.hypervisor.detach(vm0, vf, after(world, ms(15)));
    if (!detached) {
      EXPECT_TRUE(failed_as(FailureKind::timed_out, detached));
      if (world.hypervisor.inspect(vm0).virtual_function) {
        // Not heard yet, or not answered yet: asking again does no harm.
        EXPECT_TRUE(succeeded(world.hypervisor.detach(vm0, vf, later(world))));
      }
    }
    EXPECT_TRUE(succeeded(world.hypervisor.await_detached(vm0, vf, later(world))));
    EXPECT_FALSE(world.hypervisor.inspect(vm0).virtual_function);
    EXPECT_TRUE(succeeded(world.hypervisor.await_settled(vm0, later(world))));
    EXPECT_TRUE(succeeded(world.hypervisor.attach(vm0, vf, later(world))));
    expect_at(world, home(), true);
  });
}

TEST_P(VmContract, an_attached_device_blocks_the_move) {
  run([&](World& world) {
    RoundLog log;
    const auto refused = world.hypervisor.migrate(vm0, other_host(), {}, log, later(world));
    EXPECT_TRUE(failed_as(FailureKind::refused, refused));
    EXPECT_TRUE(log.rounds.empty());
    expect_at(world, home(), true);
  });
}

TEST_P(VmContract, all_seven_phases_there_and_back) {
  run([&](World& world) {
    for (const HostId to : {other_host(), home()}) {
      EXPECT_TRUE(
          succeeded(world.hypervisor.set_status(vm0, Phase::set_pre_migration, later(world))));
      detach_both(world);
      RoundLog log;
      const auto report = world.hypervisor.migrate(vm0, to, {}, log, later(world));
      ASSERT_TRUE(succeeded(report));
      Bytes total;
      for (const RoundReport& round : log.rounds) total += round.bytes;
      EXPECT_EQ(total, report->bytes);
      EXPECT_GT(report->bytes, Bytes::mebi(1));
      EXPECT_EQ(static_cast<int>(log.rounds.size()), report->rounds);
      EXPECT_EQ(report->note, "");
      expect_at(world, to, false);
      attach_both(world);
      EXPECT_TRUE(
          succeeded(world.hypervisor.set_status(vm0, Phase::set_post_migration, later(world))));
      expect_at(world, to, true);
    }
  });
}

TEST_P(VmContract, a_vm_moves_in_every_memory_mode) {
  run([&](World& world) {
    detach_both(world);
    HostId to = other_host();
    for (const MemoryMode mode :
         {MemoryMode::offline, MemoryMode::postcopy, MemoryMode::hybrid, MemoryMode::precopy}) {
      RoundLog log;
      EXPECT_TRUE(succeeded(world.hypervisor.migrate(vm0, to, {.mode = mode}, log, later(world))));
      expect_at(world, to, false);
      to = to == home() ? other_host() : home();
    }
    attach_both(world);
    expect_at(world, home(), true);
  });
}

TEST_P(VmContract, a_move_whose_deadline_passes_leaves_the_vm_where_it_was) {
  run([&](World& world) {
    detach_both(world);
    RoundLog log;
    // Neither a pretended VM nor a real one moves as fast as that.
    EXPECT_TRUE(failed_as(FailureKind::timed_out,
                          world.hypervisor.migrate(vm0, other_host(), {.mode = MemoryMode::offline},
                                                   log, after(world, ms(15)))));
    expect_at(world, home(), false);
    attach_both(world);
    expect_at(world, home(), true);
  });
}

TEST_P(VmContract, a_cancelled_move_leaves_the_vm_where_it_was) {
  run([&](World& world) {
    detach_both(world);
    const auto move = world.executor.spawn("move", [&] {
      RoundLog log;
      EXPECT_TRUE(failed_as(FailureKind::cancelled,
                            world.hypervisor.migrate(vm0, other_host(), {}, log, later(world))));
    });
    sleep(world, ms(20));
    move->cancel();
    move->join();
    expect_at(world, home(), false);
    attach_both(world);
    expect_at(world, home(), true);
  });
}

TEST_P(VmContract, a_vm_does_not_move_to_where_it_is) {
  run([&](World& world) {
    detach_both(world);
    RoundLog log;
    EXPECT_TRUE(failed_as(FailureKind::refused,
                          world.hypervisor.migrate(vm0, home(), {}, log, later(world))));
    attach_both(world);
    expect_at(world, home(), true);
  });
}

}  // namespace
}  // namespace ferry
