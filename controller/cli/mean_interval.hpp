// A mean with its confidence interval.
#pragma once

#include <span>

namespace ferry {

struct MeanInterval {
  double mean = 0;
  double low = 0;
  double high = 0;
};

/// The mean of at least two values with both ends of its 95 % confidence interval, mean +- t(0.975,
/// n - 1) s / sqrt(n) with Student's t, which takes the values as independent and about normal.
[[nodiscard]] MeanInterval mean_interval(std::span<const double> values);

}  // namespace ferry
