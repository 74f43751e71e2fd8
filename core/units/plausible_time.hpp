// Times that others tell of.
#pragma once

#include "core/units/units.hpp"

namespace ferry {

/// Whether one can calculate with a time that came as bytes: sums and differences of two such times
/// do not overflow. Within 146 years of zero.
[[nodiscard]] constexpr bool is_plausible(Duration time) {
  const std::int64_t longest = Duration::max().count_nanoseconds() / 2;
  return time.count_nanoseconds() <= longest && time.count_nanoseconds() >= -longest;
}

}  // namespace ferry
