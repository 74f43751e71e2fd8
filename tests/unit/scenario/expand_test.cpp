#include <gtest/gtest.h>

#include <algorithm>

#include "core/scenario/document.hpp"
#include "core/scenario/instance.hpp"
#include "files.hpp"
#include "fingerprint.hpp"

namespace ferry {
namespace {

/// A scenario around some VMs, jobs and migrations.
Loaded<LoadedScenario> read(const std::string& vms, const std::string& rest = "",
                            const std::string& hosts =
                                "{name: host, count: 4, cores: 8, memory: 8GiB, "
                                "virtual_functions: 4}") {
  const std::string text = "ferry: 1\nname: test\nplatform: test-bed.yaml\ncluster: {hosts: [" +
                           hosts + "]}\nvms: [" + vms + "]\n" + rest + "\n";
  return read_scenario(text, good_file("test.yaml"));
}

std::string places(const std::string& vms, const std::string& hosts =
                                               "{name: host, count: 4, cores: 8, memory: 8GiB, "
                                               "virtual_functions: 4}") {
  const auto loaded = read(vms, "", hosts);
  if (!loaded) return errors_of(loaded);
  const Instance instance = expand(loaded->scenario);
  std::string text;
  for (const VmSpec& vm : instance.vms) {
    text += vm.name + "@" + instance.hosts[vm.host.index].name + " ";
  }
  return text;
}

TEST(Expansion, deals_vms_to_their_hosts_in_turn) {
  EXPECT_EQ(places("{name: vm, count: 5, on: \"host[1-2]\", memory: 1GiB, pages: {zero: 0%}}"),
            "vm0@host1 vm1@host2 vm2@host1 vm3@host2 vm4@host1 ");
  EXPECT_EQ(places("{name: vm, on: \"host[3,1]\", memory: 1GiB, pages: {zero: 0%}}"), "vm@host3 ");
}

TEST(Expansion, fills_hosts_by_whatever_runs_out_first) {
  const auto packed = [](const std::string& more) {
    return places("{name: vm, count: 4, spread: pack, on: host, pages: {zero: 0%}, " + more + "}");
  };
  EXPECT_EQ(packed("memory: 3GiB"), "vm0@host0 vm1@host0 vm2@host1 vm3@host1 ");
  EXPECT_EQ(packed("memory: 1GiB, vcpus: 3"), "vm0@host0 vm1@host0 vm2@host1 vm3@host1 ");
  EXPECT_EQ(packed("memory: 1GiB"), "vm0@host0 vm1@host0 vm2@host0 vm3@host0 ");
  EXPECT_EQ(packed("memory: 1GiB, ivshmem: 5GiB"), "vm0@host0 vm1@host1 vm2@host2 vm3@host3 ");
}

TEST(Expansion, packs_around_what_is_dealt_whatever_the_order_of_the_file) {
  const std::string dealt = "{name: z, count: 4, on: host, memory: 6GiB, pages: {zero: 0%}}";
  const std::string packed =
      "{name: a, count: 2, on: host, spread: pack, memory: 2GiB, pages: {zero: 0%}}";
  EXPECT_EQ(places(dealt + ", " + packed),
            "z0@host0 z1@host1 z2@host2 z3@host3 a0@host0 a1@host1 ");
  EXPECT_EQ(places(packed + ", " + dealt),
            "a0@host0 a1@host1 z0@host0 z1@host1 z2@host2 z3@host3 ");
}

TEST(Expansion, packs_groups_by_name_whatever_the_order_of_the_file) {
  const std::string first = "{name: a, on: host, spread: pack, memory: 6GiB, pages: {zero: 0%}}";
  const std::string second = "{name: b, on: host, spread: pack, memory: 5GiB, pages: {zero: 0%}}";
  EXPECT_EQ(places(first + ", " + second), "a@host0 b@host1 ");
  EXPECT_EQ(places(second + ", " + first), "b@host1 a@host0 ");
}

TEST(Expansion, numbers_items_only_where_a_count_is_written) {
  EXPECT_EQ(places("{name: one, count: 1, on: host0, memory: 1GiB, pages: {zero: 0%}}, "
                   "{name: two, on: host0, memory: 1GiB, pages: {zero: 0%}}"),
            "one0@host0 two@host0 ");
  const auto loaded = read("{name: one, count: 1, on: host0, memory: 1GiB, pages: {zero: 0%}}");
  ASSERT_TRUE(loaded) << errors_of(loaded);
  const auto again = read_scenario(loaded->resolved, "resolved.yaml");
  ASSERT_TRUE(again) << errors_of(again);
  EXPECT_EQ(expand(again->scenario).vms[0].name, "one0");
}

TEST(Expansion, draws_from_streams_that_nothing_else_changes) {
  const std::string random =
      "{name: vm, count: 3, on: host, memory: {uniform: [1GiB, 2GiB]}, pages: {zero: 50%, "
      "working_set: {uniform: [1MiB, 2GiB]}, idle_dirty_rate: {uniform: [1MB/s, 9MB/s]}}}";
  const std::string other =
      "{name: other, on: host3, memory: {uniform: [1GiB, 2GiB]}, pages: {zero: 0%}}";
  const auto first = read(random + ", " + other);
  const auto second = read(other + ", " + random);
  const auto alone = read(random);
  ASSERT_TRUE(first) << errors_of(first);
  ASSERT_TRUE(second && alone);
  EXPECT_EQ(fingerprint(first->scenario), fingerprint(second->scenario));
  const Instance with = expand(first->scenario);
  const Instance without = expand(alone->scenario);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(with.vms[i].memory, without.vms[i].memory);
    EXPECT_EQ(with.vms[i].memory.count() % 4096, 0U);
    EXPECT_GE(with.vms[i].memory, Bytes::gibi(1));
    EXPECT_LE(with.vms[i].working_set.count(), with.vms[i].memory.count() / 2);
  }
  EXPECT_NE(with.vms[0].memory, with.vms[1].memory);
  const auto reseeded = read(random, "seed: 2");
  ASSERT_TRUE(reseeded);
  EXPECT_NE(expand(reseeded->scenario).vms[0].memory, without.vms[0].memory);
}

TEST(Expansion, is_the_same_in_whatever_order_the_file_lists_things) {
  const auto loaded = load_scenario(good_file("everything.yaml"));
  ASSERT_TRUE(loaded) << errors_of(loaded);
  // The two groups of hosts, of VMs and of jobs, and the networks, the other way round.
  Scenario turned = loaded->scenario;
  std::reverse(turned.cluster.hosts.begin(), turned.cluster.hosts.end());
  std::reverse(turned.cluster.networks.begin(), turned.cluster.networks.end());
  std::reverse(turned.vms.begin(), turned.vms.end());
  std::reverse(turned.jobs.begin(), turned.jobs.end());
  std::reverse(turned.migrations.begin(), turned.migrations.end());
  std::reverse(turned.faults.begin(), turned.faults.end());
  EXPECT_EQ(fingerprint(turned), fingerprint(loaded->scenario));
}

TEST(Expansion, divides_vms_evenly_among_jobs_and_draws_for_each_rank) {
  const auto loaded = read(
      "{name: vm, count: 4, on: host, memory: 1GiB, pages: {zero: 0%}}",
      "jobs: [{name: lu, count: 2, on: {vms: \"vm[3,2,1,0]\"}, ranks: 2, workload: {next_call: "
      "{uniform: [0s, 1s]}}}, {name: all, on: {vms: vm}, ranks: 1}]");
  ASSERT_TRUE(loaded) << errors_of(loaded);
  const Instance instance = expand(loaded->scenario);
  ASSERT_EQ(instance.jobs.size(), 3U);
  EXPECT_EQ(instance.jobs[0].name, "lu0");
  EXPECT_EQ(instance.jobs[0].vms, (std::vector<VmId>{VmId{3}, VmId{2}}));
  EXPECT_EQ(instance.jobs[1].vms, (std::vector<VmId>{VmId{1}, VmId{0}}));
  EXPECT_EQ(instance.jobs[0].next_call.size(), 4U);
  EXPECT_NE(instance.jobs[0].next_call[0], instance.jobs[0].next_call[1]);
  EXPECT_NE(instance.jobs[0].next_call[0], instance.jobs[1].next_call[0]);
  EXPECT_EQ(instance.jobs[2].name, "all");
  EXPECT_EQ(instance.vms[3].jobs, (std::vector<JobId>{JobId{0}, JobId{2}}));
}

TEST(Expansion, lists_a_migrations_hosts_in_the_order_of_its_text) {
  const std::string vms = "{name: vm, count: 2, on: host0, memory: 1GiB, pages: {zero: 0%}}";
  const auto loaded = read(vms,
                           "migrations: [{name: a, vms: vm, to: \"host3,host[1-2]\", at: 1s}, "
                           "{name: b, vms: vm1, to: any, at: 5s}, {name: c, vms: vm0, to: host1, "
                           "at: never}]");
  ASSERT_TRUE(loaded) << errors_of(loaded);
  const Instance instance = expand(loaded->scenario);
  ASSERT_EQ(instance.moves.size(), 3U);  // not those that never happen
  const std::vector<HostId>& candidates = instance.moves[0].candidates;
  EXPECT_EQ(candidates, (std::vector<HostId>{HostId{3}, HostId{1}, HostId{2}}));
  EXPECT_EQ(&candidates, &static_cast<const std::vector<HostId>&>(instance.moves[1].candidates))
      << "the moves of a migration share one list";
  EXPECT_EQ(instance.moves[2].migration, "b");
  EXPECT_EQ(instance.moves[2].vm, VmId{1});
  EXPECT_EQ(instance.moves[2].candidates.size(), 4U);
}

TEST(Expansion, lets_a_vm_move_out_and_back) {
  const auto loaded =
      read("{name: vm, on: host0, memory: 1GiB, pages: {zero: 0%}}",
           "migrations: [{name: back, vms: vm, to: host0, at: 9s}, {name: out, vms: "
           "vm, to: host1, at: 1s}]");
  EXPECT_TRUE(loaded) << errors_of(loaded);
}

// tests/cli has ferry itself read a million.
TEST(Expansion, copes_with_many_vms) {
  const auto loaded = read(
      "{name: vm, count: 20000, on: host, memory: 1MiB, virtual_functions: 0, pages: {zero: 0%}}",
      "migrations: [{name: a, vms: vm, to: any, at: 1s}]",
      "{name: host, count: 2000, cores: 16, memory: 1GiB}");
  ASSERT_TRUE(loaded) << errors_of(loaded);
  EXPECT_EQ(expand(loaded->scenario).moves.size(), 20'000U);
}

}  // namespace
}  // namespace ferry
