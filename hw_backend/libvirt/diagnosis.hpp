// Whether a cluster is ready, and what would put right what is not: for `ferry doctor`, and before
// a run touches anything.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/scenario/cluster_file.hpp"
#include "core/scenario/instance.hpp"
#include "hw_backend/libvirt/host_facts.hpp"

namespace ferry {

struct Finding {
  enum class Level { ok, warning, failed } level = Level::ok;
  std::string subject;  ///< "host0: libvirt"
  std::string text;     ///< what was found
  std::string fix;      ///< what would put it right; empty if it is ok
};

struct Diagnosis {
  std::vector<Finding> findings;
  /// By VmId of the instance (of the cluster file, with none): the name of the host that it runs
  /// on; empty: none.
  std::vector<std::string> places;
  std::vector<std::pair<std::string, std::string>> versions;  ///< ("host0: libvirt", "9.0.0")
};

/// Connects to every host and looks; touches nothing. With an instance its VMs are held against
/// their domains (memory, vCPUs, devices, and if `at_start` the host). Blocks as long as the
/// slowest host takes, at most 30 s.
Diagnosis diagnose(const ClusterFile& cluster, const Instance* instance, bool at_start);

/// What `diagnose` concludes from what the hosts told; pure. `hosts` is in the instance's order.
/// `machines` are reasons why a host cannot run a VM's guest, by (host's name, VM's name).
Diagnosis judge(const ClusterFile& cluster, const Instance& instance, bool against_instance,
                bool at_start, const std::vector<Result<HostFacts>>& hosts,
                const std::map<std::pair<std::string, std::string>, std::string>& machines);

}  // namespace ferry
