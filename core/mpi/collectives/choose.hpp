// Which algorithm does a collective: a pure function of ranks, sizes and groups, so that all ranks
// come to the same answer, and `ferry explain` to the one that is used.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "core/mpi/collectives/algorithms.hpp"

namespace ferry::mpi {

/// Where one algorithm begins to be better than another. Sizes in bytes.
namespace threshold {
// MPICH 3.x: defaults of its control variables (src/mpi/coll/*/*.c), which come from Thakur,
// Rabenseifner, Gropp, "Optimization of Collective Communication Operations in MPICH", IJHPCA
// 19(1), 2005.
inline constexpr std::size_t bcast_short = 12288;           ///< MPIR_CVAR_BCAST_SHORT_MSG_SIZE
inline constexpr std::size_t bcast_long = 524288;           ///< MPIR_CVAR_BCAST_LONG_MSG_SIZE
inline constexpr Rank bcast_fewest_ranks = 8;               ///< MPIR_CVAR_BCAST_MIN_PROCS
inline constexpr std::size_t reduce_short = 2048;           ///< MPIR_CVAR_REDUCE_SHORT_MSG_SIZE
inline constexpr std::size_t allreduce_short = 2048;        ///< MPIR_CVAR_ALLREDUCE_SHORT_MSG_SIZE
inline constexpr std::size_t allgather_short = 81920;       ///< MPIR_CVAR_ALLGATHER_SHORT_MSG_SIZE
inline constexpr std::size_t allgather_long = 524288;       ///< MPIR_CVAR_ALLGATHER_LONG_MSG_SIZE
inline constexpr std::size_t alltoall_short = 256;          ///< MPIR_CVAR_ALLTOALL_SHORT_MSG_SIZE
inline constexpr std::size_t alltoall_medium = 32768;       ///< MPIR_CVAR_ALLTOALL_MEDIUM_MSG_SIZE
inline constexpr Rank alltoall_fewest_ranks = 8;            ///< the same function
inline constexpr std::size_t reduce_scatter_long = 524288;  ///< ..._COMMUTATIVE_LONG_MSG_SIZE
/// Open MPI 4.1, coll_tuned_decision_fixed.c: from this block size on, gather and scatter are
/// linear, since inner ranks of a tree would copy much.
inline constexpr std::size_t rooted_linear = 6000;
/// A block of this size takes as long on the wire as an empty message: 1.1 us of latency at 6.8
/// GB/s (FDR InfiniBand), rounded to a power of two. By the formulas in `phases.hpp` a ring's p-1
/// messages are worth their latency only if its blocks are about as large; MPICH's limits alone,
/// which do not look at the number of ranks, would have thousands of ranks pass on a few bytes
/// each.
inline constexpr std::size_t ring_block = 8192;
}  // namespace threshold

/// What a user has set; otherwise the choice is by size.
struct CollectiveSettings {
  /// By `Collective`.
  std::array<std::optional<Algorithm>, collective_count> algorithm;
  /// Whether hierarchies are used where there are groups.
  bool two_level = true;
};

/// The algorithm of `collective` that `name` means; else which ones there are.
[[nodiscard]] tl::expected<Algorithm, std::string> parse_algorithm(Collective collective,
                                                                   std::string_view name);

/// `bytes` must be the same on all ranks: `CollectiveShape::size`, for allgatherv and
/// reduce_scatter the sum of sizes; it has no say in gatherv, scatterv, alltoallv and barrier.
/// `groups` may be null. An algorithm that was set and cannot be for so many ranks or groups is
/// passed over.
[[nodiscard]] AlgorithmChoice choose_algorithm(Collective collective, Rank ranks, std::size_t bytes,
                                               const LocalityGroups* groups,
                                               const CollectiveSettings& settings);

}  // namespace ferry::mpi
