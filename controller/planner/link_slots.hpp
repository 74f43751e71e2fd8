// How many moves at once keep a link busy without crowding it.
#pragma once

#include <cstdint>
#include <vector>

#include "controller/planner/path_bandwidth.hpp"

namespace ferry {

struct LinkSlotOptions {
  double factor = 1;       ///< of what keeps the link busy
  std::uint32_t more = 1;  ///< moves besides
  /// A link that all its moves at once would leave by then, endings included, has no limit.
  Duration finished_by;
};

/// For each link the number of moves that may use it at once.
///
/// While a move prepares, its share of the links is free for others; a stream may also be slower
/// than the link. A place is held from the start of a move until its memory has gone. With n moves
/// open at once a link is busy if n x (sum of the links' time) >= (sum of the times that places are
/// held): n = ceil(factor x sum of held times / load of the link) + more, at most as many as there
/// are moves. One more bridges the gaps where several moves prepare at the same moment. More than
/// that slow each other down, dirty more memory, and end together, with all the plugging left for
/// the end; but those that end together speed up each other's last round.
std::vector<std::uint32_t> link_slots(const LinkMap& links, const std::vector<MoveLoad>& moves,
                                      const LinkSlotOptions& options = {});

}  // namespace ferry
