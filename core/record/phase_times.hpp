// From spans that may overlap to seven times that add up.
#pragma once

#include <array>
#include <vector>

#include "core/ports/recorder.hpp"

namespace ferry {

/// Time by phase, indexed by `Phase`.
using PhaseTimes = std::array<Duration, phase_count>;

/// Splits the time from `start` to `end` among the phases. Each instant counts once: to the span
/// that ends last of those that cover it (at equal ends to the later phase); in a gap to the span
/// that starts next (at equal starts to the earlier phase), after the last span to the one that
/// ended last, and without any span to `set_pre_migration`. So the seven times add up to `end` -
/// `start`, exactly. Parts of spans outside `start`..`end` do not count. `start` <= `end`.
PhaseTimes phase_times(const std::vector<SpanRecord>& spans, TimePoint start, TimePoint end);

}  // namespace ferry
