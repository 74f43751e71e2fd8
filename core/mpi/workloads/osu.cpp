#include "core/mpi/workloads/osu.hpp"

#include <array>

#include "core/units/check.hpp"

namespace ferry::mpi {
namespace {

constexpr Tag latency_tag = 1;
constexpr Tag window_tag = 100;
constexpr Tag acknowledgement_tag = 101;
constexpr std::size_t acknowledgement_size = 4;

/// Each in `log` if the rank keeps samples.
class Sampler {
 public:
  Sampler(Calls& calls, RankLog& log, bool keeps) : calls_(calls), log_(log), keeps_(keeps) {}
  void begin() {
    if (keeps_) began_ = calls_.now();
  }
  void end(Bytes size, std::uint32_t round) {
    if (keeps_) log_.samples.push_back({size.count(), round, began_, calls_.now() - began_});
  }

 private:
  Calls& calls_;
  RankLog& log_;
  bool keeps_;
  TimePoint began_;
};

void ping_pong(Calls& calls, std::size_t size) {
  if (calls.rank() == 0) {
    calls.send(size, 1, latency_tag);
    calls.receive(size, 1, latency_tag);
  } else {
    calls.receive(size, 0, latency_tag);
    calls.send(size, 0, latency_tag);
  }
}

void send_window(Calls& calls, std::size_t size) {
  std::array<Pending, osu_window> pending;
  if (calls.rank() == 0) {
    for (Pending& one : pending) one = calls.start_send(size, 1, window_tag);
    calls.wait_all(pending);
    calls.receive(acknowledgement_size, 1, acknowledgement_tag);
  } else {
    for (Pending& one : pending) one = calls.start_receive(size, 0, window_tag);
    calls.wait_all(pending);
    calls.send(acknowledgement_size, 0, acknowledgement_tag);
  }
}

void operate(WorkloadType type, Calls& calls, std::size_t size) {
  switch (type) {
    case WorkloadType::osu_latency: return ping_pong(calls, size);
    case WorkloadType::osu_bw: return send_window(calls, size);
    case WorkloadType::osu_bcast: return calls.bcast(size, 0);
    case WorkloadType::osu_allreduce: return calls.allreduce(size);
    default: check(false, "this is one of the OSU benchmarks");
  }
}

bool is_collective(WorkloadType type) {
  return type == WorkloadType::osu_bcast || type == WorkloadType::osu_allreduce;
}

bool keeps_samples(WorkloadType type, Rank rank) {
  return is_collective(type) ? rank < static_cast<Rank>(sampling_ranks) : rank == 0;
}

}  // namespace

LoopCounts osu_loops(const Workload& workload, Bytes size) {
  const bool large = size > Bytes(8192);  // LARGE_MESSAGE_SIZE
  LoopCounts counts;
  switch (workload.type) {
    case WorkloadType::osu_latency:
      counts = large ? LoopCounts{10, 1000} : LoopCounts{100, 10'000};
      break;
    case WorkloadType::osu_bw: counts = large ? LoopCounts{2, 20} : LoopCounts{10, 100}; break;
    default: counts = large ? LoopCounts{10, 100} : LoopCounts{100, 1000};
  }
  if (workload.iterations) counts.measured = *workload.iterations;
  if (workload.warm_up) counts.warm_up = *workload.warm_up;
  return counts;
}

void run_osu(const Workload& workload, Calls& calls, RankLog& log) {
  const WorkloadType type = workload.type;
  const bool keeps = keeps_samples(type, calls.rank());
  if (keeps) {
    std::size_t samples = 0;
    for (const Bytes size : workload.sizes) samples += osu_loops(workload, size).measured;
    log.samples.reserve(samples * workload.rounds);
  }
  Sampler sampler(calls, log, keeps);
  for (std::uint32_t round = 0; round < workload.rounds; ++round) {
    for (const Bytes size : workload.sizes) {
      const LoopCounts counts = osu_loops(workload, size);
      calls.barrier();
      for (std::uint32_t i = 0; i < counts.warm_up + counts.measured; ++i) {
        sampler.begin();
        operate(type, calls, size.count());
        if (i >= counts.warm_up) sampler.end(size, round);
        if (is_collective(type)) calls.barrier();
      }
    }
  }
}

Traffic osu_traffic(const Workload& workload, std::uint32_t rank) {
  Traffic traffic;
  for (const Bytes size : workload.sizes) {
    const LoopCounts counts = osu_loops(workload, size);
    const std::uint64_t times = std::uint64_t{workload.rounds} * (counts.warm_up + counts.measured);
    CallCount& barriers = traffic.collectives[static_cast<std::size_t>(Collective::barrier)];
    barriers.calls += workload.rounds;
    if (is_collective(workload.type)) barriers.calls += times;
    switch (workload.type) {
      case WorkloadType::osu_latency:  // one message each way
        traffic.messages += times;
        traffic.bytes += times * size.count();
        break;
      case WorkloadType::osu_bw:  // 64 messages there, 4 bytes back
        traffic.messages += times * (rank == 0 ? osu_window : 1);
        traffic.bytes += times * (rank == 0 ? osu_window * size.count() : acknowledgement_size);
        break;
      case WorkloadType::osu_bcast: {
        CallCount& count = traffic.collectives[static_cast<std::size_t>(Collective::bcast)];
        count.calls += times;
        if (rank == 0) count.bytes += times * size.count();
        break;
      }
      default: {
        CallCount& count = traffic.collectives[static_cast<std::size_t>(Collective::allreduce)];
        count.calls += times;
        count.bytes += times * size.count();
      }
    }
  }
  return traffic;
}

}  // namespace ferry::mpi
