#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/ports/randomness.hpp"
#include "core/ports/world_error.hpp"
#include "tests/unit/sim_backend/child.hpp"

namespace ferry {
namespace {

constexpr TimePoint never = TimePoint::never();

/// All that happens to 64 VMs of different size that move at different times, some cancelled and
/// some with a deadline, as text.
std::string log_of_a_busy_world(bool crosstraffic) {
  PlainWorld plain(16);
  plain.instance.networks[0].topology = FatTree{.hosts_per_leaf = 4, .spines = 2};
  plain.platform.hypervisor.prepare = Duration::milliseconds(300);
  plain.platform.hypervisor.serial = Ratio(0.2);
  plain.platform.hypervisor.detach_vf = Duration::milliseconds(120);
  RandomStream random(3, "load");
  for (std::uint32_t i = 0; i < 64; ++i) {
    VmSpec& vm = plain.add_vm(HostId{i % 16}, Bytes::mebi(256 + random.next_below(1024)));
    vm.working_set = vm.memory * 0.5;
    vm.dirty_rate = Bandwidth::bytes_per_second(1e7 * static_cast<double>(random.next_below(4)));
  }
  std::string log;
  const auto say = [&](World& world, VmId vm, const std::string& what) {
    log += std::to_string(world.clock.now().since_start().count_nanoseconds()) + " vm" +
           std::to_string(vm.index) + " " + what + "\n";
  };
  class Rounds final : public TransferObserver {
   public:
    explicit Rounds(std::function<void(VmId, std::string)> tell) : tell_(std::move(tell)) {}
    void round_done(VmId vm, const RoundReport& round) override {
      tell_(vm, "round " + std::to_string(round.round) + " " + std::to_string(round.bytes.count()) +
                    " " + std::to_string(round.dirty_bytes.count()));
    }

   private:
    std::function<void(VmId, std::string)> tell_;
  };
  plain.simulate(
      [&](World& world) {
        std::vector<std::unique_ptr<Task>> tasks;
        for (std::uint32_t i = 0; i < 64; ++i) {
          tasks.push_back(world.executor.spawn("move", [&, i] {
            const VmId vm{i};
            Rounds rounds([&](VmId of, const std::string& what) { say(world, of, what); });
            world.clock.sleep_until(TimePoint::at(Duration::milliseconds(31 * (i % 7))));
            const auto gone = world.hypervisor.detach(vm, DeviceKind::virtual_function, never);
            if (!gone) return say(world, vm, gone.error().reason);
            const TimePoint deadline =
                i % 5 == 0 ? world.clock.now() + Duration::milliseconds(2500) : never;
            const auto moved =
                world.hypervisor.migrate(vm, HostId{(i * 5 + 3) % 16}, {}, rounds, deadline);
            say(world, vm, moved ? "moved" : moved.error().reason);
          }));
        }
        world.clock.sleep_until(TimePoint::at(Duration::milliseconds(1700)));
        for (std::uint32_t i = 0; i < 64; i += 9) tasks[i]->cancel();
        for (const auto& task : tasks) task->join();
      },
      {.seed = 1, .crosstraffic = crosstraffic, .between_steps = {}});
  return log;
}

TEST(SimWorldTest, a_run_repeats_to_the_last_nanosecond) {
  for (const bool crosstraffic : {false, true}) {
    const auto once = text_from_child([&] { return log_of_a_busy_world(crosstraffic); });
    const auto again = text_from_child([&] { return log_of_a_busy_world(crosstraffic); });
    EXPECT_GT(once.size(), 5000U);
    EXPECT_NE(once.find("was cancelled"), std::string::npos);
    EXPECT_NE(once.find("did not end in time"), std::string::npos);
    EXPECT_EQ(once, again);
  }
}

TEST(SimWorldTest, tasks_that_wait_for_each_other_are_named) {
  const std::string message = text_from_child([]() -> std::string {
    try {
      PlainWorld(2).simulate([](World& world) {
        const auto mutex = world.executor.make_mutex();
        const auto condition = world.executor.make_condition();
        std::vector<std::unique_ptr<Task>> tasks;
        for (int i = 0; i < 12; ++i) {
          tasks.push_back(world.executor.spawn("waiter " + std::to_string(i), [&] {
            const Lock lock(*mutex);
            condition->wait_until(*mutex, never);
          }));
        }
        tasks[0]->join();
      });
    } catch (const WorldError& error) {
      return error.what();
    }
    return "no error";
  });
  EXPECT_EQ(
      message,
      "the simulation stands still: nothing is left to happen, but 'first' waits for the end of "
      "a task, 'waiter 0' waits for a condition, 'waiter 1' waits for a condition, 'waiter 2' "
      "waits for a condition, 'waiter 3' waits for a condition, 'waiter 4' waits for a "
      "condition, 'waiter 5' waits for a condition, 'waiter 6' waits for a condition, 'waiter "
      "7' waits for a condition, 'waiter 8' waits for a condition and 3 more");
}

TEST(SimWorldTest, a_network_that_moves_nothing_stands_still_too) {
  const std::string message = text_from_child([]() -> std::string {
    PlainWorld plain(2);
    plain.add_vm(HostId{0}, Bytes::gibi(1)).virtual_function = false;
    plain.platform.streams.fill({.bandwidth = Bandwidth::bytes_per_second(1e-30)});
    class Silent final : public TransferObserver {
      void round_done(VmId, const RoundReport&) override {}
    } silent;
    try {
      plain.simulate([&](World& world) {
        // A deadline is kept all the same.
        const auto moved = world.hypervisor.migrate(VmId{0}, HostId{1}, {}, silent,
                                                    TimePoint::at(Duration::milliseconds(5)));
        EXPECT_FALSE(moved);
        EXPECT_EQ(world.clock.now(), TimePoint::at(Duration::milliseconds(5)));
      });
    } catch (const WorldError& error) {
      return error.what();
    }
    return "no error";
  });
  EXPECT_EQ(message, "no error");
}

TEST(SimWorldTest, what_the_body_throws_comes_out) {
  const std::string message = text_from_child([]() -> std::string {
    try {
      PlainWorld(2).simulate([](World& world) {
        const auto other = world.executor.spawn("other", [&world] {
          world.clock.sleep_until(TimePoint::at(Duration::milliseconds(1)));
        });
        throw std::runtime_error("thrown");
      });
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "nothing";
  });
  EXPECT_EQ(message, "thrown");
}

TEST(SimWorldTest, tasks_can_be_cancelled_between_steps) {
  text_from_child([] {
    Task* victim = nullptr;
    int steps = 0;
    SimOptions options;
    options.between_steps = [&] {
      if (++steps == 20) victim->cancel();
    };
    PlainWorld plain(2);
    plain.simulate(
        [&](World& world) {
          const auto task = world.executor.spawn("victim", [&] {
            EXPECT_EQ(world.clock.sleep_until(TimePoint::at(Duration::seconds(1000))),
                      Wake::cancelled);
            EXPECT_LT(world.clock.now(), TimePoint::at(Duration::milliseconds(25)));
          });
          victim = task.get();
          for (int i = 1; i <= 50; ++i) {
            world.clock.sleep_until(TimePoint::at(Duration::milliseconds(i)));
          }
        },
        options);
    EXPECT_GE(steps, 50);
    return "";
  });
}

TEST(SimWorldTest, an_exception_between_steps_ends_the_run_and_comes_out) {
  const std::string message = text_from_child([]() -> std::string {
    SimOptions options;
    options.between_steps = [] { throw std::runtime_error("interrupted"); };
    try {
      PlainWorld(2).simulate(
          [](World& world) { world.clock.sleep_until(TimePoint::at(Duration::seconds(1))); },
          options);
    } catch (const std::runtime_error& error) {
      return error.what();
    }
    return "nothing";
  });
  EXPECT_EQ(message, "interrupted");
}

TEST(SimWorldTest, thousands_of_hosts_in_several_networks_are_built_and_used) {
  text_from_child([] {
    PlainWorld plain(5000);
    plain.instance.networks[0].carries = {Transport::tcp};
    plain.instance.networks.push_back(plain.instance.networks[0]);
    plain.instance.networks[1].topology = FatTree{.hosts_per_leaf = 32, .spines = 16};
    plain.instance.networks[1].carries = {Transport::rdma};
    plain.add_vm(HostId{0}, Bytes::gibi(1)).virtual_function = false;
    class Silent final : public TransferObserver {
      void round_done(VmId, const RoundReport&) override {}
    } silent;
    plain.simulate([&](World& world) {
      EXPECT_TRUE(world.hypervisor.migrate(
          VmId{0}, HostId{4999}, {.transport = Transport::rdma, .pin_all = false}, silent, never));
      EXPECT_TRUE(world.hypervisor.migrate(VmId{0}, HostId{2500}, {}, silent, never));
    });
    return "";
  });
}

TEST(SimWorldDeathTest, a_second_simulation_in_one_process_is_a_programmers_error) {
  EXPECT_DEATH(
      {
        PlainWorld(2).simulate([](World&) {});
        PlainWorld(2).simulate([](World&) {});
      },
      "one simulation per process");
}

TEST(SimWorldTest, the_engine_writes_nothing_and_leaves_signal_handlers_alone) {
  EXPECT_EQ(text_from_child([]() -> std::string {
              testing::internal::CaptureStdout();
              testing::internal::CaptureStderr();
              PlainWorld plain(2);
              plain.simulate([](World& world) {
                world.clock.sleep_until(TimePoint::at(Duration::nanoseconds(1)));
              });
              struct sigaction handler {};
              sigaction(SIGINT, nullptr, &handler);
              EXPECT_EQ(handler.sa_handler, SIG_DFL);
              return testing::internal::GetCapturedStdout() +
                     testing::internal::GetCapturedStderr();
            }),
            "");
}

}  // namespace
}  // namespace ferry
