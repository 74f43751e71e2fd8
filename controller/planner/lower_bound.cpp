#include "controller/planner/lower_bound.hpp"

#include <algorithm>
#include <numeric>

namespace ferry {

std::vector<Duration> link_loads(const LinkMap& links, const std::vector<MoveLoad>& moves) {
  std::vector<Duration> loads(links.link_count());
  for (const MoveLoad& move : moves) {
    for (const LinkId link : move.route) loads[link.index] += move.bytes / links.bandwidth(link);
  }
  return loads;
}

LowerBound lower_bound(const LinkMap& links, const std::vector<MoveLoad>& moves) {
  std::vector<std::size_t> by_after(moves.size());
  std::iota(by_after.begin(), by_after.end(), std::size_t{0});
  std::stable_sort(by_after.begin(), by_after.end(),
                   [&](std::size_t a, std::size_t b) { return moves[a].after > moves[b].after; });
  std::vector<Duration> before(links.link_count(), Duration::max());
  LowerBound bound;
  for (const MoveLoad& move : moves) {
    bound.time = std::max(bound.time, move.total());
    for (const LinkId link : move.route) {
      before[link.index] = std::min(before[link.index], move.before);
    }
  }
  std::vector<Duration> loads(links.link_count());
  for (const std::size_t index : by_after) {
    const MoveLoad& move = moves[index];
    for (const LinkId link : move.route) {
      Duration& load = loads[link.index];
      load += move.bytes / links.bandwidth(link);
      const Duration time = before[link.index] + load + move.after;
      if (time <= bound.time) continue;
      bound.time = time;
      bound.link = link;
    }
  }
  return bound;
}

}  // namespace ferry
