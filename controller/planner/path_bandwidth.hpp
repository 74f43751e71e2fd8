// What one move asks of the network: the links of its path and the bottleneck among them.
#pragma once

#include "core/migration/prediction.hpp"
#include "core/scenario/instance.hpp"
#include "core/topology/link_map.hpp"

namespace ferry {

/// A move between two hosts, alone on an idle network.
struct MoveLoad {
  LinkMap::Route route;
  Bandwidth bandwidth;  ///< the bottleneck: the least of stream, limit and the route's links
  Bytes bytes;          ///< of the whole transfer, of which pre-copy's last pass has no limit
  Duration transfer;    ///< first byte to last, less `pause`
  Duration before;      ///< from the start to the first byte
  Duration pause;       ///< nothing is sent, though not all is
  Duration after;       ///< from the last byte to the end
  MoveCosts costs;

  [[nodiscard]] Duration total() const { return before + transfer + pause + after; }
};

/// Closed forms (`core/migration/prediction.hpp`) at the bottleneck of the path. A pre-copy that
/// would not converge counts with the bytes of its first pass.
MoveLoad load_of(const Instance& instance, const Platform& platform, LinkMap& links,
                 const MoveSpec& move, HostId from, HostId to);

}  // namespace ferry
