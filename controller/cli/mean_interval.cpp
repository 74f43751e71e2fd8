#include "controller/cli/mean_interval.hpp"

#include <array>
#include <cmath>
#include <cstddef>

#include "core/units/check.hpp"

namespace ferry {
namespace {

/// The 0.975 quantile of Student's t by degrees of freedom (any table of the distribution).
constexpr std::array<double, 30> t_975 = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
                                          2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
                                          2.110,  2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064,
                                          2.060,  2.056, 2.052, 2.048, 2.045, 2.042};

/// Beyond the table by the first terms of its expansion about the normal quantile (Abramowitz and
/// Stegun, 26.7.5): right to 1e-4.
double quantile(std::size_t degrees) {
  if (degrees <= t_975.size()) return t_975[degrees - 1];
  constexpr double x = 1.959964;
  const auto n = static_cast<double>(degrees);
  const double first = (std::pow(x, 3) + x) / 4;
  const double second = (5 * std::pow(x, 5) + 16 * std::pow(x, 3) + 3 * x) / 96;
  return x + first / n + second / (n * n);
}

}  // namespace

MeanInterval mean_interval(std::span<const double> values) {
  check(values.size() >= 2, "an interval needs two values or more");
  const auto count = static_cast<double>(values.size());
  double mean = 0;
  for (const double value : values) mean += value / count;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double deviation = std::sqrt(squares / (count - 1));
  const double half = quantile(values.size() - 1) * deviation / std::sqrt(count);
  return {mean, mean - half, mean + half};
}

}  // namespace ferry
