// Forecasts of plans on tiny networks, against numbers worked out by hand and closed forms.
#include "controller/planner/forecast.hpp"

#include <gtest/gtest.h>

#include "core/migration/prediction.hpp"

namespace ferry {
namespace {

constexpr Duration second = Duration::milliseconds(1000);

/// Two hosts that are left for one; links of 1 GB/s.
class ForecastTest : public testing::Test {
 protected:
  ForecastTest() {
    for (StreamCosts& stream : scenario.platform.streams) {
      stream.bandwidth = Bandwidth::bytes_per_second(1e9);
    }
    instance.networks = {{.name = "net",
                          .topology = Star{},
                          .link = {Bandwidth::bytes_per_second(1e9), Duration::zero()},
                          .carries = {Transport::tcp}}};
    for (const char* name : {"a", "b", "c", "d"}) {
      instance.hosts.push_back({.name = name,
                                .cores = 64,
                                .memory = Bytes::gibi(64),
                                .virtual_functions = 64,
                                .ivshmem = Bytes::gibi(1)});
    }
  }
  VmSpec& vm(HostId on, Bytes memory) {
    VmSpec spec;
    spec.name = "vm" + std::to_string(instance.vms.size());
    spec.host = on;
    spec.memory = memory;
    spec.working_set = memory;
    spec.virtual_function = false;
    instance.vms.push_back(spec);
    return instance.vms.back();
  }
  MoveSpec& move(VmId vm, HostId to) {
    MoveSpec spec;
    spec.migration = "leave";
    spec.vm = vm;
    spec.candidates = {to};
    instance.moves.push_back(spec);
    return instance.moves.back();
  }
  Forecast forecast(ForecastOptions options = {}) {
    scenario.schedule.order = order;
    const auto plan = make_plan(scenario, instance);
    EXPECT_TRUE(plan.has_value()) << (plan ? "" : plan.error());
    return Forecaster(instance, scenario.platform, *plan->links, plan->moves).run(*plan, options);
  }

