// What a communicator is, behind `Communicator`.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/mpi/collectives/call.hpp"
#include "core/mpi/collectives/planner.hpp"
#include "core/mpi/communicator.hpp"
#include "core/mpi/course.hpp"
#include "core/mpi/group.hpp"
#include "core/mpi/list.hpp"
#include "core/mpi/operation.hpp"

namespace ferry::mpi {

class Engine;

/// What a collective that cannot start yet was called with; it owns the sizes of `shape`.
struct HeldCollective {
  CollectiveShape shape;
  std::vector<std::size_t> sizes;
  std::vector<std::size_t> receive_sizes;
};

/// Buffers in several pieces, as a collective works on them.
struct PackedBuffers {
  std::vector<std::byte> input;
  std::vector<std::byte> output;
};

/// A collective that this rank has started and not ended.
struct alignas(64) CollectiveRun {
  [[nodiscard]] std::byte*& region(Region region) {
    return regions[static_cast<std::size_t>(region)];
  }
  [[nodiscard]] std::byte* region(Region region) const {
    return regions[static_cast<std::size_t>(region)];
  }

  // In the order of use: a message touches two cache lines.
  std::uint32_t receives_open = 0;  ///< of this round
  std::uint32_t round = 0;
  bool round_started = false;
  bool advancing = false;
  Tag number = 0;
  std::uint32_t context = 0;  ///< of its messages
  std::uint32_t sends_started = 0;
  std::uint64_t mark = 0;  ///< of its eager packets: `mark_of(call)`
  Communicator::State* communicator = nullptr;
  Leg* round_at = nullptr;  ///< the round that it is in, or the end
  Leg* end = nullptr;
  CollectiveCall call;
  /// By `Region`; null: phantom. Nobody writes to the input.
  std::array<std::byte*, 3> regions = {};
  List<Operation, &Operation::run_links> sends_open;  ///< ascending
  Operation* request = nullptr;
  // The next line:
  std::shared_ptr<Course> course;
  Links<CollectiveRun> links;
  std::unique_ptr<const HeldCollective> held;  ///< while it waits for a locality to be agreed
  std::unique_ptr<PackedBuffers> packed;       ///< none: both buffers are of one piece
};

/// What a collective was, to be compared with what others say that it is.
struct CollectiveMark {
  Tag number = -1;
  CollectiveCall call;
};

struct alignas(64) Communicator::State {
  Engine* engine = nullptr;
  Tag next_collective = 0;
  Group group;
  std::optional<CollectivePlanner> planner;
  List<CollectiveRun, &CollectiveRun::links> runs;
  std::array<CollectiveMark, 8> recent;  ///< by number modulo their count
};

}  // namespace ferry::mpi
