// What the threads world does beyond the contract of every world.
#include "hw_backend/threads/threads_world.hpp"

#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <stdexcept>
#include <thread>

#include "tests/contract/contract.hpp"

namespace ferry {
namespace {

using std::chrono::steady_clock;

TEST(ThreadsWorld, its_clock_goes_as_fast_as_asked) {
  const SmallCluster cluster = small_cluster();
  run_threads(cluster.instance, cluster.platform, {.speed = 1000}, [](World& world) {
    const auto real_start = steady_clock::now();
    const TimePoint start = world.clock.now();
    sleep(world, Duration::seconds(20));
    const Duration elapsed = world.clock.now() - start;
    const std::chrono::duration<double> real = steady_clock::now() - real_start;
    EXPECT_LE(elapsed.to_seconds(), real.count() * 1000);
    EXPECT_GE(real.count(), 0.02);
  });
}

TEST(ThreadsWorld, it_ends_when_every_task_has_ended_whoever_holds_them) {
  const SmallCluster cluster = small_cluster();
  std::unique_ptr<Task> outlives;
  bool ended = false;
  run_threads(cluster.instance, cluster.platform, {.speed = 100}, [&](World& world) {
    outlives = world.executor.spawn("outlives", [&] {
      sleep(world, Duration::seconds(1));
      ended = true;
    });
  });
  EXPECT_TRUE(ended);
  outlives->join();
}

/// Of a thread that is interrupted: it is held up for 0.3 s of a world at speed 10.
void hold_up(int /*signal*/) { usleep(30'000); }

TEST(ThreadsWorld, a_rank_that_hears_late_of_a_pause_has_not_computed_meanwhile) {
  SmallCluster cluster = small_cluster();
  cluster.instance.vms[0].virtual_function = false;
  cluster.instance.vms[0].ivshmem = Bytes();
  struct sigaction before {};
  struct sigaction during {};
  during.sa_handler = hold_up;
  during.sa_flags = SA_RESTART;
  ASSERT_EQ(sigaction(SIGUSR1, &during, &before), 0);
  run_threads(cluster.instance, cluster.platform, {.speed = 10}, [](World& world) {
    std::atomic<bool> computes = false;
    pthread_t thread{};
    TimePoint start;
    TimePoint end;
    ScopedTask rank(world, "rank", [&] {
      thread = pthread_self();
      start = world.clock.now();
      computes = true;
      EXPECT_EQ(world.processor.compute(VmId{0}, Duration::seconds(1)), Wake::timed_out);
      end = world.clock.now();
    });
    while (!computes) sleep(world, Duration::milliseconds(10));
    sleep(world, Duration::milliseconds(50));
    ASSERT_EQ(pthread_kill(thread, SIGUSR1), 0);
    RoundLog rounds;
    const auto moved = world.hypervisor.migrate(VmId{0}, HostId{3}, {.mode = MemoryMode::offline},
                                                rounds, TimePoint::never());
    ASSERT_TRUE(succeeded(moved));
    rank.join();
    // 64 MiB at 1 GB/s less zero pages.
    EXPECT_GE(end - start, Duration::seconds(1) + Duration::milliseconds(40));
  });
  sigaction(SIGUSR1, &before, nullptr);
}

TEST(ThreadsWorld, what_the_body_throws_reaches_the_caller_after_every_task_has_ended) {
  const SmallCluster cluster = small_cluster();
  std::unique_ptr<Task> outlives;
  bool ended = false;
  try {
    run_threads(cluster.instance, cluster.platform, {.speed = 100}, [&](World& world) {
      outlives = world.executor.spawn("outlives", [&] {
        sleep(world, Duration::seconds(1));
        ended = true;
      });
      throw std::runtime_error("from the body");
    });
    FAIL() << "it was dropped";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "from the body");
  }
  EXPECT_TRUE(ended);
}

TEST(ThreadsWorld, it_does_not_wait_for_an_unplug_that_nobody_waits_for) {
  SmallCluster cluster = small_cluster();
  cluster.platform.hypervisor.detach_vf = Duration::seconds(1e6);
  cluster.platform.hypervisor.serial = Ratio(0.5);  // one in the serial part, one in line
  run_threads(cluster.instance, cluster.platform, {.speed = 100}, [](World& world) {
    for (const VmId vm : {VmId{0}, VmId{1}}) {
      EXPECT_TRUE(failed_as(
          FailureKind::timed_out,
          world.hypervisor.detach(vm, DeviceKind::virtual_function, after(world, ms(100)))));
    }
  });
}

TEST(ThreadsWorld, several_worlds_run_at_the_same_time) {
  const SmallCluster cluster = small_cluster();
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < 3; ++i) {
    threads.emplace_back([&cluster, i] {
      run_threads(cluster.instance, cluster.platform, {.speed = 10}, [i](World& world) {
        for (std::uint32_t vm = 0; vm <= i; ++vm) {
          EXPECT_TRUE(succeeded(
              world.hypervisor.detach(VmId{vm}, DeviceKind::virtual_function, TimePoint::never())));
        }
        for (std::uint32_t vm = 0; vm < 4; ++vm) {
          EXPECT_EQ(world.hypervisor.inspect(VmId{vm}).virtual_function, vm > i);
        }
      });
    });
  }
  for (std::thread& thread : threads) thread.join();
}

/// Attaches the device of vm1 on host0 after vm0 has taken the last one there.
Result<> attach_beyond(SmallCluster cluster, DeviceKind kind) {
  Result<> result;
  run_threads(cluster.instance, cluster.platform, {.speed = 100}, [&](World& world) {
    const TimePoint never = TimePoint::never();
    const VmId guest{1};
    const VmId arriving{2};
    RoundLog log;
    for (const VmId vm : {guest, arriving}) {
      for (const DeviceKind device : {DeviceKind::virtual_function, DeviceKind::ivshmem}) {
        ASSERT_TRUE(succeeded(world.hypervisor.detach(vm, device, never)));
      }
    }
    ASSERT_TRUE(succeeded(world.hypervisor.migrate(arriving, HostId{0}, {}, log, never)));
    ASSERT_TRUE(succeeded(world.hypervisor.attach(arriving, kind, never)));
    result = world.hypervisor.attach(guest, kind, never);
    EXPECT_TRUE(succeeded(world.hypervisor.detach(arriving, kind, never)));
    EXPECT_TRUE(succeeded(world.hypervisor.attach(guest, kind, never)));
  });
  return result;
}

TEST(ThreadsWorld, a_host_gives_no_more_virtual_functions_than_it_has) {
  SmallCluster cluster = small_cluster();
  cluster.instance.hosts[0].virtual_functions = 2;
  const Result<> result = attach_beyond(cluster, DeviceKind::virtual_function);
  ASSERT_TRUE(failed_as(FailureKind::refused, result));
  EXPECT_EQ(result.error().reason, "all 2 virtual functions of host0 are in use");
}

TEST(ThreadsWorld, a_host_gives_no_more_ivshmem_than_it_has) {
  SmallCluster cluster = small_cluster();
  cluster.instance.hosts[0].ivshmem = Bytes::mebi(2) + Bytes::kibi(4);
  const Result<> result = attach_beyond(cluster, DeviceKind::ivshmem);
  ASSERT_TRUE(failed_as(FailureKind::refused, result));
  EXPECT_EQ(result.error().reason, "host0 has 4KiB of ivshmem left and vm1 needs 1MiB");
}

TEST(ThreadsWorld, refusals_of_a_migration_say_why) {
  SmallCluster cluster = small_cluster();
  cluster.instance.networks[0].carries = {Transport::tcp};
  run_threads(cluster.instance, cluster.platform, {.speed = 100}, [](World& world) {
    const TimePoint never = TimePoint::never();
    RoundLog log;
    const auto reason = [&](Transport transport, HostId destination) {
      const auto result =
          world.hypervisor.migrate(VmId{0}, destination, {.transport = transport}, log, never);
      return result ? "it moved" : result.error().reason;
    };
    EXPECT_EQ(reason(Transport::tcp, HostId{3}),
              "vm0 has an attached virtual_function, which blocks migration; detach it first");
    ASSERT_TRUE(succeeded(world.hypervisor.detach(VmId{0}, DeviceKind::virtual_function, never)));
    EXPECT_EQ(reason(Transport::tcp, HostId{3}),
              "vm0 has an attached ivshmem, which blocks migration; detach it first");
    ASSERT_TRUE(succeeded(world.hypervisor.detach(VmId{0}, DeviceKind::ivshmem, never)));
    EXPECT_EQ(reason(Transport::rdma, HostId{3}), "no network carries rdma");
    EXPECT_EQ(reason(Transport::tcp, HostId{0}), "vm0 is on host0 already");
  });
}

TEST(ThreadsWorldDeathTest, only_tasks_wait) {
  const SmallCluster cluster = small_cluster();
  const auto wait_in_a_foreign_thread = [&] {
    run_threads(cluster.instance, cluster.platform, {}, [](World& world) {
      std::thread foreign([&] { world.clock.sleep_until(TimePoint::never()); });
      foreign.join();
    });
  };
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(wait_in_a_foreign_thread(), "only a task of the world waits on its ports");
}

}  // namespace
}  // namespace ferry
