// Control operations whose time varies: lognormal around the platform's constants.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "tests/unit/sim_backend/one_move.hpp"

namespace ferry {
namespace {

using Numbers = std::vector<double>;

/// VMs of one host whose functions take about 100 ms to go.
struct VaryingHosts : PlainWorld {
  VaryingHosts(std::uint32_t guests, double variation) : PlainWorld(2) {
    instance.hosts[0].virtual_functions = guests;
    platform.hypervisor.variation = Ratio(variation);
    platform.hypervisor.detach_vf = ms(100);
    for (std::uint32_t i = 0; i < guests; ++i) {
      add_vm(host(0), Bytes::gibi(1)).virtual_function = true;
    }
  }

  /// How long each took, all asked at once.
  [[nodiscard]] Numbers detaches(std::uint64_t seed = 1) const {
    return numbers_from_child([&] {
      Numbers ends(instance.vms.size());
      SimOptions options;
      options.seed = seed;
      simulate(
          [&](World& world) {
            std::vector<std::unique_ptr<Task>> tasks;
            for (std::uint32_t i = 0; i < ends.size(); ++i) {
              tasks.push_back(world.executor.spawn("detach", [&, i] {
                EXPECT_TRUE(world.hypervisor.detach(vm(i), DeviceKind::virtual_function, never));
                ends[i] = seconds_at(world);
              }));
            }
            for (const auto& task : tasks) task->join();
          },
          options);
      return ends;
    });
  }
};

TEST(VariationTest, is_lognormal_around_the_constant) {
  constexpr std::uint32_t count = 2000;
  Numbers logs = VaryingHosts(count, 0.3).detaches();
  double sum = 0;
  double squares = 0;
  for (double& seconds : logs) {
    seconds = std::log(seconds / 0.1);
    sum += seconds;
    squares += seconds * seconds;
  }
  // Four standard errors of either.
  EXPECT_NEAR(sum / count, 0, 4 * 0.3 / std::sqrt(count));
  EXPECT_NEAR(std::sqrt(squares / count), 0.3, 4 * 0.3 / std::sqrt(2.0 * count));
  // As many on either side, and as far.
  const auto beyond = [&](double from, double to) {
    return std::count_if(logs.begin(), logs.end(), [&](double x) { return from < x && x < to; });
  };
  EXPECT_NEAR(static_cast<double>(beyond(-9, 0)), count / 2.0, 90);
  EXPECT_NEAR(static_cast<double>(beyond(-0.3, 0.3)), 0.683 * count, 85);
}

TEST(VariationTest, is_the_same_for_a_seed_and_a_name) {
  VaryingHosts hosts(4, 0.3);
  const Numbers first = hosts.detaches();
  EXPECT_EQ(hosts.detaches(), first);
  EXPECT_NE(hosts.detaches(2), first);
  // Whatever the order in which a file lists them.
  std::reverse(hosts.instance.vms.begin(), hosts.instance.vms.end());
  Numbers reversed = hosts.detaches();
  std::reverse(reversed.begin(), reversed.end());
  EXPECT_EQ(reversed, first);
  EXPECT_THAT(VaryingHosts(2, 0).detaches(), testing::Each(testing::DoubleNear(0.1, 1e-9)));
}

TEST(VariationTest, is_drawn_for_each_operation_anew) {
  VaryingHosts hosts(1, 0.3);
  hosts.platform.hypervisor.attach_vf.fixed = ms(100);
  hosts.platform.hypervisor.prepare = ms(100);
  hosts.platform.hypervisor.finish = ms(100);
  hosts.platform.hypervisor.clean_up = ms(100);
  in_world(hosts, [](World& world) {
    std::vector<double> ends{0};
    const auto note = [&] { ends.push_back(seconds_at(world)); };
    EXPECT_TRUE(world.hypervisor.detach(vm(0), DeviceKind::virtual_function, never));
    note();
    EXPECT_TRUE(world.hypervisor.attach(vm(0), DeviceKind::virtual_function, never));
    note();
    EXPECT_TRUE(world.hypervisor.detach(vm(0), DeviceKind::virtual_function, never));
    note();
    const VmId works = vm(0);
    EXPECT_TRUE(world.processor.occupy({&works, 1}, ms(100), never));
    note();
    std::vector<double> times;
    for (std::size_t i = 1; i < ends.size(); ++i) times.push_back(ends[i] - ends[i - 1]);
    std::sort(times.begin(), times.end());
    EXPECT_EQ(std::adjacent_find(times.begin(), times.end(),
                                 [](double a, double b) { return b - a < 1e-6; }),
              times.end());
    const Moved moved = move(world, vm(0), host(1));
    EXPECT_EQ(moved.reason, "");
    // 1 GiB at 1 GB/s, and three operations, of which one is in the pause.
    EXPECT_GT(std::abs(moved.seconds - 1.073741824 - 0.3), 1e-6);
    EXPECT_GT(std::abs(moved.downtime - 0.1), 1e-6);
  });
}

TEST(VariationTest, of_one_kind_of_operation_is_the_same_whatever_others_there_are) {
  VaryingHosts hosts(1, 0.3);
  hosts.platform.hypervisor.attach_vf.fixed = ms(100);
  hosts.platform.hypervisor.set_status = ms(100);
  const auto second_detach = [&](bool with_others) {
    return numbers_from_child([&] {
      Numbers times;
      hosts.simulate([&](World& world) {
        const VmId works = vm(0);
        EXPECT_TRUE(world.hypervisor.detach(works, DeviceKind::virtual_function, never));
        if (with_others) {
          EXPECT_TRUE(world.processor.occupy({&works, 1}, ms(100), never));
          EXPECT_TRUE(world.hypervisor.set_status(works, Phase::set_pre_migration, never));
        }
        EXPECT_TRUE(world.hypervisor.attach(works, DeviceKind::virtual_function, never));
        const double asked = seconds_at(world);
        EXPECT_TRUE(world.hypervisor.detach(works, DeviceKind::virtual_function, never));
        times.push_back(seconds_at(world) - asked);
      });
      return times;
    });
  };
  EXPECT_THAT(second_detach(true)[0], testing::DoubleNear(second_detach(false)[0], 1e-9));
}

}  // namespace
}  // namespace ferry
