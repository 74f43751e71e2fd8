// How many moves at once keep a link busy without crowding it.
#pragma once

#include <cstdint>
#include <vector>

#include "controller/planner/path_bandwidth.hpp"

namespace ferry {

/// For each link the number of moves that may use it at once.
///
/// While a move prepares and finishes, its share of the links is free for others; a stream may also
/// be slower than the link. With n moves open at once, each sending for the part
/// `transfer x bandwidth / link bandwidth` of its time, a link is busy if n x (sum of the links'
/// time)
/// >= (sum of the moves' times): n = ceil(sum of totals / load of the link). One more bridges the
/// gaps where several moves prepare or finish at the same moment. (A place on a link is given back
/// when the memory has moved, so the sum leaves some room.) More than that would only slow
/// each other down, dirty more memory, and end together, with all the plugging left for the end.
std::vector<std::uint32_t> link_slots(const LinkMap& links, const std::vector<MoveLoad>& moves);

}  // namespace ferry
