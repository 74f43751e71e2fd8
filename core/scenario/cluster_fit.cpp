#include "core/scenario/cluster_fit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "core/scenario/loading.hpp"
#include "core/scenario/report.hpp"

namespace ferry {
namespace {

/// A list of names that may be long.
std::string some_of(const std::vector<std::string>& names) {
  constexpr std::size_t shown = 8;
  std::vector<std::string_view> words(
      names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(shown, names.size())));
  std::string text = listed(words);
  if (names.size() > shown) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

class Fit {
 public:
  Fit(const std::filesystem::path& scenario_file, const Scenario& scenario,
      const Instance& instance, const LoadedCluster& cluster)
      : scenario_file_(scenario_file),
        scenario_(scenario),
        instance_(instance),
        cluster_(cluster) {}

  Diagnostics check() {
    names("hosts", "host", instance_.hosts, cluster_.cluster.hosts, "{libvirt: ..., migrate: ...}");
    names("vms", "VM", instance_.vms, cluster_.cluster.vms, "{domain: ...}");
    functions();
    devices();
    ways();
    strategies();
    jobs();
    faults();
    return std::move(found_);
  }

 private:
  void add(Problem problem, const std::string& path, std::string message) {
    Diagnostic diagnostic;
    diagnostic.file = cluster_.file;
    diagnostic.line = 1;
    diagnostic.column = 1;
    const auto place =
        std::find_if(cluster_.places.begin(), cluster_.places.end(),
                     [&](const ClusterPlace& candidate) { return candidate.path == path; });
    if (place != cluster_.places.end()) {
      diagnostic.line = place->line;
      diagnostic.column = place->column;
    }
    diagnostic.path = path;
    diagnostic.message = std::move(message);
    diagnostic.problem = problem;
    found_.push_back(std::move(diagnostic));
  }

  /// Every name of the scenario is a name of the cluster.
  template <class Wanted, class Known>
  void names(const std::string& path, std::string_view what, const std::vector<Wanted>& wanted,
             const std::vector<Known>& known, std::string_view example) {
    std::set<std::string_view> in_scenario;
    for (const Wanted& item : wanted) in_scenario.insert(item.name);
    std::set<std::string_view> in_cluster;
    std::vector<std::string_view> spare;  // names that no item of the scenario has: perhaps slips
    for (const Known& item : known) {
      in_cluster.insert(item.name);
      if (in_scenario.count(item.name) == 0) spare.push_back(item.name);
    }
    std::vector<std::string> missing;
    for (const Wanted& item : wanted) {
      if (in_cluster.count(item.name) == 0) missing.push_back(item.name);
    }
    constexpr std::size_t one_by_one = 4;
    if (missing.size() > one_by_one) {
      add(Problem::not_in_cluster, path,
          fmt::format("the scenario has {} {}s that are not here: {}; add a line `NAME: {}` for "
                      "each",
                      missing.size(), what, some_of(missing), example));
      return;
    }
    for (const std::string& name : missing) {
      const std::string_view near = nearest(name, spare);
      add(Problem::not_in_cluster, path,
          near.empty() ? fmt::format("the scenario's {} {} is not here; add `{}: {}`", what, name,
                                     name, example)
                       : fmt::format("the scenario's {} {} is not here; is it the one called '{}'?",
                                     what, name, near));
    }
  }

  void functions() {
    if (std::none_of(instance_.vms.begin(), instance_.vms.end(),
                     [](const VmSpec& vm) { return vm.virtual_function; })) {
      return;
    }
    for (const HostSpec& host : instance_.hosts) {
      const ClusterHost* real = cluster_.cluster.host(host.name);
      if (real == nullptr || real->function_count() >= host.virtual_functions) continue;
      add(Problem::does_not_fit, fmt::format("hosts.{}", host.name),
          fmt::format("the scenario gives {} {} virtual functions, and the pools here have {}; "
                      "write virtual_functions: {} in the scenario, or larger pools here",
                      host.name, host.virtual_functions, real->function_count(),
                      real->function_count()));
    }
  }

  void devices() {
    for (const VmSpec& vm : instance_.vms) {
      const ClusterVm* real = cluster_.cluster.vm(vm.name);
      if (real == nullptr) continue;
      if (vm.virtual_function && real->virtual_function.empty()) {
        add(Problem::no_device, fmt::format("vms.{}", vm.name),
            fmt::format("the scenario's {} has a virtual function; add its alias in the domain, "
                        "such as `virtual_function: ua-vf0`, or write virtual_functions: 0 in the "
                        "scenario",
                        vm.name));
      }
      if (vm.ivshmem > Bytes(0) && real->ivshmem.empty()) {
        add(Problem::no_device, fmt::format("vms.{}", vm.name),
            fmt::format("the scenario's {} has an IVShmem device; add its alias in the domain, "
                        "such as `ivshmem: ua-shm0`, or write ivshmem: 0B in the scenario",
                        vm.name));
      }
    }
  }

  /// Each host that a VM may go to can be reached by what carries the move.
  void ways() {
    std::set<std::pair<std::string_view, Transport>> said;
    std::set<VmId> moved;
    for (const MoveSpec& move : instance_.moves) {
      const bool at_home = moved.insert(move.vm).second;
      for (const HostId id : move.candidates) {
        if (at_home && id == instance_.vms[move.vm.index].host) continue;
        const ClusterHost* host = cluster_.cluster.host(instance_.hosts[id.index].name);
        const Transport transport = move.transfer.transport;
        if (host == nullptr || !host->migrate.by(transport).empty()) continue;
        if (!said.insert({host->name, transport}).second) continue;
        add(Problem::no_carrier, fmt::format("hosts.{}", host->name),
            fmt::format("the scenario's migration {} goes to {} over {}; add `{}: {}` to migrate",
                        move.migration, host->name, to_name(transport), to_name(transport),
                        transport == Transport::rdma ? "rdma://HOST" : "tcp://HOST"));
      }
    }
  }

