// The planned order, in numbers worked out by hand on tiny networks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "controller/limits.hpp"
#include "controller/plan.hpp"
#include "controller/planner/forecast.hpp"
#include "controller/planner/link_slots.hpp"
#include "controller/planner/lower_bound.hpp"
#include "controller/planner/ordering.hpp"
#include "controller/planner/placement.hpp"
#include "core/ports/randomness.hpp"
#include "core/topology/inventory.hpp"
#include "tests/sanitized.hpp"

namespace ferry {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr Duration second = Duration::milliseconds(1000);

/// Hosts on one network of 1 GB/s links; VMs whose memory is all written and never dirtied, without
/// devices; control operations that take no time.
class PlannerTest : public testing::Test {
 protected:
  PlannerTest() {
    scenario.schedule.order = Order::planned;
    for (StreamCosts& stream : scenario.platform.streams) stream.bandwidth = gigabyte;
    instance.networks = {{.name = "net",
                          .topology = Star{},
                          .link = {gigabyte, Duration::zero()},
                          .carries = {Transport::tcp}}};
  }

  HostId host(std::uint32_t cores = 64) {
    const HostId id{static_cast<std::uint32_t>(instance.hosts.size())};
    instance.hosts.push_back({.name = "host" + std::to_string(id.index),
                              .cores = cores,
                              .memory = Bytes::gibi(1024),
                              .virtual_functions = 64,
                              .ivshmem = {}});
    return id;
  }
  VmId vm(HostId on, Bytes memory = Bytes(1'000'000'000)) {
    const VmId id{static_cast<std::uint32_t>(instance.vms.size())};
    VmSpec spec;
    spec.name = "vm" + std::to_string(id.index);
    spec.host = on;
    spec.memory = memory;
    spec.virtual_function = false;
    instance.vms.push_back(spec);
    return id;
  }
  void move(VmId vm, std::vector<HostId> to, Place place = Place::spread) {
    MoveSpec spec;
    spec.migration = "leave";
    spec.vm = vm;
    spec.candidates = std::move(to);
    spec.place = place;
    instance.moves.push_back(spec);
  }
  void constrain(ConstraintSpec::Kind kind, std::vector<VmId> vms, std::vector<VmId> then = {}) {
    instance.constraints.push_back({kind, std::move(vms), std::move(then), {}});
  }
  Plan plan() {
    auto made = make_plan(scenario, instance);
    EXPECT_TRUE(made.has_value()) << (made ? "" : made.error());
    return made ? *made : Plan();
  }
  std::string error() {
    const auto made = make_plan(scenario, instance);
    return made ? "" : made.error();
  }
  /// The VMs of the waves, in order.
  std::vector<std::string> order(const Plan& plan) {
    std::vector<std::string> names;
    for (const PlannedWave& wave : plan.waves) {
      std::string text;
      for (const std::size_t move : wave.moves) {
        text += (text.empty() ? "" : "+") + instance.vms[instance.moves[move].vm.index].name;
      }
      names.push_back(text);
    }
    return names;
  }
  /// Whatever the order is made by; and the last waits until the one before has completed.
  void expect_in_every_order(const std::vector<std::string>& names) {
    for (const Order kind : {Order::planned, Order::parallel, Order::sequential}) {
      scenario.schedule.order = kind;
      const Plan made = plan();
      ASSERT_THAT(order(made), testing::ElementsAreArray(names));
      ASSERT_EQ(made.waves.back().after.size(), 1U);
      EXPECT_EQ(made.waves.back().after[0].wave, names.size() - 2);
      EXPECT_TRUE(made.waves.back().after[0].must_complete);
    }
  }

  static constexpr Bandwidth gigabyte = Bandwidth::bytes_per_second(1e9);
  Scenario scenario;
  Instance instance;
};

TEST_F(PlannerTest, the_most_loaded_link_bounds_the_makespan) {
  const HostId a = host();
  const HostId b = host();
  const HostId c = host();
  move(vm(a, Bytes(3'000'000'000)), {b});
  move(vm(a, Bytes(2'000'000'000)), {c});
  move(vm(b, Bytes(4'000'000'000)), {c});
  const Plan made = plan();
  // Out of a 5 s, into c 6 s, each in the whole pages of the VMs' memory.
  EXPECT_NEAR(made.least_makespan.to_seconds(), 6, 1e-3);
  EXPECT_EQ(made.bounded_by, "which host2 in (net) takes");
}

TEST_F(PlannerTest, a_long_ending_counts_with_the_transfers_before_it) {
  const HostId a = host();
  const HostId b = host();
  LinkMap links(instance);
  MoveLoad with_tail;
  with_tail.route = links.route(Transport::tcp, a, b);
  with_tail.bytes = Bytes(1'000'000'000);
  with_tail.transfer = second;
  with_tail.after = second * 10;
  MoveLoad plain = with_tail;
  plain.after = Duration::zero();
  // 2 s of transfers and no ending, or 1 s and an ending of 10 s.
  EXPECT_EQ(lower_bound(links, {plain, with_tail}).time, second * 11);
  // Two such endings come after 2 s.
  EXPECT_EQ(lower_bound(links, {plain, with_tail, with_tail}).time, second * 12);
}

TEST_F(PlannerTest, while_one_pauses_another_sends) {
  const HostId a = host();
  const HostId b = host();
  LinkMap links(instance);
  MoveLoad saves;
  saves.route = links.route(Transport::tcp, a, b);
  saves.bytes = Bytes(1'000'000'000);
  saves.transfer = second;
  saves.pause = second * 3;
  EXPECT_EQ(lower_bound(links, {saves}).time, second * 4);
  EXPECT_EQ(lower_bound(links, {saves, saves, saves}).time, second * 4);
  EXPECT_EQ(lower_bound(links, {saves, saves, saves, saves, saves}).time, second * 5);
}

TEST_F(PlannerTest, what_compression_leaves_and_a_device_adds_is_on_the_links) {
  const HostId a = host();
  const HostId b = host();
  scenario.platform.zstd = {.ratio = Ratio(0.5), .speed = Bandwidth::bytes_per_second(1e12)};
  HypervisorCosts& costs = scenario.platform.hypervisor;
  costs.vfio = {.state = Bytes(50'000'000), .save = second, .load = second * 2};
  move(vm(a, Bytes(1'024'000'000)), {b});
  instance.vms[0].virtual_function = true;
  MoveSpec& spec = instance.moves[0];
  spec.transfer.compression = Compression::zstd;
  spec.transfer.device = DeviceStrategy::vfio;
  spec.transfer.mode = MemoryMode::offline;
  LinkMap links(instance);
  const MoveLoad load = load_of(instance, scenario.platform, links, spec, a, b);
  EXPECT_EQ(load.bytes, Bytes(512'000'000 + 50'000'000));
  EXPECT_EQ(load.transfer, Duration::milliseconds(562));
  EXPECT_EQ(load.pause, second);
  EXPECT_EQ(load.after - costs.finish, second * 2);
}

TEST_F(PlannerTest, a_limit_is_a_moves_bottleneck_except_for_what_the_pause_sends) {
  const HostId a = host();
  const HostId b = host();
  move(vm(a, Bytes(1'000'000'000)), {b});
  MoveSpec& spec = instance.moves[0];
  spec.transfer.mode = MemoryMode::offline;
  spec.transfer.bandwidth_limit = Bandwidth::bytes_per_second(2.5e8);
  LinkMap links(instance);
  const MoveLoad load = load_of(instance, scenario.platform, links, spec, a, b);
  EXPECT_EQ(load.bandwidth, Bandwidth::bytes_per_second(2.5e8));
  // 74.25 MB are left, and go at 1 GB/s.
  EXPECT_EQ(load.transfer, Duration::microseconds(3'703'000 + 74'250));
}

TEST_F(PlannerTest, a_limited_move_that_may_not_converge_takes_at_least_what_it_would_if_it_did) {
  const HostId a = host();
  const HostId b = host();
  VmSpec& guest = instance.vms[vm(a, Bytes(1'000'000'000)).index];
  guest.working_set = guest.memory;
  guest.idle_dirty_rate = Bandwidth::bytes_per_second(5e8);
  move(VmId{0}, {b});
  MoveSpec& spec = instance.moves[0];
  spec.transfer.on_stall = {};
  spec.transfer.bandwidth_limit = Bandwidth::bytes_per_second(2.5e8);
  LinkMap links(instance);
  // 75 MB fit the downtime limit, and might go at 1 GB/s.
  EXPECT_EQ(load_of(instance, scenario.platform, links, spec, a, b).transfer,
            Duration::milliseconds(3700 + 75));
  spec.transfer.bandwidth_limit = Bandwidth::unlimited();
  guest.idle_dirty_rate = Bandwidth::bytes_per_second(2e9);
  EXPECT_EQ(load_of(instance, scenario.platform, links, spec, a, b).transfer, second);
}

TEST_F(PlannerTest, what_the_most_loaded_link_waits_for_goes_first_and_the_longest_of_it) {
  const HostId a = host();
  const HostId b = host();
  const HostId c = host();
  const HostId d = host();
  LinkMap links(instance);
  const auto load = [&](HostId from, HostId to, std::uint64_t seconds) {
    MoveLoad made;
    made.route = links.route(Transport::tcp, from, to);
    made.bytes = Bytes(1'000'000'000 * seconds);
    made.transfer = second * static_cast<double>(seconds);
    return made;
  };
  // The link out of a has 1 s, into c 1 s; b out and d in have 5 s.
  std::vector<MoveLoad> loads = {load(a, c, 1), load(b, d, 2), load(b, d, 3)};
  EXPECT_THAT(order_by_load(links, loads, {0, 1, 2}), ElementsAre(2, 1, 0));
  // By the endings: the longest, then the longest transfer.
  loads[0].after = second;
  EXPECT_THAT(order_by_ending(loads, {0, 1, 2}), ElementsAre(0, 2, 1));
}

TEST_F(PlannerTest, as_many_at_once_as_keep_a_link_busy_and_one_more) {
  const HostId a = host();
  const HostId b = host();
  LinkMap links(instance);
  MoveLoad load;
  load.route = links.route(Transport::tcp, a, b);
  load.bytes = Bytes(1'000'000'000);
  load.transfer = second;
  // No time besides: one keeps the link busy.
  EXPECT_THAT(link_slots(links, {load, load, load, load}), ElementsAre(2, 2));
  // As long again for the rest: two.
  load.before = second;
  EXPECT_THAT(link_slots(links, {load, load, load, load}), ElementsAre(3, 3));
  // Twice as many; what comes after the memory holds no place.
  load.after = second * 10;
  EXPECT_THAT(link_slots(links, {load, load, load, load, load, load},
                         {.factor = 2, .more = 1, .finished_by = {}}),
              ElementsAre(5, 5));
  // Never more than there are moves.
  EXPECT_THAT(link_slots(links, {load}), ElementsAre(1, 1));
  // No limit where all at once end early enough.
  EXPECT_THAT(link_slots(links, {load, load, load, load, load},
                         {.factor = 1, .more = 0, .finished_by = second * 15}),
              ElementsAre(2, 2));
  EXPECT_THAT(link_slots(links, {load, load, load, load, load},
                         {.factor = 1, .more = 0, .finished_by = second * 16}),
              ElementsAre(5, 5));
}

TEST_F(PlannerTest, of_equally_filled_hosts_the_one_with_the_least_loaded_path_is_taken) {
  // Two leaves of four hosts, two spines: hosts 4 and 6 are reached over spine 0, 5 and 7 over 1.
  instance.networks[0].topology = FatTree{.hosts_per_leaf = 4, .spines = 2};
  std::vector<HostId> hosts;
  for (int i = 0; i < 8; ++i) hosts.push_back(host());
  move(vm(hosts[0]), {hosts[4], hosts[6], hosts[5]});
  move(vm(hosts[1]), {hosts[4], hosts[6], hosts[5]});
  LinkMap links(instance);
  for (const bool by_destination : {false, true}) {
    const auto placed = place_moves(instance, scenario.platform, links, {0, 1},
                                    {.planned = true, .by_destination = by_destination});
    ASSERT_TRUE(placed.has_value());
    EXPECT_EQ((*placed)[0].to, hosts[4]);
    EXPECT_EQ((*placed)[1].to, hosts[5]);
  }
}

TEST_F(PlannerTest, a_host_that_has_much_to_do_already_is_left_to_others) {
  // Both destinations are equally full, and the way out is the most loaded of all; only the time
  // that host b is busy with its own leaving VM's devices tells them apart.
  scenario.platform.hypervisor.detach_vf = second;
  scenario.platform.hypervisor.serial = Ratio(1);
  const HostId a = host();
  const HostId b = host();
  const HostId c = host();
  const HostId d = host();
  const VmId leaving = vm(b);
  instance.vms[leaving.index].virtual_function = true;
  move(leaving, {d});
  move(vm(a), {b, c});
  LinkMap links(instance);
  const auto placed = place_moves(instance, scenario.platform, links, {0, 1},
                                  {.planned = true, .by_destination = true});
  ASSERT_TRUE(placed.has_value());
  EXPECT_EQ((*placed)[1].to, c);
}

TEST_F(PlannerTest, who_makes_room_goes_before_whom_it_is_made_for) {
  const HostId a = host(1);
  const HostId b = host(1);
  const HostId c = host(1);
  move(vm(a), {b});
  move(vm(b), {c});
  const Plan made = plan();
  EXPECT_THAT(order(made), ElementsAre("vm1", "vm0"));
  ASSERT_EQ(made.waves[1].after.size(), 1U);
  EXPECT_EQ(made.waves[1].after[0].wave, 0U);
  EXPECT_FALSE(made.waves[1].after[0].must_complete);
}

TEST_F(PlannerTest, full_hosts_change_places_through_a_spare_one) {
  const HostId a = host(1);
  const HostId b = host(1);
  const HostId spare = host(1);
  move(vm(a), {b});
  move(vm(b, Bytes(500'000'000)), {a});
  const Plan made = plan();
  // The smaller one makes the detour.
  ASSERT_EQ(instance.moves.size(), 3U);
  EXPECT_THAT(order(made), ElementsAre("vm1", "vm0", "vm1"));
  EXPECT_EQ(made.moves[2].to, spare);
  EXPECT_EQ(made.moves[1].from, spare);
  EXPECT_EQ(made.moves[1].to, a);
}

TEST_F(PlannerTest, without_a_spare_place_the_cycle_is_named) {
  const HostId a = host(1);
  const HostId b = host(1);
  move(vm(a), {b});
  move(vm(b), {a});
  EXPECT_EQ(error(),
            "migration leave: vm0 on host0, vm1 on host1, each waits until the next one has left, "
            "the last for the first, and no host has room for one of them meanwhile; leave some "
            "room on a host");
}

TEST_F(PlannerTest, before_holds_whatever_the_load) {
  const HostId a = host();
  const HostId b = host();
  const VmId first = vm(a, Bytes(1'000'000));
  const VmId second_vm = vm(a, Bytes(5'000'000'000));
  move(first, {b});
  move(second_vm, {b});
  constrain(ConstraintSpec::Kind::before, {first}, {second_vm});
  expect_in_every_order({"vm0", "vm1"});
  constrain(ConstraintSpec::Kind::before, {second_vm}, {first});
  EXPECT_THAT(error(), HasSubstr("would have to wait for itself (vm0 after vm1 after vm0)"));
}

TEST_F(PlannerTest, before_holds_also_where_what_is_to_go_first_may_begin_later) {
  const HostId a = host();
  const HostId b = host();
  const VmId late = vm(a, Bytes(1'000'000));
  const VmId early = vm(a, Bytes(1'000'000));
  const VmId other = vm(a, Bytes(1'000'000));
  for (const VmId one : {late, early, other}) move(one, {b});
  instance.moves[0].at.at = second * 2;
  instance.moves[2].at.at = second;
  constrain(ConstraintSpec::Kind::before, {late}, {early});
  expect_in_every_order({"vm2", "vm0", "vm1"});
  constrain(ConstraintSpec::Kind::before, {early}, {other});
  constrain(ConstraintSpec::Kind::before, {other}, {late});
  EXPECT_THAT(error(), HasSubstr("would have to wait for itself (vm"));
}

/// The second move of the first VM is for later: it does not keep the other.
TEST_F(PlannerTest, before_is_about_moves_that_are_not_later) {
  const HostId a = host();
  const HostId b = host();
  const VmId twice = vm(a, Bytes(1'000'000));
  const VmId once = vm(a, Bytes(1'000'000));
  move(twice, {b});
  move(twice, {a});
  move(once, {b});
  instance.moves[1].at.at = second * 9;
  instance.moves[2].at.at = second * 3;
  constrain(ConstraintSpec::Kind::before, {twice}, {once});
  EXPECT_THAT(order(plan()), ElementsAre("vm0", "vm1", "vm0"));
}

TEST_F(PlannerTest, together_is_one_wave_and_one_host) {
  const HostId a = host();
  const HostId b = host();
  const HostId c = host(1);
  const HostId d = host(2);
  const VmId one = vm(a);
  const VmId other = vm(b);
  move(one, {c, d});
  move(other, {c, d});
  constrain(ConstraintSpec::Kind::together, {one, other});
  const Plan made = plan();
  EXPECT_THAT(order(made), ElementsAre("vm0+vm1"));
  EXPECT_EQ(made.moves[0].to, d);
  EXPECT_EQ(made.moves[1].to, d);
}

TEST_F(PlannerTest, apart_is_never_on_one_host) {
  const HostId a = host();
  const HostId b = host();
  const HostId c = host();
  const VmId one = vm(a);
  const VmId other = vm(b);
  move(one, {c}, Place::pack);
  constrain(ConstraintSpec::Kind::apart, {one, other});
  move(other, {c}, Place::pack);
  EXPECT_EQ(error(),
            "migration leave: vm1 fits on none of its destinations: host2 has vm0, which must stay "
            "apart");
}

TEST_F(PlannerTest, a_deadline_that_no_schedule_meets_is_refused) {
  const HostId a = host();
  const HostId b = host();
  move(vm(a, Bytes(4'096'000'000)), {b});
  instance.constraints.push_back({ConstraintSpec::Kind::deadline, {}, {}, second * 5});
  EXPECT_EQ(error(), "");
  instance.constraints.front().deadline = second * 3;
  for (const Order kind : {Order::planned, Order::parallel}) {
    scenario.schedule.order = kind;
    EXPECT_EQ(error(),
              "no schedule meets the deadline of 3s: the moves take at least 4.096 s, which its "
              "longest move takes");
  }
}

TEST_F(PlannerTest, the_places_on_links_are_free_once_the_memory_has_moved) {
  const HostId a = host();
  const HostId b = host();
  move(vm(a), {b});
  auto links = std::make_shared<LinkMap>(instance);
  (void)links->route(Transport::tcp, a, b);
  const MoveSpec& spec = instance.moves.front();
  Limiter limiter(instance, {.cluster = 2, .host_out = {}, .host_in = {}, .link = {}}, links,
                  {1, 1});
  limiter.take(spec, a, b);
  EXPECT_FALSE(limiter.admits(spec, a, b));
  EXPECT_TRUE(limiter.admits(spec, b, a));  // the other direction
  limiter.give_slots(spec, a, b);
  EXPECT_TRUE(limiter.admits(spec, a, b));
  limiter.take(spec, a, b);
  limiter.give_slots(spec, a, b);
  EXPECT_FALSE(limiter.admits(spec, a, b));  // two in the cluster, until they end
  limiter.give_rest(spec, a, b);
  EXPECT_TRUE(limiter.admits(spec, a, b));
}

TEST_F(PlannerTest, a_link_that_was_full_is_filled_again_only_when_it_has_emptied) {
  const HostId a = host();
  const HostId b = host();
  move(vm(a), {b});
  auto links = std::make_shared<LinkMap>(instance);
  (void)links->route(Transport::tcp, a, b);
  const MoveSpec& spec = instance.moves.front();
  Limiter limiter(instance, {.cluster = {}, .host_out = {}, .host_in = {}, .link = {}}, links,
                  {4, 4}, Ratio(0.25));
  for (int i = 0; i < 3; ++i) limiter.take(spec, a, b);
  limiter.give(spec, a, b);
  EXPECT_TRUE(limiter.admits(spec, a, b));  // it was not full
  limiter.take(spec, a, b);
  limiter.take(spec, a, b);
  limiter.give(spec, a, b);
  limiter.give(spec, a, b);
  EXPECT_FALSE(limiter.admits(spec, a, b));
  limiter.give(spec, a, b);
  EXPECT_TRUE(limiter.admits(spec, a, b));
}

/// Hosts whose VMs have long endings, so that rules differ.
TEST_F(PlannerTest, no_reference_promises_more_than_what_is_taken) {
  HypervisorCosts& costs = scenario.platform.hypervisor;
  costs.prepare = second * 0.4;
  costs.attach_vf = {.fixed = second * 0.4, .per_gib = second};
  costs.serial = Ratio(0.5);
  std::vector<HostId> to;
  const HostId a = host();
  const HostId b = host();
  for (int i = 0; i < 3; ++i) to.push_back(host());
  for (std::uint64_t i = 0; i < 12; ++i) {
    const VmId made = vm(i % 3 == 0 ? a : b, Bytes(500'000'000 * (1 + i * 7 % 5)));
    instance.vms[made.index].virtual_function = true;
    instance.vms[made.index].working_set = Bytes(100'000'000);
    instance.vms[made.index].idle_dirty_rate = Bandwidth::bytes_per_second(1e7);
    move(made, to);
  }
  const Plan planned = plan();
  EXPECT_GT(planned.schedules_compared, 100U);
  EXPECT_GE(planned.predicted_makespan, planned.least_makespan);
  scenario.schedule.order = Order::parallel;
  for (const std::uint32_t cap : {0U, 1U, 2U, 4U, 8U}) {
    scenario.schedule.limits = {};
    if (cap > 0) scenario.schedule.limits.host_out = scenario.schedule.limits.host_in = cap;
    const Plan other = plan();
    const Forecast forecast =
        Forecaster(instance, scenario.platform, *other.links, other.moves).run(other);
    EXPECT_LE(planned.predicted_makespan, forecast.makespan) << cap;
    if (cap == 0) {
      EXPECT_LE(planned.predicted_downtime, forecast.mean_downtime);
    }
  }
  // The same plan each time.
  scenario.schedule.limits = {};
  scenario.schedule.order = Order::planned;
  const Plan again = plan();
  EXPECT_EQ(order(again), order(planned));
  EXPECT_EQ(again.link_slots, planned.link_slots);
}

/// Its name is the last: by name it would begin at 8 s, and all would take 40.
TEST_F(PlannerTest, the_longest_goes_first_also_where_every_schedule_pauses_guests_as_long) {
  scenario.platform.hypervisor.finish = second * 0.02;
  for (const std::uint64_t gigabytes : {4U, 4U, 4U, 4U, 4U, 32U}) {
    const HostId from = host();
    move(vm(from, Bytes(gigabytes * 1'000'000'000)), {host()});
  }
  scenario.schedule.limits.cluster = 2;
  const Plan planned = plan();
  EXPECT_NEAR(planned.predicted_makespan.to_seconds(), 32, 0.5);
  EXPECT_GT(planned.predicted_downtime, Duration::zero());
}

TEST_F(PlannerTest, limits_of_the_scenario_are_never_widened) {
  const HostId a = host();
  const HostId b = host();
  for (int i = 0; i < 6; ++i) move(vm(a), {b});
  scenario.schedule.limits = {.cluster = 3, .host_out = 3, .host_in = {}, .link = 2};
  const Plan made = plan();
  EXPECT_EQ(made.limits.cluster, 3U);
  EXPECT_LE(made.limits.host_out, 3U);
  EXPECT_EQ(made.limits.link, 2U);
}

/// Lists that moves share are kept in order; those of a single move are gone over.
TEST_F(PlannerTest, a_list_of_many_hosts_gives_the_same_places_in_order_and_gone_over) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    RandomStream draw(seed, "host-order");
    const auto below = [&](std::uint64_t n) { return static_cast<std::uint32_t>(draw.next() % n); };
    instance.hosts.clear();
    instance.vms.clear();
    instance.moves.clear();
    std::vector<HostId> all;
    for (std::uint32_t i = 0; i < 70 + below(40); ++i) all.push_back(host(4 + below(4)));
    for (std::uint32_t i = 0; i < 150; ++i) {
      vm(all[i % all.size()], Bytes(100'000'000 * (1 + below(9))));
    }
    for (std::size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[below(i)]);
    const Place place = seed % 2 == 0 ? Place::spread : Place::pack;
    for (std::uint32_t i = 0; i < instance.vms.size(); ++i) move(VmId{i}, all, place);
    std::vector<std::size_t> order(instance.moves.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto places = [&](bool shared) {
      Instance tried = instance;
      for (MoveSpec& spec : tried.moves) {
        spec.candidates = shared ? tried.moves.front().candidates : HostList(all);
      }
      LinkMap links(tried);
      const auto placed = place_moves(tried, scenario.platform, links, order,
                                      {.planned = seed % 3 != 0, .by_destination = seed % 5 == 0});
      std::vector<std::uint32_t> to;
      if (!placed) return std::pair(to, placed.error());
      for (const PlacedMove& one : *placed) to.push_back(one.to.index);
      return std::pair(to, std::string());
    };
    ASSERT_EQ(places(true), places(false)) << "seed " << seed;
    ASSERT_EQ(places(true).second, "") << "seed " << seed;
  }
}

/// Random clusters, some of them full.
TEST_F(PlannerTest, every_move_is_planned_once_and_each_step_has_room) {
  int made_plans = 0;
  constexpr std::uint64_t seeds = sanitized ? 40 : 200;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    RandomStream draw(seed, "planner-test");
    const auto below = [&](std::uint64_t n) { return static_cast<std::uint32_t>(draw.next() % n); };
    instance.hosts.clear();
    instance.vms.clear();
    instance.moves.clear();
    instance.constraints.clear();
    const std::uint32_t hosts = 3 + below(5);
    std::vector<HostId> all;
    for (std::uint32_t i = 0; i < hosts; ++i) all.push_back(host(2 + below(3)));
    for (const HostId on : all) {
      for (std::uint32_t i = 0; i < 2; ++i) vm(on, Bytes(100'000'000 * (1 + below(9))));
    }
    for (std::uint32_t i = 0; i < instance.vms.size(); ++i) {
      if (below(3) == 0) continue;
      const HostId from = instance.vms[i].host;
      move(VmId{i}, {all[(from.index + 1 + below(hosts - 1)) % hosts]});
    }
    const std::size_t asked = instance.moves.size();
    const VmId first{below(instance.vms.size())};
    const VmId then{(first.index + 1) % static_cast<std::uint32_t>(instance.vms.size())};
    constrain(ConstraintSpec::Kind::before, {first}, {then});
    const auto result = make_plan(scenario, instance);
    if (!result) continue;  // full in a circle, or asked too much; the error has a test of its own
    ++made_plans;
    Inventory inventory(instance);
    std::vector<HostId> where;
    for (const VmSpec& spec : instance.vms) where.push_back(spec.host);
    std::vector<int> seen(instance.moves.size(), 0);
    for (std::size_t i = 0; i < result->waves.size(); ++i) {
      for (const PlannedWave::After& after : result->waves[i].after) ASSERT_LT(after.wave, i);
      for (const std::size_t index : result->waves[i].moves) {
        seen[index] += 1;
        const PlannedMove& planned = result->moves[index];
        const VmId who = instance.moves[index].vm;
        ASSERT_EQ(planned.from, where[who.index]);
        ASSERT_TRUE(inventory.fits(who, planned.to)) << "seed " << seed;
        inventory.reserve(who, planned.to);
        inventory.release(who, planned.from);
        where[who.index] = planned.to;
      }
    }
    for (const int times : seen) ASSERT_EQ(times, 1);
    for (std::size_t i = 0; i < asked; ++i) {
      ASSERT_EQ(where[instance.moves[i].vm.index], instance.moves[i].candidates[0]);
    }
  }
  EXPECT_GT(made_plans, seeds / 4);
}

}  // namespace
}  // namespace ferry
