#include "controller/planner/ordering.hpp"

#include <algorithm>

#include "controller/planner/lower_bound.hpp"

namespace ferry {

std::vector<std::size_t> order_by_ending(const std::vector<MoveLoad>& moves,
                                         const std::vector<std::size_t>& tie) {
  std::vector<std::size_t> order = tie;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    if (moves[a].after != moves[b].after) return moves[a].after > moves[b].after;
    return moves[a].transfer > moves[b].transfer;
  });
  return order;
}

std::vector<std::size_t> order_by_load(const LinkMap& links, const std::vector<MoveLoad>& moves,
                                       const std::vector<std::size_t>& tie) {
  std::vector<std::size_t> order = tie;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return moves[a].total() > moves[b].total();
  });
  std::vector<Duration> left = link_loads(links, moves);
  Duration end;
  for (const Duration load : left) end = std::max(end, load);

  std::vector<Duration> latest_start(moves.size(), end);
  for (const std::size_t index : order) {
    for (const LinkId link : moves[index].route) {
      latest_start[index] = std::min(latest_start[index], end - left[link.index]);
      left[link.index] -= moves[index].bytes / links.bandwidth(link);
    }
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return latest_start[a] < latest_start[b]; });
  return order;
}

}  // namespace ferry
