// Every key that is accepted changes something that planners and worlds see.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "core/scenario/document.hpp"
#include "files.hpp"
#include "fingerprint.hpp"

namespace ferry {
namespace {

using Json = nlohmann::json;
using testing::IsEmpty;

/// Paths of all single values of a schema; items of lists are `*`.
void collect(const Json& schema, const std::string& path, std::set<std::string>& paths) {
  bool inner = false;
  const auto below = [&](const Json& part) {
    for (const auto& [key, value] : part.at("properties").items()) {
      inner = true;
      collect(value, path.empty() ? key : path + "." + key, paths);
    }
  };
  if (schema.contains("properties")) below(schema);
  if (schema.contains("anyOf")) {
    for (const Json& part : schema.at("anyOf")) {
      if (part.contains("properties")) below(part);
    }
  }
  if (schema.contains("items") && schema.at("items").contains("properties")) {
    inner = true;
    collect(schema.at("items"), path + ".*", paths);
  }
  if (!inner) paths.insert(path);
}

/// `vms.vm.memory` as `vms.*.memory`
std::string pattern_of(const std::string& path) {
  static const std::set<std::string> lists = {"vms",   "jobs",     "migrations",  "faults",
                                              "hosts", "networks", "constraints", "segments"};
  std::istringstream steps(path);
  std::string pattern;
  bool item = false;
  for (std::string step; std::getline(steps, step, '.');) {
    if (!pattern.empty()) pattern += '.';
    pattern += item ? "*" : step;
    // `on.vms` and a migration's `vms` are single values, not lists.
    item = !item && lists.count(step) > 0 &&
           (pattern == step || pattern.ends_with("cluster." + step) ||
            pattern.ends_with("platform." + step) || step == "segments");
  }
  return pattern;
}

std::vector<std::string> difference(const std::set<std::string>& these,
                                    const std::set<std::string>& those) {
  std::vector<std::string> rest;
  std::set_difference(these.begin(), these.end(), those.begin(), those.end(),
                      std::back_inserter(rest));
  return rest;
}

LoadedScenario everything(const std::vector<Setting>& settings = {}) {
  const auto loaded = load_scenario(good_file("everything.yaml"), settings);
  EXPECT_TRUE(loaded) << errors_of(loaded);
  return *loaded;
}

TEST(Keys, of_the_schema_are_all_in_the_file_that_has_everything) {
  std::set<std::string> of_schema;
  collect(Json::parse(json_schema(FileKind::scenario)), "", of_schema);
  // The base is gone once the platform is inlined.
  of_schema.erase("platform.base");
  std::set<std::string> of_file;
  for (const Setting& leaf : leaf_settings(everything())) of_file.insert(pattern_of(leaf.path));
  // A network has one shape; the three networks of the file have all of them.
  of_schema.erase("platform.networks.*.topology.dragonfly.groups");
  of_schema.erase("platform.networks.*.topology.dragonfly.chassis");
  of_schema.erase("platform.networks.*.topology.dragonfly.routers");
  of_schema.erase("platform.networks.*.topology.dragonfly.hosts_per_router");
  of_file.erase("platform.networks.*.topology");
  EXPECT_THAT(difference(of_schema, of_file), IsEmpty()) << "not in the file";
  EXPECT_THAT(difference(of_file, of_schema), IsEmpty()) << "not in the schema";
}

TEST(Keys, each_change_what_planners_and_worlds_see) {
  // Another value for each single value that is no plain quantity, by its path.
  const std::map<std::string, std::string> others = {
      {"cluster.hosts.host.count", "5"},
      {"cluster.networks.ethernet.topology.dragonfly.groups", "4"},
      {"cluster.networks.ethernet.topology.dragonfly.chassis", "4"},
      {"cluster.networks.ethernet.topology.dragonfly.routers", "5"},
      {"cluster.networks.ethernet.topology.dragonfly.hosts_per_router", "4"},
      {"cluster.networks.ethernet.carries", "[ipoib, tcp, rdma]"},
      {"cluster.networks.fabric.carries", "[rdma, ipoib]"},
      {"vms.vm.on", "\"host[1-2]\""},
      {"vms.vm.spread", "round_robin"},
      {"vms.vm.memory", "3GiB"},
      {"vms.vm.vcpus", "3"},
      {"vms.vm.virtual_functions", "0"},
      {"vms.vm.pages.working_set", "50MiB"},
      {"vms.vm.pages.dirty_rate", "{lognormal: {median: 40MB/s, sigma: 0.5}}"},
      {"vms.lone.on", "host2"},
      {"vms.lone.spread", "pack"},
      {"vms.lone.virtual_functions", "1"},
      {"vms.lone.ivshmem", "1MiB"},
      {"vms.lone.vcpus", "2"},
      {"vms.lone.pages.working_set", "10MiB"},
      {"vms.lone.pages.dirty_rate", "1MB/s"},
      {"vms.lone.pages.idle_dirty_rate", "1MB/s"},
      {"jobs.lu.count", "4"},
      {"jobs.lu.on.vms", "\"vm[2,3,0,1]\""},
      {"jobs.lu.ranks", "3"},
      {"jobs.lu.strategy", "none"},
      {"jobs.lu.suspend", "peers"},
      {"jobs.lu.reconnect", "lazy"},
      {"jobs.lu.workload.next_call", "1ms"},
      {"jobs.lu.channels.mode", "hybrid"},
      {"jobs.lu.channels.device", "native"},
      {"jobs.quiet.channels.mode", "one_layer"},
      {"jobs.quiet.channels.device", "native"},
      {"jobs.quiet.channels.eager_threshold", "1KiB"},
      {"cluster.hosts.host.numa", "\"4x4\""},
      {"vms.vm.numa", "1"},
      {"cluster.hosts.spare.numa", "\"4x2\""},
      {"vms.vm.containers", "1"},
      {"vms.lone.numa", "0"},
      {"vms.lone.containers", "4"},
      {"jobs.quiet.on.vms", "\"vm\""},
      {"jobs.osu.workload.sizes", "[8B]"},
      {"jobs.iterate.workload.collective", "gather"},
      {"jobs.mg.workload.class", "A"},
      {"jobs.replay.workload.file", "test-bed.yaml"},
      {"jobs.quiet.ranks", "2"},
      {"jobs.quiet.strategy", "migration_thread"},
      {"jobs.quiet.suspend", "job"},
      {"jobs.quiet.reconnect", "eager"},
      {"jobs.quiet.workload.next_call", "1ms"},
      {"migrations.leave.device", "failover"},
      {"migrations.back.device", "failover"},
      {"migrations.empty.device", "failover"},
      {"migrations.swap.device", "failover"},
      {"migrations.leave.vms", "\"vm[0-2]\""},
      {"migrations.leave.to", "any"},
      {"migrations.leave.place", "pack"},
      {"migrations.leave.at", "never"},
      {"migrations.leave.transport", "tcp"},
      {"migrations.leave.memory.mode", "precopy"},
      {"migrations.leave.memory.pin_all", "true"},
      {"migrations.leave.retry.attempts", "2"},
      {"schedule.order", "parallel"},
      {"schedule.batch", "all"},
      {"faults.0.phase", "detach_vf"},
      {"faults.0.vm", "vm0"},
      {"faults.0.fail", "always"},
      {"faults.1.stall", "20s"},
      {"faults.2.journal", "8"},
      {"faults.2.controller_down", "6s"},
      {"faults.2.last_record", "missing"},
      {"faults.3.host_down", "host0"},
      {"faults.4.link_down", "host2"},
      {"faults.4.network", "ethernet"},
      {"faults.5.slow_link", "host2"},
      {"faults.5.network", "fabric"},
      {"faults.6.late_libvirt", "host1"},
      {"outputs.trace", "true"},
      {"outputs.links", "true"},
      {"outputs.twin", "true"},
      {"migrations.back.vms", "vm1"},
      {"migrations.back.to", "host3"},
      {"migrations.back.place", "pack"},
      {"migrations.leave.memory.on_stall", "[auto_converge]"},
      {"migrations.back.transport", "ipoib"},
      {"migrations.back.memory.mode", "offline"},
      {"migrations.back.memory.auto_converge", "false"},
      {"migrations.back.memory.compression", "none"},
      {"migrations.back.memory.streams", "2"},
      {"migrations.back.memory.on_stall", "[abort]"},
      {"migrations.back.memory.bandwidth_limit", "1GB/s"},
      {"migrations.back.memory.pin_all", "false"},
      {"migrations.back.retry.attempts", "2"},
      {"migrations.empty.evacuate", "host0"},
      {"migrations.empty.vms", "vm"},
      {"migrations.empty.to", "any"},
      {"migrations.swap.vms", "vm1"},
      {"migrations.swap.swap_with", "host3"},
      {"constraints.0.before", "[vm1, vm3]"},
      {"constraints.1.together", "[vm2, vm3]"},
      {"constraints.2.apart", "[vm0, vm1]"},
      {"faults.1.phase", "set_post_migration"},
      {"faults.1.vm", "vm1"},
      {"platform.hypervisor.devices_at_once", "false"},
      {"platform.channels.shm.reads", "false"},
      {"platform.channels.cma.reads", "false"},
      {"platform.channels.ivshmem.reads", "false"},
      {"platform.channels.sriov.reads", "false"},
      {"platform.channels.sriov_loopback.reads", "false"},
      {"platform.channels.passthrough.reads", "false"},
      {"platform.channels.native.reads", "false"},
      {"platform.processors.shared", "false"},
  };
  // Names and texts; what names the only thing there is; what only another key gives a meaning.
  const auto is_about = [](const std::string& path) {
    // Jobs that are there for their workloads alone.
    for (const std::string job : {"osu", "overlap", "iterate", "mg", "graph", "replay"}) {
      if (path.starts_with("jobs." + job) && !path.starts_with("jobs." + job + ".workload")) {
        return true;
      }
    }
    for (const std::string end : {"ferry", ".name", "description", "workload.type", "on.split"}) {
      if (path == end || path.ends_with(end)) return true;
    }
    // RDMA, and a guest that is stopped, exclude them: `back` has them.
    for (const std::string key : {"auto_converge", "compression", "streams"}) {
      if (path == "migrations.leave.memory." + key) return true;
    }
    // What the other migrations are tried with.
    for (const std::string other : {"migrations.empty.", "migrations.swap."}) {
      if (path.starts_with(other + "memory") || path.starts_with(other + "timeouts") ||
          path.starts_with(other + "retry") || path == other + "place" ||
          path == other + "transport") {
        return true;
      }
    }
    return path == "name" || path == "faults.0.stall" || path == "faults.1.fail" ||
           path.starts_with("migrations.idle") || path.starts_with("platform.networks.");
  };
  // What has to be otherwise before a key can take its other value; the comparison has it too.
  const auto needed = [](const std::string& path) -> std::vector<Setting> {
    // A VM without a virtual function cannot have a fault in attaching one.
    if (path == "vms.vm.virtual_functions") return {{"faults.0.phase", "migration"}};
    // Only a way that takes IVShmem away moves a VM that has it.
    if (path == "vms.lone.ivshmem") {
      return {{"migrations.idle.device", "detach"}, {"migrations.empty.device", "detach"}};
    }
    if (path.ends_with(".device") && path.starts_with("migrations."))
      return {{"vms.vm.ivshmem", "0B"}, {"jobs.lu.ivshmem", "0B"}};
    // Nothing throttles a guest that is stopped.
    if (path == "migrations.back.memory.mode") {
      return {{"migrations.back.memory.auto_converge", "false"}};
    }
    return {};
  };
  const LoadedScenario base = everything();
  std::size_t changed = 0;
  for (const Setting& leaf : leaf_settings(base)) {
    if (is_about(leaf.path)) continue;
    // Needs ranks that send messages in every VM; tests/scenario/test_every_key.py sets it.
    if (leaf.path.ends_with(".when")) continue;
    const auto other = others.find(leaf.path);
    const std::optional<std::string> value =
        other != others.end() ? other->second : scaled_value(leaf.value, 0.5);
    ASSERT_TRUE(value) << "no other value for " << leaf.path << "=" << leaf.value;
    ASSERT_NE(*value, leaf.value) << leaf.path;
    std::vector<Setting> settings = needed(leaf.path);
    const LoadedScenario before = settings.empty() ? base : everything(settings);
    settings.push_back({leaf.path, *value});
    // Sockets have all of a host's cores.
    if (leaf.path == "cluster.hosts.host.cores") {
      settings.push_back({"cluster.hosts.host.numa", "\"2x4\""});
    }
    if (leaf.path == "cluster.hosts.spare.cores") {
      settings.push_back({"cluster.hosts.spare.numa", "\"2x2\""});
    }
    const auto loaded = load_scenario(good_file("everything.yaml"), settings);
    ASSERT_TRUE(loaded) << leaf.path << ": " << errors_of(loaded);
    EXPECT_NE(loaded->resolved, before.resolved) << leaf.path;
    // A group of one is packed as it is dealt.
    if (leaf.path == "vms.lone.spread") continue;
    EXPECT_NE(fingerprint(loaded->scenario), fingerprint(before.scenario))
        << leaf.path << "=" << *value;
    ++changed;
  }
  EXPECT_GT(changed, 100U);
}

TEST(Keys, of_a_platform_network_count_where_the_cluster_has_none) {
  const auto base = load_scenario(good_file("minimal.yaml"));
  ASSERT_TRUE(base) << errors_of(base);
  for (const Setting& setting :
       {Setting{"platform.networks.ethernet.link.bandwidth", "1Gbps"},
        Setting{"platform.networks.ethernet.link.latency", "1ms"},
        Setting{"platform.networks.ethernet.carries", "[rdma, tcp]"},
        Setting{"platform.networks.infiniband.topology.fat_tree.spines", "3"},
        Setting{"platform.networks.infiniband.topology", "star"}}) {
    const auto loaded = load_scenario(good_file("minimal.yaml"), {setting});
    ASSERT_TRUE(loaded) << errors_of(loaded);
    EXPECT_NE(fingerprint(loaded->scenario), fingerprint(base->scenario)) << setting.path;
  }
}

}  // namespace
}  // namespace ferry
