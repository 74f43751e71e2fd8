// IS: each iteration sums the buckets' sizes over the ranks, says how many keys go where, and sends
// the keys (IS/is.c). NPB gives each rank whole buckets that hold about its share of the keys; here
// every rank sends each the same number, as if shares were exact.
//
// An iteration's time: half for counting and sorting into buckets, half for ranking what came;
// assumed.
#include <vector>

#include "core/mpi/workloads/nas.hpp"

namespace ferry::mpi {
namespace {

constexpr std::size_t test_keys = 5;  ///< `TEST_ARRAY_SIZE`, sent with the bucket sizes

std::size_t bucket_bytes(const IsProblem& problem) {
  return ((std::size_t{1} << problem.log_buckets) + test_keys) * int_size;
}

/// From each rank to each.
std::size_t key_bytes(const IsProblem& problem, std::size_t ranks) {
  return (std::size_t{1} << problem.log_keys) / ranks / ranks * int_size;
}

}  // namespace

void run_is(const NasRun& run, Calls& calls) {
  const IsProblem& problem = of_class(is_problems, run.problem);
  const auto ranks = static_cast<std::size_t>(calls.size());
  const std::vector<std::size_t> keys(ranks, key_bytes(problem, ranks));
  const Duration half = run.iteration * (0.5 / static_cast<double>(ranks));
  for (std::uint32_t i = 0; i < run.iterations; ++i) {
    calls.compute(half);
    calls.allreduce(bucket_bytes(problem));
    calls.alltoall(int_size);
    calls.alltoallv(keys, keys);
    calls.compute(half);
  }
  calls.reduce(real_size, 0);  // the longest time
}

// Of p ranks with k keys in all: each iteration 2^b + 5 ints summed, p ints and k / p keys sent.
Traffic is_traffic(const NasRun& run, std::uint32_t ranks, std::uint32_t /*rank*/) {
  const IsProblem& problem = of_class(is_problems, run.problem);
  const std::uint64_t times = run.iterations;
  Traffic traffic;
  const auto count = [&](Collective kind, std::uint64_t bytes) {
    traffic.collectives[static_cast<std::size_t>(kind)] = {times, times * bytes};
  };
  count(Collective::allreduce, bucket_bytes(problem));
  count(Collective::alltoall, std::uint64_t{ranks} * int_size);
  // Every rank's own keys, but for what does not divide by the square of the ranks.
  count(Collective::alltoallv, ranks * key_bytes(problem, ranks));
  traffic.call(Collective::reduce, real_size);
  return traffic;
}

}  // namespace ferry::mpi
