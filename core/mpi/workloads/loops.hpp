// Workloads that are a loop over computation and one kind of communication.
#pragma once

#include <cstdint>
#include <string>

#include "core/mpi/workloads/calls.hpp"
#include "core/mpi/workloads/workload_log.hpp"
#include "core/ports/randomness.hpp"
#include "core/scenario/workload.hpp"

namespace ferry::mpi {

/// Ranks r and r + n/2 exchange `exchanges` messages both ways, then compute. What they compute is
/// `share` of an iteration of which the exchanges are the rest: their time is that of one such
/// phase before the loop, of the slowest rank. The communication is fixed, the computation grows
/// with the share.
void run_overlap(const Workload& workload, Calls& calls, RankLog& log);
/// Of a job that no suspension disturbs while it measures its exchange; each that does takes one
/// more.
[[nodiscard]] Traffic overlap_traffic(const Workload& workload);

/// `compute`, then the collective, again and again. `jitter` is this rank's stream.
void run_iterate(const Workload& workload, Calls& calls, RandomStream jitter, RankLog& log);
[[nodiscard]] Traffic iterate_traffic(const Workload& workload, std::uint32_t ranks,
                                      std::uint32_t rank);

}  // namespace ferry::mpi
