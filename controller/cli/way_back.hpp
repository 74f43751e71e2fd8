// The scenario that undoes a scenario: every VM back to where it started.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/record/run_records.hpp"
#include "core/scenario/document.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

/// Where each VM of the instance is after what was recorded.
std::vector<HostId> places_after(const Instance& instance, const RunRecords& records);

/// Moves every VM that is not on its host of the instance back there, as its last move moved it (a
/// VM that the scenario never moves: with default options), at once and under the scenario's
/// schedule; without faults and constraints. Nothing if all are at home. `loaded` and `instance`
/// belong together; `places` by VM. The result's `resolved` reads back as this scenario.
std::optional<LoadedScenario> way_back(const LoadedScenario& loaded, const Instance& instance,
                                       const std::vector<HostId>& places);

}  // namespace ferry
