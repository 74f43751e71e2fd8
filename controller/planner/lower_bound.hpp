// How long a set of moves takes at the least, whatever their order.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "controller/planner/path_bandwidth.hpp"

namespace ferry {

/// Load of every link by its index: how long it takes to carry all bytes of the moves over it.
std::vector<Duration> link_loads(const LinkMap& links, const std::vector<MoveLoad>& moves);

struct LowerBound {
  Duration time;
  std::optional<LinkId> link;  ///< the most loaded; none: a single move takes longer than any link
};

/// The largest over all links, and over all sets of the moves with the longest endings there, of:
/// the least time before a first byte, then the set's bytes over that link at its full bandwidth,
/// then the shortest ending in the set (Jackson's bound for one machine with heads and tails); and
/// the longest single move. All moves start together at the earliest, bytes are those of a transfer
/// alone (sharing only adds to what is dirtied): no schedule is faster.
LowerBound lower_bound(const LinkMap& links, const std::vector<MoveLoad>& moves);

}  // namespace ferry
