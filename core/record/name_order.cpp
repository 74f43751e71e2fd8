#include "core/record/name_order.hpp"

#include <algorithm>
#include <numeric>

#include "core/units/natural_order.hpp"

namespace ferry {
namespace {

template <class Items>
std::vector<std::uint32_t> places(const Items& items) {
  std::vector<std::uint32_t> order(items.size());
  std::iota(order.begin(), order.end(), 0U);
  const auto before = [&items](std::uint32_t a, std::uint32_t b) {
    return natural_less(items[a].name, items[b].name);
  };
  // Groups are numbered in order, so there is often nothing to do.
  if (!std::is_sorted(order.begin(), order.end(), before)) {
    std::sort(order.begin(), order.end(), before);
  }
  std::vector<std::uint32_t> place(items.size());
  for (std::uint32_t i = 0; i < order.size(); ++i) place[order[i]] = i;
  return place;
}

}  // namespace

NameOrder::NameOrder(const Instance& instance)
    : vms_(places(instance.vms)), jobs_(places(instance.jobs)) {}

}  // namespace ferry
