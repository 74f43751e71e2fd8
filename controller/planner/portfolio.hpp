// Several schedules of the same moves, and which of them promises most.
#pragma once

#include <string>
#include <tl/expected.hpp>

#include "controller/plan.hpp"
#include "core/scenario/instance.hpp"
#include "core/scenario/scenario.hpp"

namespace ferry {

/// The plan of `order: planned`, with its forecast.
///
/// What bounds an evacuation differs: a link that all must pass, one host's operations in a row,
/// the plugging after the last byte of the largest VM. No one rule is best for all, so schedules
/// are made by several, forecast (`forecast.hpp`), and compared:
///
/// - *references*: what `order: parallel` does, under the scenario's limits as they are, and under
///   uniform caps of 1, 2, 4 and 8 moves out of and into a host.
/// - *rules*: every combination of two placements (by the most loaded link of the path; the
///   largest VMs first, by what differs between destinations), two orders (`OrderRule`), places on
///   links (what keeps each busy times a factor, plus one; or no limit; or a limit only where all
///   at once would take longer than the bound) and how far a full link empties before others
///   follow.
/// - *changes* of the best so far, drawn from a random stream: a move that ends last or pauses
///   longest goes elsewhere in the order, a link gets a place more or less.
///
/// Taken is: of those in which fewest moves fail, the one with the shortest makespan among those
/// whose makespan and mean downtime are not longer than those of the best uniform cap and of all at
/// once (with a small margin for what a forecast does not see, but where the downtime is theirs to
/// the millionth); if none is so in its downtime, of those of not longer makespan the one with the
/// least sum of makespan and three times what its downtime exceeds, both as shares of the
/// references'. Of equals the earliest.
///
/// The work of all forecasts is bounded (counted, not timed, so that every machine takes the same
/// plan): with thousands of moves shares are computed less often, and the schedules that come last
/// are not looked at.
///
/// Error: as `make_plan`.
tl::expected<Plan, std::string> plan_by_forecast(const Scenario& scenario, Instance& instance);

}  // namespace ferry