  void strategies() {
    for (const Migration& migration : scenario_.migrations) {
      if (migration.device == DeviceStrategy::detach) continue;
      in_scenario(
          Problem::no_device, {{"migrations"}, {migration.name}, {"device"}},
          fmt::format(
              "{} is for --on sim and --on threads: on hw virtual functions are unplugged and "
              "plugged again; write device: detach (ferry doctor says what the other "
              "ways need)",
              to_name(migration.device)));
    }
  }

  /// Whether the job's ranks run in guests, behind agents, and answer requests.
  [[nodiscard]] bool has_ranks(const Job& job) const {
    if (job.workload.type == WorkloadType::timed || cluster_.cluster.rank.path.empty()) {
      return false;
    }
    for (const JobSpec& spec : instance_.jobs) {
      if (spec.name != job.name) continue;
      for (const VmId vm : spec.vms) {
        const ClusterVm* const known = cluster_.cluster.vm(instance_.vms[vm.index].name);
        if (known == nullptr || known->agent.empty()) return false;
      }
    }
    return true;
  }

  void jobs() {
    const auto& hosts = cluster_.cluster.hosts;
    const bool real_functions = std::any_of(hosts.begin(), hosts.end(), [](const auto& host) {
      return std::any_of(host.virtual_functions.begin(), host.virtual_functions.end(),
                         [](const FunctionPool& pool) { return !pool.stands_in(); });
    });
    std::set<std::string_view> groups_said;
    for (const Job& job : scenario_.jobs) {
      if (has_ranks(job)) continue;
      if (job.workload.type != WorkloadType::timed) {
        in_scenario(Problem::no_ranks, {{"jobs"}, {job.name}, {"workload"}},
                    "on hw ranks that send messages are started by agents in their VMs; give each "
                    "of the job's VMs an agent, and rank, in the cluster file, or write strategy: "
                    "none and workload: {type: timed} where the guests run programs of their own");
      } else if (job.strategy != Strategy::none) {
        in_scenario(Problem::no_ranks, {{"jobs"}, {job.name}, {"strategy"}},
                    "on hw a timed job has no ranks that answer a migration request; write "
                    "strategy: none for a job that does not cooperate, or a workload that sends "
                    "messages, with agents in its VMs");
      }
    }
    if (!real_functions) return;
    for (const VmSpec& vm : instance_.vms) {
      if (!vm.virtual_function) continue;
      for (const JobId id : vm.jobs) {
        const JobSpec& job = instance_.jobs[id.index];
        if (job.strategy != Strategy::none || !groups_said.insert(job.name).second) continue;
        in_scenario(Problem::no_ranks, {{"jobs"}, {group_of(job.name)}},
                    fmt::format("{} does not cooperate and {} holds a virtual function, whose "
                                "unplugging would wait for the ranks that have it open; leave the "
                                "job out if no program in the VM uses the function",
                                job.name, vm.name));
      }
    }
  }

  void faults() {
    for (std::size_t i = 0; i < scenario_.faults.size(); ++i) {
      const Fault& fault = scenario_.faults[i];
      if (fault.journal == 0 && !fault.of_cluster()) continue;
      in_scenario(Problem::pretended_fault, {{"faults"}, {{}, i}},
                  fmt::format("{} for --on sim and --on threads; leave it out for a real world{}",
                              fault.journal > 0 ? "a controller that goes down is"
                                                : "faults of hosts and links are",
                              fault.journal > 0 ? ", where its process can be killed" : ""));
    }
  }

  /// The entry of `jobs:` that an expanded job comes from.
  [[nodiscard]] std::string_view group_of(std::string_view name) const {
    for (const Job& job : scenario_.jobs) {
      if (job.name == name) return job.name;
      if (job.numbered && name.substr(0, job.name.size()) == job.name &&
          name.find_first_not_of("0123456789", job.name.size()) == std::string_view::npos) {
        return job.name;
      }
    }
    return name;
  }

  /// At the place in the scenario, if its file still tells.
  void in_scenario(Problem problem, const std::vector<PathStep>& where, std::string message) {
    if (!tree_read_) {
      Report report;
      read_yaml_file(scenario_file_, tree_, report);
      tree_read_ = true;
    }
    const YamlNode* node = &tree_;
    for (const PathStep& step : where) {
      const YamlNode* next = nullptr;
      if (const YamlEntry* entry = node->find(step.key)) next = &entry->value;
      for (std::size_t i = 0; next == nullptr && i < node->items.size(); ++i) {
        const PathStep called = item_step(node->items[i], i);
        const bool counted = step.key.empty();
        if (called.key == step.key && (!counted || i == step.index)) next = &node->items[i];
      }
      if (next == nullptr) break;
      node = next;
    }
    Diagnostic diagnostic;
    diagnostic.file = scenario_file_.string();
    diagnostic.line = node->place.line;
    diagnostic.column = node->place.column;
    diagnostic.path = to_path_text(where);
    diagnostic.message = std::move(message);
    diagnostic.problem = problem;
    found_.push_back(std::move(diagnostic));
  }

  const std::filesystem::path& scenario_file_;
  const Scenario& scenario_;
  const Instance& instance_;
  const LoadedCluster& cluster_;
  YamlNode tree_;
  bool tree_read_ = false;
  Diagnostics found_;
};

}  // namespace

Diagnostics check_fit(const std::filesystem::path& scenario_file, const Scenario& scenario,
                      const Instance& instance, const LoadedCluster& cluster) {
  return Fit(scenario_file, scenario, instance, cluster).check();
}

}  // namespace ferry
