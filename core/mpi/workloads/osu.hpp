// The OSU Micro-Benchmarks' loops (OMB 5.3: osu_latency.c, osu_bw.c, osu_bcast.c, osu_allreduce.c,
// osu_pt2pt.h and osu_coll.h for the counts).
#pragma once

#include "core/mpi/workloads/calls.hpp"
#include "core/mpi/workloads/workload_log.hpp"
#include "core/scenario/workload.hpp"

namespace ferry::mpi {

/// Messages on their way at once in osu_bw.
inline constexpr std::size_t osu_window = 64;

struct LoopCounts {
  std::uint32_t warm_up = 0;
  std::uint32_t measured = 0;
};
/// OMB's, or what the workload says in their place.
[[nodiscard]] LoopCounts osu_loops(const Workload& workload, Bytes size);

void run_osu(const Workload& workload, Calls& calls, RankLog& log);
[[nodiscard]] Traffic osu_traffic(const Workload& workload, std::uint32_t rank);

}  // namespace ferry::mpi
