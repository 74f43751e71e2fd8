// The scenario that brings VMs back: who moves, how, and that its dump is a scenario.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controller/cli/way_back.hpp"
#include "controller/plan.hpp"

namespace ferry {
namespace {

using testing::ElementsAre;

constexpr const char* platform = FERRY_PLATFORM;

LoadedScenario scenario(const std::string& migrations) {
  const std::string text =
      "ferry: 1\nname: exchange\nplatform: test-bed.yaml\n"
      "cluster: {hosts: [{name: host, count: 3, cores: 8, memory: 8GiB, virtual_functions: 8}]}\n"
      "vms:\n"
      "  - {name: vm, count: 3, on: \"host[0-1]\", memory: {uniform: [1GiB, 2GiB]}, vcpus: 2,\n"
      "     pages: {zero: 50%, working_set: 10MiB, dirty_rate: 1MB/s, idle_dirty_rate: 2MB/s}}\n"
      "  - {name: lone, on: host0, memory: 1GiB, virtual_functions: 0, ivshmem: 1MiB, pages: "
      "{zero: 20%}}\n"
      "jobs: [{name: lu, count: 3, on: {vms: vm, split: even}, ranks: 2, strategy: none}]\n"
      "schedule: {limits: {cluster: 1}}\n"
      "faults: [{phase: migration, vm: vm0, stall: 1s}]\n"
      "migrations:\n" +
      migrations;
  const auto loaded = read_scenario(text, std::filesystem::path(platform) / "scenario.yaml");
  EXPECT_TRUE(loaded) << loaded.error().front().text();
  return *loaded;
}

MoveRecord ended(std::size_t move, VmId vm, HostId where) {
  MoveRecord record;
  record.move = move;
  record.vm = vm;
  record.to = where;
  return record;
}

const char* const out =
    "  - {name: out, vms: \"vm0,lone\", to: host2, at: 2s, transport: ipoib, "
    "memory: {max_rounds: 7}, timeouts: {detach: 9s}}\n";

TEST(WayBack, of_vms_that_are_at_home_is_none) {
  const LoadedScenario loaded = scenario(out);
  const Instance instance = expand(loaded.scenario);
  EXPECT_EQ(way_back(loaded, instance, places_after(instance, RunRecords())), std::nullopt);
}

TEST(WayBack, moves_each_vm_home_as_it_was_moved_away) {
  const LoadedScenario loaded = scenario(out);
  const Instance instance = expand(loaded.scenario);
  RunRecords records;
  records.move(ended(0, VmId{0}, HostId{2}));
  records.move(ended(1, VmId{3}, HostId{0}));
  const auto back = way_back(loaded, instance, places_after(instance, records));
  ASSERT_TRUE(back);
  Instance again = expand(back->scenario);
  ASSERT_EQ(again.moves.size(), 1U);
  const MoveSpec& move = again.moves[0];
  EXPECT_EQ(again.vms[move.vm.index].name, "vm0");
  EXPECT_EQ(again.vms[move.vm.index].host, HostId{2});
  EXPECT_THAT(std::vector<HostId>(move.candidates), ElementsAre(HostId{0}));
  EXPECT_EQ(move.at.at, Duration::zero());
  EXPECT_EQ(move.transfer.transport, Transport::ipoib);
  EXPECT_EQ(move.transfer.max_rounds, 7);
  EXPECT_EQ(move.timeouts.detach, Duration::milliseconds(9000));
  EXPECT_TRUE(again.faults.empty());
  EXPECT_EQ(make_plan(back->scenario, again)->limits.cluster, 1U);
}

TEST(WayBack, keeps_what_was_drawn_and_who_runs_where) {
  const LoadedScenario loaded = scenario(out);
  const Instance instance = expand(loaded.scenario);
  const auto back = way_back(loaded, instance, {HostId{1}, HostId{1}, HostId{0}, HostId{0}});
  ASSERT_TRUE(back);
  Instance again = expand(back->scenario);
  ASSERT_EQ(again.vms.size(), instance.vms.size());
  for (std::size_t i = 0; i < instance.vms.size(); ++i) {
    EXPECT_EQ(again.vms[i].name, instance.vms[i].name);
    EXPECT_EQ(again.vms[i].memory, instance.vms[i].memory);
    EXPECT_EQ(again.vms[i].vcpus, instance.vms[i].vcpus);
    EXPECT_EQ(again.vms[i].virtual_function, instance.vms[i].virtual_function);
    EXPECT_EQ(again.vms[i].ivshmem, instance.vms[i].ivshmem);
    EXPECT_EQ(again.vms[i].idle_dirty_rate, instance.vms[i].idle_dirty_rate);
    EXPECT_EQ(again.vms[i].jobs.size(), instance.vms[i].jobs.size());
  }
  ASSERT_EQ(again.jobs.size(), 3U);
  EXPECT_EQ(again.jobs[2].name, "lu2");
  EXPECT_THAT(again.jobs[2].vms, ElementsAre(VmId{2}));
}

TEST(WayBack, of_an_evacuation_and_of_an_exchange_goes_to_where_each_vm_was) {
  for (const std::string migration :
       {"  - {name: empty, evacuate: host0, to: host2, at: 1s}\n",
        "  - {name: exchange, vms: \"vm0,lone,vm2\", swap_with: host1, at: 1s}\n"}) {
    const LoadedScenario loaded = scenario(migration);
    const Instance instance = expand(loaded.scenario);
    const auto back = way_back(loaded, instance, {HostId{2}, HostId{1}, HostId{2}, HostId{2}});
    ASSERT_TRUE(back) << migration;
    const auto again = read_scenario(back->resolved, "resolved.yaml");
    ASSERT_TRUE(again) << again.error().front().text() << "\n" << back->resolved;
    const Instance expanded = expand(again->scenario);
    ASSERT_EQ(expanded.moves.size(), 3U);
    for (const MoveSpec& move : expanded.moves) {
      EXPECT_THAT(std::vector<HostId>(move.candidates),
                  ElementsAre(instance.vms[move.vm.index].host));
    }
  }
}

TEST(WayBack, reads_back_from_its_dump) {
  const LoadedScenario loaded = scenario(out);
  const Instance instance = expand(loaded.scenario);
  const auto back = way_back(loaded, instance, {HostId{1}, HostId{0}, HostId{2}, HostId{2}});
  ASSERT_TRUE(back);
  const auto again = read_scenario(back->resolved, "resolved.yaml");
  ASSERT_TRUE(again) << again.error().front().text() << "\n" << back->resolved;
  EXPECT_EQ(again->resolved, back->resolved);
  EXPECT_EQ(again->scenario.name, "exchange.back");
  EXPECT_EQ(expand(again->scenario).moves.size(), 4U);
}

TEST(WayBack, of_a_vm_that_the_scenario_never_moves_has_default_options) {
  const LoadedScenario loaded = scenario(out);
  const Instance instance = expand(loaded.scenario);
  const auto back = way_back(loaded, instance, {HostId{0}, HostId{0}, HostId{0}, HostId{0}});
  ASSERT_TRUE(back);
  ASSERT_EQ(back->scenario.migrations.size(), 1U);
  EXPECT_EQ(back->scenario.migrations[0].vms.text, "vm1");
  EXPECT_EQ(back->scenario.migrations[0].transport, Transport::tcp);
}

}  // namespace
}  // namespace ferry
