// Graph500's breadth-first searches, level by level: each rank looks at the edges of its part of
// the frontier and sends every one that leads to another rank there, in one alltoallv for a level;
// an allreduce says whether a frontier is left.
//
// The graph is Kronecker's (Graph500 specification 1.2: A 0.57, B 0.19, C 0.19, 2^scale vertices,
// edge_factor edges for each), its edges undirected, a vertex belongs to the rank that its number
// leaves modulo ranks. Up to scale 16 and 64 ranks the graph is generated and searched, and its
// counts are used. Beyond, the levels' shares of edges are those of the graph of the same edge
// factor and scale 16, and each level's edges are spread evenly over pairs of ranks (a model).
#pragma once

#include <cstdint>
#include <vector>

#include "core/mpi/workloads/calls.hpp"
#include "core/mpi/workloads/workload_log.hpp"

namespace ferry::mpi {

/// Number of searches of different roots that the benchmark makes (`NBFS`).
inline constexpr std::uint32_t graph500_searches = 64;
inline constexpr std::uint32_t largest_real_scale = 16;
inline constexpr std::uint32_t most_real_ranks = 64;
/// A vertex and its parent, as they are sent for each edge.
inline constexpr std::size_t edge_message_size = 16;

/// What every rank does in every level of the searches. Made once for a job and shared.
class SearchPlan {
 public:
  SearchPlan(std::uint32_t scale, std::uint32_t edge_factor, std::uint32_t ranks,
             std::uint64_t seed);

  [[nodiscard]] std::uint32_t searches() const {
    return static_cast<std::uint32_t>(first_.size()) - 1;
  }
  [[nodiscard]] std::uint32_t levels(std::uint32_t search) const {
    return first_[search + 1] - first_[search];
  }
  /// Edges that `from` looks at and that lead to vertices of `to`.
  [[nodiscard]] std::uint64_t edges(std::uint32_t search, std::uint32_t level, std::uint32_t from,
                                    std::uint32_t to) const;
  /// Edges that `rank` looks at.
  [[nodiscard]] std::uint64_t looked_at(std::uint32_t search, std::uint32_t level,
                                        std::uint32_t rank) const;

 private:
  std::uint32_t ranks_;
  bool even_;
  std::vector<std::uint32_t> first_;  ///< by search: of its levels; one more at the end
  std::vector<std::uint64_t> edges_;  ///< by level, from and to; by level alone if `even_`
};

/// `edge` is the time for one edge that is looked at, half before it is sent and half after.
void run_graph500(const SearchPlan& plan, std::uint32_t searches, Duration edge, Calls& calls,
                  RankLog& log);
[[nodiscard]] Traffic graph500_traffic(const SearchPlan& plan, std::uint32_t searches,
                                       std::uint32_t ranks, std::uint32_t rank);

}  // namespace ferry::mpi
