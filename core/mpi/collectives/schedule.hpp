// A collective as one rank carries it out: steps in rounds, as data. Builders (`algorithms.hpp`)
// are pure functions, so that a schedule can be kept, printed, counted and checked without any
// world.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/mpi/types.hpp"

namespace ferry::mpi {

/// Which memory a step means.
enum class Region : std::uint8_t {
  input,    ///< what the caller sends
  output,   ///< what the caller receives
  scratch,  ///< `Schedule::scratch` bytes, for the collective alone
};

/// A piece of a region, in bytes.
struct Piece {
  // One word together: ranks have many steps, and caches little room.
  Region region : 8 = Region::input;
  std::size_t offset : 56 = 0;
  std::size_t size = 0;
};

struct Step {
  enum class Kind : std::uint8_t {
    send,     ///< `from` to `peer`
    receive,  ///< from `peer` into `into`
    copy,     ///< `from` to `into`
    reduce,   ///< `into = from op into`
  };
  Kind kind = Kind::copy;
  Rank peer = 0;  ///< rank in the communicator, never oneself
  Piece from;
  Piece into;
};

/// Steps of one round. Sends and receives of a round are started together, in this order; copies
/// and reductions of it happen, in order, once all its receives have ended. The next round starts
/// when the receives, copies and reductions of this one are done; sends only have to end before
/// their memory is written by a later step, and before the collective ends. When that is, builders
/// have worked out: sends are counted over the whole schedule, in the order of its steps.
struct Round {
  std::uint32_t first = 0;  ///< index in `Schedule::steps`
  std::uint32_t count = 0;
  /// So many sends, the oldest ones, have to have ended before this round's receives start. Always
  /// sends of earlier rounds.
  std::uint32_t sends_ended_before = 0;
  /// So many before its copies and reductions happen; at least as many as above, and maybe some of
  /// this round.
  std::uint32_t sends_ended_between = 0;
};

/// One rank's part. Between a pair of ranks the n-th send meets the n-th receive, in sizes too.
struct Schedule {
  std::vector<Step> steps;
  std::vector<Round> rounds;
  std::size_t scratch = 0;
};

}  // namespace ferry::mpi
