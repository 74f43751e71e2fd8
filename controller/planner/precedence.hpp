// Which waves have to end before others begin.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "controller/plan.hpp"
#include "controller/planner/placement.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

/// Puts `waves` into an order in which none comes before one that it waits for, otherwise as they
/// are, and fills in their `after`: for every `before` constraint; and with `room`, where a host
/// has not from the start room for all that come, for every departure from it that comes before the
/// arrival in `placed`. With these kept, whatever else overtakes, a wave finds the room that its
/// placement found.
///
/// Error: a sentence that names a VM whose wave would wait for itself.
tl::expected<void, std::string> keep_precedence(const Instance& instance,
                                                const std::vector<PlacedMove>& placed, bool room,
                                                std::vector<PlannedWave>& waves);

}  // namespace ferry
