// What a cancelled task sees of every port.
#include <atomic>

#include "tests/contract/contract.hpp"
#include "tests/contract/rank_end.hpp"

namespace ferry {
namespace {

class CancellationContract : public Contract {
 protected:
  /// Runs `body` as a task, cancels it while it waits, and joins it. Hangs if the cancellation is
  /// lost.
  void run_cancelled(const std::function<void(World&)>& body) const {
    run([&body](World& world) {
      bool ended = false;
      const auto task = world.executor.spawn("cancelled", [&] {
        body(world);
        ended = true;
      });
      sleep(world, ms(50));
      task->cancel();
      task->join();
      EXPECT_TRUE(ended);
    });
  }
};
FERRY_FOR_EVERY_WORLD(CancellationContract);

TEST_P(CancellationContract, cancel_ends_a_sleep) {
  run_cancelled([](World& world) {
    EXPECT_EQ(world.clock.sleep_until(TimePoint::never()), Wake::cancelled);
  });
}

TEST_P(CancellationContract, cancel_ends_a_wait_for_a_condition) {
  run_cancelled([](World& world) {
    const auto mutex = world.executor.make_mutex();
    const auto condition = world.executor.make_condition();
    const Lock lock(*mutex);
    Wake wake = Wake::ready;
    while (wake == Wake::ready) wake = condition->wait_until(*mutex, TimePoint::never());
    EXPECT_EQ(wake, Wake::cancelled);
  });
}

TEST_P(CancellationContract, cancel_ends_a_wait_for_packets) {
  run_cancelled([](World& world) {
    const RankEnd rank(world, native_on(0));
    Wake wake = Wake::ready;
    while (wake == Wake::ready) wake = rank.set->wait(TimePoint::never());
    EXPECT_EQ(wake, Wake::cancelled);
  });
}

TEST_P(CancellationContract, cancel_ends_a_computation) {
  run_cancelled([](World& world) {
    EXPECT_EQ(world.processor.compute(std::nullopt, Duration::seconds(3600)), Wake::cancelled);
    EXPECT_EQ(world.processor.compute(VmId{0}, Duration::seconds(3600)), Wake::cancelled);
  });
}

TEST_P(CancellationContract, a_cancelled_task_does_not_wait_though_packets_keep_coming) {
  run_cancelled([](World& world) {
    EXPECT_EQ(world.clock.sleep_until(TimePoint::never()), Wake::cancelled);
    const RankEnd rank(world, native_on(0));
    rank.post(rank.address(), Channel::shm, 1);
    rank.set->notify();
    EXPECT_EQ(rank.set->wait(TimePoint::never()), Wake::cancelled);
    const Uncancellable scope(world.executor);
    EXPECT_EQ(rank.set->wait(TimePoint::never()), Wake::ready);
  });
}

TEST_P(CancellationContract, cancel_ends_every_operation_of_the_hypervisor) {
  platform.hypervisor.set_status = Duration::seconds(3600);
  platform.hypervisor.detach_vf = Duration::seconds(3600);
  platform.hypervisor.add_ivshmem = Duration::seconds(3600);
  run([](World& world) {
    const VmId vm{0};
    std::atomic<bool> attaching = false;
    std::vector<std::unique_ptr<Task>> tasks;
    tasks.push_back(world.executor.spawn("set_status", [&] {
      EXPECT_TRUE(
          failed_as(FailureKind::cancelled,
                    world.hypervisor.set_status(vm, Phase::set_pre_migration, TimePoint::never())));
    }));
    tasks.push_back(world.executor.spawn("detach", [&] {
      EXPECT_TRUE(
          failed_as(FailureKind::cancelled,
                    world.hypervisor.detach(vm, DeviceKind::virtual_function, TimePoint::never())));
    }));
    tasks.push_back(world.executor.spawn("attach", [&] {
      EXPECT_TRUE(succeeded(world.hypervisor.detach(vm, DeviceKind::ivshmem, TimePoint::never())));
      attaching = true;
      EXPECT_TRUE(failed_as(FailureKind::cancelled,
                            world.hypervisor.attach(vm, DeviceKind::ivshmem, TimePoint::never())));
    }));
    ASSERT_TRUE(comes_true(world, [&] { return attaching.load(); }));
    sleep(world, ms(100));
    for (const auto& task : tasks) task->cancel();
    for (const auto& task : tasks) task->join();
  });
}

TEST_P(CancellationContract, cancel_ends_every_step_of_a_migration_and_the_vm_stays) {
  // Each step in turn takes an hour, so that the cancellation meets it.
  const std::vector<std::function<void(Platform&)>> slow_steps = {
      [](Platform& changed) { changed.hypervisor.prepare = Duration::seconds(3600); },
      [](Platform& changed) { changed.hypervisor.pin_per_gib = Duration::seconds(1e6); },
      [](Platform& changed) {
        for (auto& stream : changed.streams) stream.bandwidth = Bandwidth::bytes_per_second(1e4);
      },
      [](Platform& changed) { changed.hypervisor.finish = Duration::seconds(3600); },
  };
  for (const auto& slow : slow_steps) {
    platform = small_cluster().platform;
    slow(platform);
    instance.vms[0].virtual_function = false;
    instance.vms[0].ivshmem = Bytes();
    run_cancelled([](World& world) {
      RoundLog rounds;
      const VmId vm{0};
      EXPECT_TRUE(failed_as(FailureKind::cancelled,
                            world.hypervisor.migrate(vm, HostId{3}, {.transport = Transport::rdma},
                                                     rounds, TimePoint::never())));
      const VmInspection found = world.hypervisor.inspect(vm);
      EXPECT_EQ(found.host, HostId{0});
      EXPECT_TRUE(found.running);
    });
  }
}

TEST_P(CancellationContract, every_later_wait_of_a_cancelled_task_is_cancelled_too) {
  run_cancelled([](World& world) {
    EXPECT_EQ(world.clock.sleep_until(TimePoint::never()), Wake::cancelled);
    EXPECT_TRUE(world.executor.cancelled());
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(world.clock.sleep_until(after(world, ms(1))), Wake::cancelled);
      EXPECT_EQ(world.clock.sleep_until(TimePoint::start()), Wake::cancelled);
      const auto mutex = world.executor.make_mutex();
      const auto condition = world.executor.make_condition();
      const Lock lock(*mutex);
      EXPECT_EQ(condition->wait_until(*mutex, TimePoint::never()), Wake::cancelled);
    }
    EXPECT_EQ(RankEnd(world, native_on(0)).set->wait(TimePoint::never()), Wake::cancelled);
    EXPECT_EQ(world.processor.compute(VmId{0}, ms(1)), Wake::cancelled);
    EXPECT_TRUE(failed_as(
        FailureKind::cancelled,
        world.hypervisor.set_status(VmId{0}, Phase::set_pre_migration, TimePoint::never())));
  });
}

TEST_P(CancellationContract, a_task_that_is_cancelled_before_it_waits_does_not_wait) {
  run([](World& world) {
    const auto mutex = world.executor.make_mutex();
    std::unique_ptr<Task> task;
    {
      const Lock lock(*mutex);  // holds the task back until it is cancelled
      task = world.executor.spawn("task", [&] {
        { const Lock held_back(*mutex); }
        EXPECT_TRUE(world.executor.cancelled());
        EXPECT_EQ(world.clock.sleep_until(TimePoint::never()), Wake::cancelled);
      });
      task->cancel();
    }
    task->join();
  });
}

TEST_P(CancellationContract, other_tasks_are_left_alone) {
  run([](World& world) {
    const auto other = world.executor.spawn("other", [&] {
      EXPECT_EQ(world.clock.sleep_until(after(world, ms(50))), Wake::timed_out);
      EXPECT_FALSE(world.executor.cancelled());
    });
    const auto task = world.executor.spawn(
        "task", [&] { EXPECT_EQ(world.clock.sleep_until(TimePoint::never()), Wake::cancelled); });
    task->cancel();
    task->join();
    task->cancel();  // of a task that has ended: harmless
    EXPECT_FALSE(world.executor.cancelled());
    EXPECT_EQ(world.clock.sleep_until(after(world, ms(1))), Wake::timed_out);
    other->join();
  });
}

TEST_P(CancellationContract, an_uncancellable_scope_defers_it) {
  run_cancelled([](World& world) {
    {
      const Uncancellable outer(world.executor);
      {
        const Uncancellable inner(world.executor);
        EXPECT_EQ(world.clock.sleep_until(after(world, ms(100))), Wake::timed_out);
      }
      EXPECT_EQ(world.clock.sleep_until(after(world, ms(10))), Wake::timed_out);
      EXPECT_TRUE(succeeded(
          world.hypervisor.detach(VmId{0}, DeviceKind::virtual_function, TimePoint::never())));
    }
    EXPECT_EQ(world.clock.sleep_until(TimePoint::never()), Wake::cancelled);
  });
}

TEST_P(CancellationContract, an_uncancellable_scope_after_the_cancellation_lets_waits_work_again) {
  run_cancelled([](World& world) {
    EXPECT_EQ(world.clock.sleep_until(TimePoint::never()), Wake::cancelled);
    {
      const Uncancellable scope(world.executor);
      const TimePoint deadline = after(world, ms(10));
      EXPECT_EQ(world.clock.sleep_until(deadline), Wake::timed_out);
      EXPECT_GE(world.clock.now(), deadline);
    }
    EXPECT_EQ(world.clock.sleep_until(TimePoint::never()), Wake::cancelled);
  });
}

}  // namespace
}  // namespace ferry
