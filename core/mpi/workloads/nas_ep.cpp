// EP: random pairs in batches of 2^16, then three sums (EP/ep.f). Its time is all before them.
#include "core/mpi/workloads/nas.hpp"
#include "core/mpi/workloads/split.hpp"

namespace ferry::mpi {
namespace {

constexpr std::size_t annuli = 10;       ///< `nq`
constexpr std::uint32_t log_batch = 16;  ///< `mk`

}  // namespace

void run_ep(const NasRun& run, Calls& calls) {
  const std::uint32_t batches = 1U << (of_class(ep_problems, run.problem).log_pairs - log_batch);
  const std::uint32_t mine = part_of(batches, static_cast<std::uint32_t>(calls.size()),
                                     static_cast<std::uint32_t>(calls.rank()));
  calls.barrier();
  calls.compute(run.iteration * (static_cast<double>(mine) / batches));
  calls.allreduce(real_size);           // sum of x
  calls.allreduce(real_size);           // sum of y
  calls.allreduce(annuli * real_size);  // counts
  calls.allreduce(real_size);           // the longest time
}

// Four allreduces: three of one double, one of ten.
Traffic ep_traffic(const NasRun& /*run*/, std::uint32_t /*ranks*/, std::uint32_t /*rank*/) {
  Traffic traffic;
  traffic.call(Collective::barrier, 0);
  traffic.collectives[static_cast<std::size_t>(Collective::allreduce)] = {4,
                                                                          (3 + annuli) * real_size};
  return traffic;
}

}  // namespace ferry::mpi
