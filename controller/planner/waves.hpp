// Which moves open together.
#pragma once

#include <cstddef>
#include <vector>

#include "controller/plan.hpp"
#include "controller/planner/placement.hpp"
#include "core/scenario/instance.hpp"
#include "core/scenario/scenario.hpp"

namespace ferry {

/// Indices of the moves by start, migration and VM name, so that nothing depends on the order of
/// lists in the file. A VM's own moves keep their order: a later one starts where the earlier one
/// ended.
std::vector<std::size_t> order_of_moves(const Instance& instance);

/// Gives the places of each VM's moves in `order` back to these moves in the order of `placed`.
void keep_turns(const Instance& instance, const std::vector<PlacedMove>& placed,
                std::vector<std::size_t>& order);

/// By `batch` and `together`, in the order of their first moves.
std::vector<PlannedWave> form_waves(Batch batch, const Instance& instance,
                                    const std::vector<std::size_t>& order);

}  // namespace ferry
