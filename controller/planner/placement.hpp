// Where each move goes, and in which order the moves could be made one after the other.
#pragma once

#include <cstddef>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "core/scenario/instance.hpp"
#include "core/topology/link_map.hpp"

namespace ferry {

struct PlacedMove {
  std::size_t move = 0;  ///< index into Instance::moves
  HostId from;
  HostId to;
};

struct PlacementOptions {
  /// Moves that find no room are tried again when others have left; where they only wait for each
  /// other, one goes through a spare place. Between hosts that `place: spread` finds equal, the one
  /// whose path is least loaded is taken.
  bool planned = false;
  /// With `planned`: what is least loaded counts the links that differ between destinations and the
  /// operations that each host does in a row, instead of the most loaded link of the whole path.
  bool by_destination = false;
};

/// Places `order` (every index of `instance.moves` once; a VM's moves in their order, times
/// ascending) so that memory, cores, virtual functions and IVShmem suffice and nobody meets who
/// must stay apart, at each step of making the moves one after the other in the order of the
/// result. VMs that move together at one time go to one host.
///
/// With `planned`, an exchange of full hosts is broken up: one of its VMs first moves to a host
/// with room; this move is appended to `instance.moves`. Error: a sentence that names the VM that
/// fits nowhere and why each candidate was refused, or the cycle of VMs that wait for each other.
tl::expected<std::vector<PlacedMove>, std::string> place_moves(
    Instance& instance, const Platform& platform, LinkMap& links,
    const std::vector<std::size_t>& order, const PlacementOptions& options);

}  // namespace ferry
