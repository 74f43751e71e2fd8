#include "controller/planner/link_slots.hpp"

#include <algorithm>
#include <cmath>

#include "controller/planner/lower_bound.hpp"

namespace ferry {

std::vector<std::uint32_t> link_slots(const LinkMap& links, const std::vector<MoveLoad>& moves,
                                      const LinkSlotOptions& options) {
  const std::vector<Duration> loads = link_loads(links, moves);
  std::vector<Duration> held(loads.size());
  std::vector<Duration> longest_after(loads.size());
  std::vector<Duration> longest_before(loads.size());
  std::vector<std::uint32_t> users(loads.size(), 0);
  for (const MoveLoad& move : moves) {
    for (const LinkId link : move.route) {
      held[link.index] += move.before + move.transfer + move.pause;
      users[link.index] += 1;
      longest_after[link.index] = std::max(longest_after[link.index], move.after);
      longest_before[link.index] = std::max(longest_before[link.index], move.before + move.pause);
    }
  }
  std::vector<std::uint32_t> slots(loads.size(), 1);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    if (users[i] == 0) continue;
    if (longest_before[i] + loads[i] + longest_after[i] <= options.finished_by) {
      slots[i] = users[i];
      continue;
    }
    const double needed = loads[i] == Duration::zero()
                              ? users[i]
                              : std::ceil(options.factor * (held[i] / loads[i])) + options.more;
    slots[i] = static_cast<std::uint32_t>(std::clamp<double>(needed, 1, users[i]));
  }
  return slots;
}

}  // namespace ferry
