// What `Hypervisor` promises to a controller that finds what an earlier one left at work. The same
// with faults in between: an operation that stalls is under way too.
#include <optional>

#include "core/faults/faulty_hypervisor.hpp"
#include "tests/contract/contract.hpp"

namespace ferry {
namespace {

constexpr DeviceKind vf = DeviceKind::virtual_function;
constexpr VmId vm0{0};
constexpr HostId host0{0};
constexpr HostId host3{3};
constexpr TimePoint never = TimePoint::never();

class SettlingContract : public Contract {
 protected:
  /// vm0 has no device that would block a migration, and takes 0.8 s to move.
  void make_movable() {
    instance.vms[0].virtual_function = false;
    instance.vms[0].ivshmem = Bytes();
    instance.vms[0].memory = Bytes::gibi(1);
  }
  void stall(Phase phase, Duration time) {
    instance.faults.push_back({.phase = phase, .vm = vm0, .stall = time});
  }
};
FERRY_FOR_EVERY_WORLD(SettlingContract);

TEST_P(SettlingContract, a_vm_at_rest_is_settled_at_once) {
  run([](World& world) {
    EXPECT_FALSE(world.hypervisor.inspect(vm0).moving);
    EXPECT_TRUE(succeeded(world.hypervisor.await_settled(vm0, world.clock.now())));
  });
}

TEST_P(SettlingContract, await_settled_ends_when_an_unplug_has_completed) {
  platform.hypervisor.detach_vf = ms(400);
  run([&](World& world) {
    const TimePoint start = world.clock.now();
    ASSERT_TRUE(
        failed_as(FailureKind::timed_out, world.hypervisor.detach(vm0, vf, after(world, ms(5)))));
    EXPECT_TRUE(failed_as(FailureKind::timed_out,
                          world.hypervisor.await_settled(vm0, after(world, ms(20)))));
    EXPECT_TRUE(succeeded(world.hypervisor.await_settled(vm0, never)));
    EXPECT_GE(world.clock.now() - start, ms(400));
    EXPECT_FALSE(world.hypervisor.inspect(vm0).virtual_function);
  });
}

TEST_P(SettlingContract, await_settled_ends_when_a_plug_has_completed) {
  platform.hypervisor.attach_vf.fixed = ms(800);
  run([&](World& world) {
    ASSERT_TRUE(succeeded(world.hypervisor.detach(vm0, vf, never)));
    ScopedTask plug(world, "attach",
                    [&] { EXPECT_TRUE(succeeded(world.hypervisor.attach(vm0, vf, never))); });
    ASSERT_TRUE(
        comes_true(world, [&] { return !world.hypervisor.await_settled(vm0, world.clock.now()); }));
    EXPECT_TRUE(succeeded(world.hypervisor.await_settled(vm0, never)));
    EXPECT_TRUE(world.hypervisor.inspect(vm0).virtual_function);
    plug.join();
  });
}

TEST_P(SettlingContract, await_settled_ends_when_a_migration_has_ended_and_cancels_nothing) {
  make_movable();
  run([&](World& world) {
    RoundLog log;
    ScopedTask move(world, "move", [&] {
      EXPECT_TRUE(succeeded(world.hypervisor.migrate(vm0, host3, {}, log, never)));
    });
    ASSERT_TRUE(comes_true(world, [&] { return world.hypervisor.inspect(vm0).moving; }));
    EXPECT_TRUE(failed_as(FailureKind::timed_out,
                          world.hypervisor.await_settled(vm0, after(world, ms(20)))));
    EXPECT_TRUE(succeeded(world.hypervisor.await_settled(vm0, never)));
    EXPECT_FALSE(world.hypervisor.inspect(vm0).moving);
    EXPECT_EQ(world.hypervisor.inspect(vm0).host, host3);
    move.join();
  });
}

TEST_P(SettlingContract, await_settled_waits_for_its_own_vm_only) {
  platform.hypervisor.detach_vf = Duration::seconds(3600);
  run([&](World& world) {
    ASSERT_TRUE(
        failed_as(FailureKind::timed_out, world.hypervisor.detach(vm0, vf, after(world, ms(5)))));
    EXPECT_TRUE(succeeded(world.hypervisor.await_settled(VmId{1}, never)));
  });
}

TEST_P(SettlingContract, cancelling_ends_a_wait_for_settling) {
  platform.hypervisor.detach_vf = Duration::seconds(3600);
  run([&](World& world) {
    ASSERT_TRUE(
        failed_as(FailureKind::timed_out, world.hypervisor.detach(vm0, vf, after(world, ms(5)))));
    const auto waiter = world.executor.spawn("waiter", [&] {
      EXPECT_TRUE(failed_as(FailureKind::cancelled, world.hypervisor.await_settled(vm0, never)));
    });
    sleep(world, ms(20));
    waiter->cancel();
    waiter->join();
  });
}

TEST_P(SettlingContract, a_migration_that_is_cancelled_from_elsewhere_leaves_the_vm_on_its_source) {
  make_movable();
  run([&](World& world) {
    for (const MemoryMode mode : {MemoryMode::precopy, MemoryMode::offline}) {
      RoundLog log;
      ScopedTask move(world, "move", [&] {
        TransferOptions options;
        options.mode = mode;
        EXPECT_TRUE(failed_as(FailureKind::failed,
                              world.hypervisor.migrate(vm0, host3, options, log, never)));
        // It is the migration that was cancelled, not the task.
        EXPECT_FALSE(world.executor.cancelled());
        EXPECT_EQ(world.clock.sleep_until(after(world, ms(1))), Wake::timed_out);
      });
      ASSERT_TRUE(comes_true(world, [&] { return world.hypervisor.inspect(vm0).moving; }));
      EXPECT_TRUE(succeeded(world.hypervisor.cancel_migration(vm0)));
      EXPECT_TRUE(succeeded(world.hypervisor.await_settled(vm0, never)));
      const VmInspection found = world.hypervisor.inspect(vm0);
      EXPECT_EQ(found.host, host0);
      EXPECT_TRUE(found.running);
      EXPECT_FALSE(found.moving);
      move.join();
    }
    RoundLog log;
    EXPECT_TRUE(succeeded(world.hypervisor.migrate(vm0, host3, {}, log, never)));
  });
}

TEST_P(SettlingContract, cancel_migration_is_refused_if_none_is_under_way) {
  make_movable();
  run([&](World& world) {
    EXPECT_TRUE(failed_as(FailureKind::refused, world.hypervisor.cancel_migration(vm0)));
    RoundLog log;
    EXPECT_TRUE(succeeded(world.hypervisor.migrate(vm0, host3, {}, log, never)));
    EXPECT_TRUE(failed_as(FailureKind::refused, world.hypervisor.cancel_migration(vm0)));
  });
}

TEST_P(SettlingContract, cancel_migration_is_refused_after_the_switch_over_and_the_vm_arrives) {
  make_movable();
  platform.hypervisor.clean_up = ms(500);
  run([&](World& world) {
    RoundLog log;
    ScopedTask move(world, "move", [&] {
      EXPECT_TRUE(succeeded(world.hypervisor.migrate(vm0, host3, {}, log, never)));
    });
    for (int i = 0; world.hypervisor.inspect(vm0).host == host0; ++i) {
      ASSERT_LT(i, 2000) << "it never arrived";
      sleep(world, ms(5));
    }
    EXPECT_TRUE(failed_as(FailureKind::refused, world.hypervisor.cancel_migration(vm0)));
    EXPECT_TRUE(succeeded(world.hypervisor.await_settled(vm0, never)));
    EXPECT_EQ(world.hypervisor.inspect(vm0).host, host3);
    move.join();
  });
}

TEST_P(SettlingContract, a_migration_that_stalls_is_under_way_and_can_be_cancelled) {
  make_movable();
  stall(Phase::migration, Duration::seconds(3600));
  run([&](World& world) {
    FaultyHypervisor faulty(world.hypervisor, world.clock, world.executor, instance);
    RoundLog log;
    ScopedTask move(world, "move", [&] {
      EXPECT_TRUE(failed_as(FailureKind::failed, faulty.migrate(vm0, host3, {}, log, never)));
    });
    ASSERT_TRUE(comes_true(world, [&] { return faulty.inspect(vm0).moving; }));
    EXPECT_TRUE(failed_as(FailureKind::timed_out, faulty.await_settled(vm0, after(world, ms(20)))));
    EXPECT_TRUE(succeeded(faulty.cancel_migration(vm0)));
    EXPECT_TRUE(succeeded(faulty.await_settled(vm0, never)));
    EXPECT_FALSE(faulty.inspect(vm0).moving);
    EXPECT_EQ(faulty.inspect(vm0).host, host0);
    move.join();
  });
}

TEST_P(SettlingContract, a_migration_is_settled_only_when_it_has_ended_after_its_stall) {
  make_movable();
  stall(Phase::migration, ms(100));
  run([&](World& world) {
    FaultyHypervisor faulty(world.hypervisor, world.clock, world.executor, instance);
    RoundLog log;
    ScopedTask move(world, "move",
                    [&] { EXPECT_TRUE(succeeded(faulty.migrate(vm0, host3, {}, log, never))); });
    ASSERT_TRUE(comes_true(world, [&] { return faulty.inspect(vm0).moving; }));
    EXPECT_TRUE(succeeded(faulty.await_settled(vm0, never)));
    EXPECT_EQ(faulty.inspect(vm0).host, host3);
    move.join();
  });
}

TEST_P(SettlingContract, an_unplug_that_begins_late_is_under_way_though_nobody_waits) {
  stall(Phase::detach_vf, ms(300));
  run([&](World& world) {
    FaultyHypervisor faulty(world.hypervisor, world.clock, world.executor, instance);
    const TimePoint start = world.clock.now();
    ASSERT_TRUE(failed_as(FailureKind::timed_out, faulty.detach(vm0, vf, after(world, ms(5)))));
    EXPECT_TRUE(succeeded(faulty.await_settled(vm0, never)));
    EXPECT_GE(world.clock.now() - start, ms(300));
    EXPECT_FALSE(faulty.inspect(vm0).virtual_function);
  });
}

TEST_P(SettlingContract, several_may_await_an_unplug_that_begins_late) {
  stall(Phase::detach_vf, ms(200));
  run([&](World& world) {
    FaultyHypervisor faulty(world.hypervisor, world.clock, world.executor, instance);
    ASSERT_TRUE(failed_as(FailureKind::timed_out, faulty.detach(vm0, vf, after(world, ms(5)))));
    ScopedTask other(world, "other", [&] {
      EXPECT_TRUE(succeeded(faulty.await_detached(vm0, vf, never)));
      EXPECT_FALSE(faulty.inspect(vm0).virtual_function);
    });
    EXPECT_TRUE(succeeded(faulty.await_settled(vm0, never)));
    EXPECT_FALSE(faulty.inspect(vm0).virtual_function);
    other.join();
  });
}

}  // namespace
}  // namespace ferry
