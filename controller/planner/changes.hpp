// Small changes of a schedule.
#pragma once

#include "controller/planner/forecast.hpp"
#include "controller/planner/schedules.hpp"
#include "core/ports/randomness.hpp"

namespace ferry {

/// One to three changes drawn from `draw`: a move that by `forecast` (of `draft`) ends last or
/// pauses longest, or any, goes elsewhere in the order; a link gets other places. The schedule must
/// have two moves or more.
ScheduleDraft changed(const ScheduleDraft& draft, const Forecast& forecast,
                      const Schedules& schedules, RandomStream& draw);

}  // namespace ferry
