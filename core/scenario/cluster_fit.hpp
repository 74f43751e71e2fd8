// Whether a cluster can play a scenario, as far as their files tell.
#pragma once

#include <filesystem>

#include "core/scenario/cluster_file.hpp"
#include "core/scenario/document.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

/// Everything in which the two do not fit: hosts and VMs that the cluster does not have, devices
/// and ways to migrate that it does not name, jobs whose ranks would have to cooperate. Empty if
/// they fit. `scenario_file` is for the places in messages. Pure but for reading that file again.
Diagnostics check_fit(const std::filesystem::path& scenario_file, const Scenario& scenario,
                      const Instance& instance, const LoadedCluster& cluster);

}  // namespace ferry
