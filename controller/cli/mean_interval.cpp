#include "controller/cli/mean_interval.hpp"

#include <boost/math/distributions/students_t.hpp>
#include <cmath>

#include "core/units/check.hpp"

namespace ferry {

MeanInterval mean_interval(std::span<const double> values) {
  check(values.size() >= 2, "an interval needs two values or more");
  const auto count = static_cast<double>(values.size());
  double mean = 0;
  for (const double value : values) mean += value / count;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double deviation = std::sqrt(squares / (count - 1));
  const double t = boost::math::quantile(boost::math::students_t(count - 1), 0.975);
  const double half = t * deviation / std::sqrt(count);
  return {mean, mean - half, mean + half};
}

}  // namespace ferry
