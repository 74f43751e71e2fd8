// The collectives, the algorithms that there are for each, and the building of their schedules.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "core/mpi/collectives/call.hpp"
#include "core/mpi/collectives/groups.hpp"
#include "core/mpi/collectives/schedule.hpp"

namespace ferry::mpi {

enum class Algorithm : std::uint8_t {
  dissemination,
  binomial,
  scatter_ring,
  scatter_doubling,
  recursive_doubling,
  recursive_halving,
  rabenseifner,
  ring,
  bruck,
  pairwise,
  linear,
  two_level,  ///< within groups, between their leaders, within groups again
};
std::string_view to_name(Algorithm algorithm);

/// One way of doing one collective; `phases.hpp` has sources and details.
struct AlgorithmEntry {
  Collective collective;
  Algorithm algorithm;
  /// Only for a power of two ranks.
  bool power_of_two;
  /// Time in the terms of `phases.hpp`, for who reads it.
  std::string_view cost;
};
/// All of them, by collective.
[[nodiscard]] std::span<const AlgorithmEntry> all_algorithms();
/// Whether there is such an algorithm, for so many ranks.
[[nodiscard]] bool applies(Algorithm algorithm, Collective collective, Rank ranks);

/// All that a schedule depends on, besides the algorithm. Sizes are bytes.
struct CollectiveShape {
  Collective kind = Collective::none;
  Rank rank = 0;
  Rank ranks = 1;
  Rank root = 0;
  /// Of the whole vector (bcast, reduce, allreduce, scan), of one rank's block (gather, scatter,
  /// allgather), of what one rank sends to another (alltoall), of our own block (gatherv,
  /// scatterv).
  std::size_t size = 0;
  std::size_t element = 1;  ///< of reductions
  /// Of each rank's block (allgatherv, reduce_scatter; at the root of gatherv and scatterv), or of
  /// what we send to each (alltoallv).
  std::span<const std::size_t> sizes;
  std::span<const std::size_t> receive_sizes;  ///< what each sends to us (alltoallv)
};

/// How a collective is done. The same on all its ranks.
struct AlgorithmChoice {
  Algorithm algorithm = Algorithm::linear;
  /// Between the leaders of a two-level one.
  Algorithm between = Algorithm::linear;
  /// Why, to fit after "because": for `ferry explain`.
  std::string_view reason;
};

/// Messages under way at once in `alltoall` by `linear`, in each direction. MPICH's default for
/// MPIR_CVAR_ALLTOALL_THROTTLE.
inline constexpr Rank alltoall_window = 32;

/// Replaces `into`, whose memory is used again, by the schedule of `shape.rank`. `groups`: of a
/// two-level algorithm. Regions: `input` is what the caller sends, blocks packed in the order of
/// ranks; `output` what it receives, likewise; bcast has its data in `output` on all ranks. What
/// the root alone has (`into` of reduce and gather, `from` of scatter) is not touched on others.
void build_schedule(const AlgorithmChoice& choice, const CollectiveShape& shape,
                    const LocalityGroups* groups, Schedule& into);

}  // namespace ferry::mpi
