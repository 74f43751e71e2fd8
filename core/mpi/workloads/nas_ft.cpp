// FT: three-dimensional transforms of a grid in slabs along z (the 1-D layout, which NPB takes for
// up to nz ranks), each with one transposition, and a checksum after each iteration (FT/ft.f: fft,
// transpose_x_yz, transpose_xy_z, checksum).
//
// A transform's time: a third for each axis, assumed; two of them before the first transposition of
// the transform forwards, one before those backwards.
#include "core/mpi/workloads/nas.hpp"

namespace ferry::mpi {
namespace {

constexpr std::size_t complex_size = 16;

std::size_t grid_bytes(const FtProblem& problem) {
  return complex_size * problem.x * problem.y * problem.z;
}

}  // namespace

void run_ft(const NasRun& run, Calls& calls) {
  const auto ranks = static_cast<std::size_t>(calls.size());
  const std::size_t block = grid_bytes(of_class(ft_problems, run.problem)) / ranks / ranks;
  const Duration third = run.iteration * (1 / (3.0 * static_cast<double>(ranks)));
  const auto transpose = [&] {
    if (ranks > 1) calls.alltoall(block);
  };
  calls.barrier();
  calls.compute(third + third);
  transpose();
  calls.compute(third);
  for (std::uint32_t i = 0; i < run.iterations; ++i) {
    calls.compute(third);
    transpose();
    calls.compute(third + third);
    calls.reduce(complex_size, 0);
  }
}

// A transposition sends all of a rank's 16 N / p bytes but what stays; alltoall counts that too.
Traffic ft_traffic(const NasRun& run, std::uint32_t ranks, std::uint32_t /*rank*/) {
  const std::uint64_t part = grid_bytes(of_class(ft_problems, run.problem)) / ranks;
  Traffic traffic;
  traffic.call(Collective::barrier, 0);
  if (ranks > 1) {
    traffic.collectives[static_cast<std::size_t>(Collective::alltoall)] = {
        std::uint64_t{run.iterations} + 1, (std::uint64_t{run.iterations} + 1) * part};
  }
  traffic.collectives[static_cast<std::size_t>(Collective::reduce)] = {
      run.iterations, std::uint64_t{run.iterations} * complex_size};
  return traffic;
}

}  // namespace ferry::mpi
