// Which moves come first.
#pragma once

#include <cstddef>
#include <vector>

#include "controller/planner/path_bandwidth.hpp"

namespace ferry {

/// Rules by which moves can be offered.
enum class OrderRule {
  most_loaded_link,  ///< see `order_by_load`
  longest_ending,    ///< longest time after its memory has gone first: the rest runs beside others
};

/// `OrderRule::longest_ending`: on one link it is optimal if all could begin at once (Jackson's
/// rule for one machine with tails); of equal ones the longest transfer first, then as in `tie`.
std::vector<std::size_t> order_by_ending(const std::vector<MoveLoad>& moves,
                                         const std::vector<std::size_t>& tie);

/// The moves in the order in which they should be offered.
///
/// On each link the moves go one after the other, the longest first, so that what is left for the
/// end is short. A move is then due when what still has to pass on one of its links, itself
/// included, takes all of the time until the most loaded link of all is done; the move whose latest
/// start is the earliest goes first. So the most loaded link is never without moves while others
/// still have some, and links with time to spare give way. Equal ones keep the order of `tie`,
/// which lists every index of `moves` once. O(n log n).
std::vector<std::size_t> order_by_load(const LinkMap& links, const std::vector<MoveLoad>& moves,
                                       const std::vector<std::size_t>& tie);

}  // namespace ferry
