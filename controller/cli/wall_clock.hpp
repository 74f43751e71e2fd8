// The system's clock, which controllers on other days can compare theirs with.
#pragma once

#include <chrono>
#include <cstdint>

namespace ferry {

/// Since 1970.
[[nodiscard]] inline std::int64_t wall_nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace ferry
