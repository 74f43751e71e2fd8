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

/// A collective that this rank has started and not ended.
struct CollectiveRun {
  Links<CollectiveRun> links;
  Communicator::State* communicator = nullptr;
  Operation* request = nullptr;
  std::shared_ptr<const Schedule> schedule;
  CollectiveCall call;
  Tag number = 0;
  std::uint32_t round = 0;
  bool round_started = false;
  bool advancing = false;
  std::uint32_t receives_open = 0;  ///< of this round
  std::uint32_t sends_started = 0;
  List<Operation, &Operation::run_links> sends_open;  ///< ascending
  const std::byte* input = nullptr;                   ///< null: phantom
  std::byte* output = nullptr;
  std::byte* scratch = nullptr;
  std::unique_ptr<const HeldCollective> held;  ///< while it waits for a locality to be agreed
  std::vector<std::byte> packed_input;         ///< of a buffer in several pieces
  std::vector<std::byte> packed_output;        ///< likewise
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
