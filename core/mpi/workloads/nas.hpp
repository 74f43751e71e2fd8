// The kernels of the NAS Parallel Benchmarks as their messages and computations: NPB 3.3, MPI
// version (nas.nasa.gov/software/npb.html). What is timed there is done here: from the barrier, or
// the first iteration, to the reduction of the times; neither setup nor verification.
//
// The arithmetic is computation time between the messages: `iteration` on one core for all ranks'
// work, divided by what share of the points, rows or keys a rank has. How an iteration's time
// divides among its parts is said at each kernel.
#pragma once

#include <cstdint>

#include "core/mpi/workloads/calls.hpp"
#include "core/mpi/workloads/traffic.hpp"
#include "core/scenario/nas_problem.hpp"

namespace ferry::mpi {

struct NasRun {
  WorkloadType kernel = WorkloadType::nas_lu;
  NasClass problem = NasClass::S;
  std::uint32_t iterations = 1;
  /// Of all ranks' work of one iteration, on one core. EP has one iteration; FT's transform before
  /// the first one counts as one more.
  Duration iteration;
};

/// How many iterations NPB makes of the kernel.
[[nodiscard]] std::uint32_t nas_iterations(WorkloadType kernel, NasClass problem);

/// Number of ranks as `refused_ranks` allows.
void run_nas(const NasRun& run, Calls& calls);

/// What a rank sends in all, by formulas of its own, next to each kernel.
[[nodiscard]] Traffic nas_traffic(const NasRun& run, std::uint32_t ranks, std::uint32_t rank);

// Each kernel is a file.
void run_lu(const NasRun& run, Calls& calls);
void run_ep(const NasRun& run, Calls& calls);
void run_is(const NasRun& run, Calls& calls);
void run_mg(const NasRun& run, Calls& calls);
void run_cg(const NasRun& run, Calls& calls);
void run_ft(const NasRun& run, Calls& calls);
[[nodiscard]] Traffic lu_traffic(const NasRun& run, std::uint32_t ranks, std::uint32_t rank);
[[nodiscard]] Traffic ep_traffic(const NasRun& run, std::uint32_t ranks, std::uint32_t rank);
[[nodiscard]] Traffic is_traffic(const NasRun& run, std::uint32_t ranks, std::uint32_t rank);
[[nodiscard]] Traffic mg_traffic(const NasRun& run, std::uint32_t ranks, std::uint32_t rank);
[[nodiscard]] Traffic cg_traffic(const NasRun& run, std::uint32_t ranks, std::uint32_t rank);
[[nodiscard]] Traffic ft_traffic(const NasRun& run, std::uint32_t ranks, std::uint32_t rank);

/// Bytes of a double and of an int.
inline constexpr std::size_t real_size = 8;
inline constexpr std::size_t int_size = 4;

}  // namespace ferry::mpi
