// Time in a world.
#pragma once

#include "core/units/units.hpp"

namespace ferry {

/// Why a wait ended.
enum class Wake { ready, timed_out, cancelled };

class Clock {
 public:
  virtual ~Clock() = default;
  /// Never blocks; monotonic; costs no simulated time.
  [[nodiscard]] virtual TimePoint now() const = 0;
  /// Blocks the calling task. `timed_out` once `deadline` is reached (at once if it has passed),
  /// `cancelled` if the task was cancelled before or meanwhile.
  virtual Wake sleep_until(TimePoint deadline) = 0;
};

}  // namespace ferry
