#include "core/scenario/varying.hpp"

#include <algorithm>
#include <cmath>

#include "core/scenario/limits.hpp"
#include "core/units/check.hpp"

namespace ferry {
namespace {

/// In [low, high], both possible.
std::uint64_t draw_between(std::uint64_t low, std::uint64_t high, RandomStream& stream) {
  check(low <= high, "a uniform law has its ends in order");
  const std::uint64_t span = high - low;
  if (span == ~std::uint64_t{0}) return stream.next();
  return low + stream.next_below(span + 1);
}

template <class Quantity, class Uniform, class Scale>
Quantity draw_law(const Varying<Quantity>& varying, RandomStream& stream, Uniform uniform,
                  Scale scale) {
  using Law = Varying<Quantity>;
  if (const auto* fixed = std::get_if<Quantity>(&varying.law)) return *fixed;
  if (const auto* range = std::get_if<typename Law::Uniform>(&varying.law)) {
    return uniform(range->low, range->high);
  }
  if (const auto* choice = std::get_if<typename Law::Choice>(&varying.law)) {
    check(!choice->values.empty(), "a choice has values");
    return choice->values[stream.next_below(choice->values.size())];
  }
  const auto& normal = std::get<typename Law::LogNormal>(varying.law);
  return scale(normal.median, std::exp(normal.sigma * stream.next_normal()));
}

}  // namespace

Bytes draw(const Varying<Bytes>& varying, RandomStream& stream) {
  return draw_law(
      varying, stream,
      [&](Bytes low, Bytes high) { return Bytes(draw_between(low.count(), high.count(), stream)); },
      [](Bytes median, double factor) { return std::min(median * factor, limits::memory); });
}

Duration draw(const Varying<Duration>& varying, RandomStream& stream) {
  return draw_law(
      varying, stream,
      [&](Duration low, Duration high) {
        const auto span = static_cast<std::uint64_t>((high - low).count_nanoseconds());
        return low +
               Duration::nanoseconds(static_cast<std::int64_t>(draw_between(0, span, stream)));
      },
      [](Duration median, double factor) { return std::min(median * factor, limits::time); });
}

Bandwidth draw(const Varying<Bandwidth>& varying, RandomStream& stream) {
  return draw_law(
      varying, stream,
      [&](Bandwidth low, Bandwidth high) {
        const double from = low.to_bytes_per_second();
        const double width = high.to_bytes_per_second() - from;
        return Bandwidth::bytes_per_second(from + width * stream.next_unit());
      },
      [](Bandwidth median, double factor) { return std::min(median * factor, limits::bandwidth); });
}

}  // namespace ferry
