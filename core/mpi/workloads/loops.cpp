#include "core/mpi/workloads/loops.hpp"

#include <vector>

namespace ferry::mpi {
namespace {

constexpr Tag exchange_tag = 7;

void exchange_phase(const Workload& workload, Calls& calls) {
  const Rank partner = (calls.rank() + calls.size() / 2) % calls.size();
  const std::size_t size = workload.message.count();
  for (std::uint32_t i = 0; i < workload.exchanges; ++i) {
    calls.exchange(size, partner, exchange_tag, size, partner, exchange_tag);
  }
}

/// What an exchange takes while no rank is suspended; it is measured until one was not disturbed.
Duration undisturbed_exchange(const Workload& workload, Calls& calls) {
  constexpr Duration disturbed = Duration::max();
  Duration longest = disturbed;
  while (longest == disturbed) {
    const std::uint64_t turns = calls.suspension_turns();
    const TimePoint began = calls.now();
    exchange_phase(workload, calls);
    const bool held = calls.suspension_turns() != turns;
    longest = calls.longest(held ? disturbed : calls.now() - began);
  }
  return longest;
}

void call_collective(IteratedCollective collective, Calls& calls, std::size_t size,
                     std::span<const std::size_t> parts) {
  switch (collective) {
    case IteratedCollective::barrier: return calls.barrier();
    case IteratedCollective::bcast: return calls.bcast(size, 0);
    case IteratedCollective::reduce: return calls.reduce(size, 0);
    case IteratedCollective::allreduce: return calls.allreduce(size);
    case IteratedCollective::gather: return calls.gather(size, 0);
    case IteratedCollective::scatter: return calls.scatter(size, 0);
    case IteratedCollective::allgather: return calls.allgather(size);
    case IteratedCollective::alltoall: return calls.alltoall(size);
    case IteratedCollective::reduce_scatter: return calls.reduce_scatter(parts);
    case IteratedCollective::scan: return calls.scan(size);
  }
}

}  // namespace

void run_overlap(const Workload& workload, Calls& calls, RankLog& log) {
  const std::uint32_t iterations = workload.iterations.value_or(0);
  const bool keeps = calls.rank() < static_cast<Rank>(sampling_ranks);
  if (keeps) log.samples.reserve(iterations);
  exchange_phase(workload, calls);  // connections are made
  calls.barrier();
  const Duration communication = undisturbed_exchange(workload, calls);
  const double share = workload.share.value();
  const Duration computation = communication * (share / (1 - share));
  for (std::uint32_t i = 0; i < iterations; ++i) {
    const TimePoint start = calls.now();
    exchange_phase(workload, calls);
    calls.compute(computation);
    if (keeps) {
      log.samples.push_back({workload.message.count(), 0, start, calls.now() - start});
    }
  }
}

Traffic overlap_traffic(const Workload& workload) {
  Traffic traffic;
  const std::uint64_t phases = std::uint64_t{workload.iterations.value_or(0)} + 2;
  traffic.messages = phases * workload.exchanges;
  traffic.bytes = traffic.messages * workload.message.count();
  traffic.call(Collective::barrier, 0);
  traffic.call(Collective::allreduce, 8);
  return traffic;
}

void run_iterate(const Workload& workload, Calls& calls, RandomStream jitter, RankLog& log) {
  const std::uint32_t iterations = workload.iterations.value_or(0);
  const bool keeps = calls.rank() < static_cast<Rank>(sampling_ranks);
  if (keeps) log.samples.reserve(iterations);
  const std::size_t size = workload.message.count();
  const std::vector<std::size_t> parts(static_cast<std::size_t>(calls.size()), size);
  for (std::uint32_t i = 0; i < iterations; ++i) {
    const TimePoint start = calls.now();
    const double factor = 1 + workload.jitter.value() * (2 * jitter.next_unit() - 1);
    calls.compute(workload.compute * factor);
    call_collective(workload.collective, calls, size, parts);
    if (keeps) log.samples.push_back({size, 0, start, calls.now() - start});
  }
}

Traffic iterate_traffic(const Workload& workload, std::uint32_t ranks, std::uint32_t rank) {
  const std::uint64_t times = workload.iterations.value_or(0);
  const std::uint64_t size = workload.message.count();
  const bool root = rank == 0;
  Traffic traffic;
  const auto set = [&](Collective kind, std::uint64_t bytes) {
    traffic.collectives[static_cast<std::size_t>(kind)] = {times, times * bytes};
  };
  switch (workload.collective) {
    case IteratedCollective::barrier: set(Collective::barrier, 0); break;
    case IteratedCollective::bcast: set(Collective::bcast, root ? size : 0); break;
    case IteratedCollective::reduce: set(Collective::reduce, size); break;
    case IteratedCollective::allreduce: set(Collective::allreduce, size); break;
    case IteratedCollective::gather: set(Collective::gather, size); break;
    case IteratedCollective::scatter: set(Collective::scatter, root ? ranks * size : 0); break;
    case IteratedCollective::allgather: set(Collective::allgather, size); break;
    case IteratedCollective::alltoall: set(Collective::alltoall, ranks * size); break;
    case IteratedCollective::reduce_scatter: set(Collective::reduce_scatter, ranks * size); break;
    case IteratedCollective::scan: set(Collective::scan, size); break;
  }
  return traffic;
}

}  // namespace ferry::mpi