  static constexpr HostId a{0};
  static constexpr HostId b{1};
  static constexpr HostId c{2};
  static constexpr HostId d{3};
  Order order = Order::parallel;
  Scenario scenario;
  Instance instance;
};

TEST_F(ForecastTest, a_move_alone_takes_what_the_closed_form_says) {
  HypervisorCosts& costs = scenario.platform.hypervisor;
  costs.set_status = Duration::milliseconds(2);
  costs.detach_vf = Duration::milliseconds(150);
  costs.remove_ivshmem = Duration::milliseconds(80);
  costs.prepare = Duration::milliseconds(450);
  costs.finish = Duration::milliseconds(20);
  costs.clean_up = Duration::milliseconds(50);
  costs.attach_vf = {.fixed = Duration::milliseconds(370), .per_gib = Duration::milliseconds(548)};
  costs.add_ivshmem = Duration::milliseconds(80);
  costs.serial = Ratio(0.65);
  for (const bool at_once : {false, true}) {
    costs.devices_at_once = at_once;
    for (const MemoryMode mode : {MemoryMode::precopy, MemoryMode::postcopy, MemoryMode::offline}) {
      instance.vms.clear();
      instance.moves.clear();
      VmSpec& moved = vm(a, Bytes::gibi(4));
      moved.virtual_function = true;
      moved.ivshmem = Bytes::mebi(64);
      moved.idle_dirty_rate = Bandwidth::bytes_per_second(5e7);
      move(VmId{0}, b).transfer.mode = mode;
      const Forecast result = forecast();
      EXPECT_EQ(result.failed, 0U);
      EXPECT_NEAR(result.makespan.to_seconds(),
                  predict_total(instance, scenario.platform, instance.moves[0]).to_seconds(), 2e-3)
          << at_once << " " << static_cast<int>(mode);
    }
  }
}

TEST_F(ForecastTest, a_limit_holds_except_in_the_pause) {
  const Bandwidth limit = Bandwidth::bytes_per_second(2.5e8);
  const double left = 0.99 * 0.3 * 2.5e8;
  const double paused = (1e9 - left) / 2.5e8;
  vm(a, Bytes(1'000'000'000));
  MoveSpec& spec = move(VmId{0}, c);
  spec.transfer.bandwidth_limit = limit;
  Forecast result = forecast();
  EXPECT_NEAR(result.makespan.to_seconds(), paused + left / 1e9, 1e-6);
  EXPECT_NEAR(result.moves[0].downtime.to_seconds(), left / 1e9, 1e-6);
  EXPECT_NEAR(predict_total(instance, scenario.platform, spec).to_seconds(), paused + left / 1e9,
              1e-6);

  spec.transfer.mode = MemoryMode::offline;
  result = forecast();
  EXPECT_NEAR(result.makespan.to_seconds(), paused + left / 1e9, 1e-6);
  EXPECT_NEAR(result.moves[0].downtime.to_seconds(), paused + left / 1e9, 1e-6);

  spec.transfer.mode = MemoryMode::postcopy;
  EXPECT_NEAR(forecast().makespan.to_seconds(), 4, 1e-6);

  // With another move within its limit beside it, the pause gets what that leaves of the link.
  spec.transfer.mode = MemoryMode::precopy;
  vm(b, Bytes(2'000'000'000));
  move(VmId{1}, c).transfer.bandwidth_limit = limit;
  result = forecast();
  EXPECT_NEAR(result.moves[0].downtime.to_seconds(), left / 7.5e8, 1e-6);
  EXPECT_NEAR(result.moves[1].downtime.to_seconds(), left / 1e9, 1e-6);
}

TEST_F(ForecastTest, a_move_with_another_device_strategy_takes_what_the_closed_form_says) {
  HypervisorCosts& costs = scenario.platform.hypervisor;
  costs.detach_vf = Duration::milliseconds(150);
  costs.prepare = Duration::milliseconds(450);
  costs.finish = Duration::milliseconds(20);
  costs.attach_vf = {.fixed = Duration::milliseconds(370), .per_gib = Duration::milliseconds(548)};
  costs.serial = Ratio(0.65);
  costs.failover = {.redirect = Duration::milliseconds(900), .throughput = Ratio(0.5)};
  costs.vfio = {.state = Bytes(100'000'000),
                .save = Duration::milliseconds(70),
                .load = Duration::milliseconds(130)};
  VmSpec& moved = vm(a, Bytes::gibi(4));
  moved.virtual_function = true;
  moved.idle_dirty_rate = Bandwidth::bytes_per_second(5e7);
  MoveSpec& spec = move(VmId{0}, b);
  for (const DeviceStrategy device : {DeviceStrategy::failover, DeviceStrategy::vfio}) {
    for (const MemoryMode mode : {MemoryMode::precopy, MemoryMode::offline}) {
      spec.transfer.device = device;
      spec.transfer.mode = mode;
      const Forecast result = forecast();
      EXPECT_EQ(result.failed, 0U);
      EXPECT_NEAR(result.makespan.to_seconds(),
                  predict_total(instance, scenario.platform, spec).to_seconds(), 2e-3)
          << to_name(device) << " " << static_cast<int>(mode);
    }
  }
  spec.transfer.mode = MemoryMode::precopy;
  spec.transfer.downtime_limit = Duration::milliseconds(100);  // which the state alone takes
  EXPECT_EQ(forecast().failed, 1U);
}

TEST_F(ForecastTest, others_get_the_links_while_a_device_is_saved) {
  scenario.platform.hypervisor.vfio = {
      .state = Bytes(24'000'000), .save = second, .load = Duration::milliseconds(500)};
  vm(a, Bytes(1'000'000'000)).virtual_function = true;
  vm(b, Bytes(2'000'000'000));
  move(VmId{0}, c).transfer.device = DeviceStrategy::vfio;
  move(VmId{1}, c).transfer.mode = MemoryMode::offline;
  // vm0's round ends when 0.99 x (0.3 s x 0.5 GB/s - 24 MB) are left; then vm1 sends alone.
  constexpr double left = 0.12474;
  const Forecast result = forecast();
  EXPECT_NEAR(result.moves[1].end.to_seconds(), 3, 1e-6);
  EXPECT_NEAR(result.moves[0].end.to_seconds(), 3.024 + 0.5, 1e-6);
  EXPECT_NEAR(result.moves[0].downtime.to_seconds(), 3.024 + 0.5 - 2 * (1 - left), 1e-6);
}

TEST_F(ForecastTest, a_stream_that_is_idle_counts_where_others_expect_their_share) {
  scenario.platform.hypervisor.vfio = {
      .state = Bytes(1), .save = second * 10, .load = Duration::zero()};
  vm(a, Bytes(1'000'000'000)).virtual_function = true;
  vm(b, Bytes(1'000'000'000));
  MoveSpec& first = move(VmId{0}, c);
  first.transfer.device = DeviceStrategy::vfio;
  first.transfer.mode = MemoryMode::offline;
  move(VmId{1}, c);
  // It expects half of the link and gets all of it: less is left for its pause than fits.
  EXPECT_NEAR(forecast().moves[1].downtime.to_seconds(), 0.99 * 0.3 * 0.5, 1e-6);
}

TEST_F(ForecastTest, others_get_the_links_while_a_guest_switches_to_post_copy) {
  scenario.platform.hypervisor.postcopy_switch = second;
  vm(a, Bytes(2'000'000'000));
  vm(b, Bytes(2'000'000'000));
  move(VmId{0}, c).transfer.mode = MemoryMode::hybrid;
  instance.vms[0].idle_dirty_rate = Bandwidth::bytes_per_second(1e9);
  move(VmId{1}, c).transfer.mode = MemoryMode::offline;
  // vm0's round ends when 0.99 x 0.3 s x 0.5 GB/s are left, and as much is of vm1's memory; then
  // all of vm0 is dirty again.
  constexpr double left = 0.1485;
  const Forecast result = forecast();
  EXPECT_NEAR(result.moves[1].end.to_seconds(), 2 * (2 - left) + left, 1e-6);
  EXPECT_NEAR(result.moves[0].end.to_seconds(), 2 * (2 - left) + 1 + 2, 1e-6);
}

TEST_F(ForecastTest, guests_redirect_their_traffic_beside_each_other) {
  scenario.platform.hypervisor.attach_vf.fixed = second;
  scenario.platform.hypervisor.serial = Ratio(1);
  scenario.platform.hypervisor.failover = {.redirect = second * 3, .throughput = Ratio(0.5)};
  for (std::uint32_t i = 0; i < 2; ++i) {
    vm(a, Bytes(0)).virtual_function = true;
    move(VmId{i}, c).transfer.device = DeviceStrategy::failover;
  }
  EXPECT_NEAR(forecast().makespan.to_seconds(), 3 + 2 + 3, 1e-6);
  for (MoveSpec& spec : instance.moves) spec.timeouts.attach = Duration::milliseconds(2500);
  EXPECT_EQ(forecast().failed, 2U);
}

TEST_F(ForecastTest, hosts_of_one_machine_prepare_one_after_the_other) {
  scenario.platform.hypervisor.prepare = second;
  scenario.platform.hypervisor.serial = Ratio(1);
  vm(a, Bytes(0));
  vm(b, Bytes(0));
  move(VmId{0}, c);
  move(VmId{1}, d);
  EXPECT_NEAR(forecast().makespan.to_seconds(), 1, 1e-3);
  scenario.platform.processors = {.cores = 2, .shared = true};
  EXPECT_NEAR(forecast().makespan.to_seconds(), 2, 1e-3);
}

TEST_F(ForecastTest, two_moves_share_the_link_that_both_use) {
  vm(a, Bytes(1'024'000'000));
  vm(b, Bytes(1'024'000'000));
  move(VmId{0}, c);
  move(VmId{1}, c);
  EXPECT_NEAR(forecast().makespan.to_seconds(), 2.048, 1e-3);
  instance.moves[1].candidates = {d};
  EXPECT_NEAR(forecast().makespan.to_seconds(), 1.024, 1e-3);
}

TEST_F(ForecastTest, what_leaves_first_gives_its_share_to_the_other) {
  vm(a, Bytes(1'024'000'000));
  vm(b, Bytes(3'072'000'000));
  move(VmId{0}, c);
  move(VmId{1}, c);
  const Forecast result = forecast();
  EXPECT_NEAR(result.moves[0].end.to_seconds(), 2.048, 1e-3);
  EXPECT_NEAR(result.moves[1].end.to_seconds(), 4.096, 1e-3);
}

TEST_F(ForecastTest, operations_of_one_host_wait_for_each_other) {
  scenario.platform.hypervisor.prepare = second;
  scenario.platform.hypervisor.serial = Ratio(1);
  for (int i = 0; i < 3; ++i) vm(i < 2 ? a : b, Bytes(0));
  for (std::uint32_t i = 0; i < 3; ++i) move(VmId{i}, c);
  EXPECT_NEAR(forecast().makespan.to_seconds(), 3, 1e-3);
}

TEST_F(ForecastTest, limits_orders_and_times_are_kept) {
  for (int i = 0; i < 3; ++i) vm(a, Bytes(1'024'000'000));
  for (std::uint32_t i = 0; i < 3; ++i) move(VmId{i}, i == 0 ? b : i == 1 ? c : d);
  scenario.schedule.limits.host_out = 1;
  EXPECT_NEAR(forecast().moves[2].start.to_seconds(), 2.048, 1e-3);
  scenario.schedule.limits.host_out.reset();
  order = Order::sequential;
  EXPECT_NEAR(forecast().moves[2].start.to_seconds(), 2.048, 1e-3);
  order = Order::parallel;
  scenario.schedule.stagger = second * 2;
  EXPECT_NEAR(forecast().moves[2].start.to_seconds(), 4, 1e-9);
  scenario.schedule.stagger = Duration::zero();
  instance.moves[1].at.at = second * 7;
  EXPECT_NEAR(forecast().moves[1].start.to_seconds(), 7, 1e-9);
  instance.constraints.push_back(
      {ConstraintSpec::Kind::before, {VmId{0}}, {VmId{2}}, Duration::zero()});
  const Forecast result = forecast();
  EXPECT_EQ(result.moves[2].start, result.moves[0].end);
}

TEST_F(ForecastTest, what_cannot_converge_or_comes_too_late_fails) {
  vm(a, Bytes(2'048'000'000)).idle_dirty_rate = Bandwidth::bytes_per_second(2e9);
  move(VmId{0}, b).transfer.on_stall = {};
  EXPECT_EQ(forecast().failed, 1U);
  instance.vms[0].idle_dirty_rate = Bandwidth();
  EXPECT_EQ(forecast().failed, 0U);
  instance.moves[0].timeouts.migration = second;
  EXPECT_EQ(forecast().failed, 1U);
}

TEST_F(ForecastTest, a_guest_pauses_as_long_as_its_last_round_takes) {
  vm(a, Bytes(4'096'000'000)).idle_dirty_rate = Bandwidth::bytes_per_second(1e8);
  scenario.platform.hypervisor.finish = Duration::milliseconds(20);
  move(VmId{0}, b);
  const Duration pause = forecast().mean_downtime;
  EXPECT_GT(pause, Duration::milliseconds(200));
  EXPECT_LE(pause, instance.moves[0].transfer.downtime_limit + Duration::milliseconds(20));
}

TEST_F(ForecastTest, a_pause_does_not_wait_until_shares_are_computed_anew) {
  vm(a, Bytes(1'024'000'000)).idle_dirty_rate = Bandwidth::bytes_per_second(1e7);
  vm(b, Bytes(1'024'000'000));
  move(VmId{0}, c).transfer.bandwidth_limit = Bandwidth::bytes_per_second(5e8);
  // It begins to flow, and shares are computed, shortly before the first one pauses.
  move(VmId{1}, d).at.at = Duration::milliseconds(1700);
  const ForecastOptions seldom{.resolution = second};
  const Duration exact = forecast().moves[0].downtime;
  const Duration coarse = forecast(seldom).moves[0].downtime;
  EXPECT_GT(exact, Duration::milliseconds(50));
  EXPECT_LT(exact, Duration::milliseconds(160));  // at most half of the downtime limit
  // Within the limit until then, at worst.
  EXPECT_GE(coarse, exact);
  EXPECT_LE(coarse, instance.moves[0].transfer.downtime_limit + Duration::milliseconds(1));
}

TEST_F(ForecastTest, it_stops_at_the_time_or_the_work_that_it_was_given) {
  vm(a, Bytes(4'096'000'000));
  move(VmId{0}, b);
  EXPECT_TRUE(forecast({.resolution = {}, .most = second * 5}).complete);
  EXPECT_FALSE(forecast({.resolution = {}, .most = second * 3}).complete);
  EXPECT_FALSE(forecast({.resolution = {}, .most = Duration::max(), .most_work = 10}).complete);
}

TEST_F(ForecastTest, shares_that_are_computed_less_often_change_little) {
  for (int i = 0; i < 40; ++i) {
    vm(i % 2 == 0 ? a : b, Bytes(100'000'000 + 13'000'000 * static_cast<std::uint64_t>(i)));
    move(VmId{static_cast<std::uint32_t>(i)}, i % 3 == 0 ? c : d);
  }
  const double exact = forecast().makespan.to_seconds();
  EXPECT_NEAR(forecast({.resolution = Duration::milliseconds(10)}).makespan.to_seconds(), exact,
              0.02 * exact);
}

}  // namespace
}  // namespace ferry
