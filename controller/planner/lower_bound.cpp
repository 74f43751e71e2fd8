#include "controller/planner/lower_bound.hpp"

#include <algorithm>

namespace ferry {

std::vector<Duration> link_loads(const LinkMap& links, const std::vector<MoveLoad>& moves) {
  std::vector<Duration> loads(links.link_count());
  for (const MoveLoad& move : moves) {
    for (const LinkId link : move.route) loads[link.index] += move.bytes / links.bandwidth(link);
  }
  return loads;
}

LowerBound lower_bound(const LinkMap& links, const std::vector<MoveLoad>& moves) {
  struct Ends {
    Duration before = Duration::max();
    Duration after = Duration::max();
  };
  std::vector<Ends> least(links.link_count());
  LowerBound bound;
  for (const MoveLoad& move : moves) {
    bound.time = std::max(bound.time, move.total());
    for (const LinkId link : move.route) {
      Ends& ends = least[link.index];
      ends.before = std::min(ends.before, move.before);
      ends.after = std::min(ends.after, move.after);
    }
  }
  const std::vector<Duration> loads = link_loads(links, moves);
  for (std::uint32_t i = 0; i < loads.size(); ++i) {
    if (loads[i] == Duration::zero()) continue;
    const Duration time = least[i].before + loads[i] + least[i].after;
    if (time <= bound.time) continue;
    bound.time = time;
    bound.link = LinkId{i};
  }
  return bound;
}

}  // namespace ferry
