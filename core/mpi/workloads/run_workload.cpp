#include "core/mpi/workloads/run_workload.hpp"

#include <fmt/format.h>

#include "core/mpi/workloads/engine_calls.hpp"
#include "core/mpi/workloads/graph500.hpp"
#include "core/mpi/workloads/loops.hpp"
#include "core/mpi/workloads/nas.hpp"
#include "core/mpi/workloads/osu.hpp"
#include "core/mpi/workloads/trace_file.hpp"
#include "core/units/check.hpp"

namespace ferry::mpi {
namespace {

NasRun nas_run_of(const WorkloadSpec& spec) {
  const Workload& workload = spec.workload;
  return {workload.type, workload.nas_class, iterations_of(workload),
          spec.times.iteration(workload.type, workload.nas_class)};
}

}  // namespace

std::uint32_t iterations_of(const Workload& workload) {
  if (workload.iterations) return *workload.iterations;
  if (workload.type == WorkloadType::graph500) return graph500_searches;
  return is_nas(workload.type) ? nas_iterations(workload.type, workload.nas_class) : 0;
}

tl::expected<WorkloadSpec, std::vector<std::string>> prepare_workload(const Workload& workload,
                                                                      const ComputeTimes& times,
                                                                      const JobOfWorkload& job) {
  if (auto refused = refused_ranks(workload, job.ranks)) {
    return tl::unexpected(std::vector<std::string>{fmt::format("{}: {}", job.name, *refused)});
  }
  if (auto missing = missing_time(workload, times)) {
    return tl::unexpected(std::vector<std::string>{
        fmt::format("{}: the platform does not say {}", job.name, *missing)});
  }
  WorkloadSpec spec;
  spec.workload = workload;
  spec.ranks = job.ranks;
  spec.times = times;
  spec.seed = job.seed;
  spec.stream = "jobs/" + job.name + "/workload";
  if (workload.type == WorkloadType::graph500) {
    spec.searches = std::make_shared<SearchPlan>(workload.scale, workload.edge_factor, job.ranks,
                                                 job.seed ^ stable_hash(spec.stream));
  }
  if (workload.type == WorkloadType::trace) {
    auto trace = read_trace(job.folder / workload.file, job.ranks, job.only_rank);
    if (!trace) return tl::unexpected(std::move(trace.error()));
    spec.trace = std::make_shared<TraceProgram>(std::move(*trace));
  }
  return spec;
}

void run_workload(const WorkloadSpec& spec, Calls& calls, RankLog& log) {
  const Workload& workload = spec.workload;
  const auto rank = static_cast<std::uint32_t>(calls.rank());
  check(static_cast<std::uint32_t>(calls.size()) == spec.ranks,
        "a workload was prepared for the ranks that run it");
  log.began = calls.now();
  if (is_osu(workload.type)) {
    run_osu(workload, calls, log);
  } else if (is_nas(workload.type)) {
    run_nas(nas_run_of(spec), calls);
  } else if (workload.type == WorkloadType::overlap) {
    run_overlap(workload, calls, log);
  } else if (workload.type == WorkloadType::iterate) {
    run_iterate(workload, calls, RandomStream(spec.seed, fmt::format("{}/{}", spec.stream, rank)),
                log);
  } else if (workload.type == WorkloadType::graph500) {
    run_graph500(*spec.searches, iterations_of(workload), spec.times.graph500_edge, calls, log);
  } else {
    check(workload.type == WorkloadType::trace, "a timed workload has nothing to run");
    run_trace(spec.trace->ranks[rank], spec.times.trace_million, calls);
  }
  log.ended = calls.now();
}

void run_workload(const WorkloadSpec& spec, Process& process, const EnginePorts& ports,
                  WorkloadLog& log) {
  RankLog& mine = log.of(process.rank().index);
  EngineCalls calls(process, ports, mine);
  run_workload(spec, calls, mine);
}

Traffic expected_traffic(const WorkloadSpec& spec, std::uint32_t rank) {
  const Workload& workload = spec.workload;
  if (is_osu(workload.type)) return osu_traffic(workload, rank);
  if (is_nas(workload.type)) return nas_traffic(nas_run_of(spec), spec.ranks, rank);
  switch (workload.type) {
    case WorkloadType::overlap: return overlap_traffic(workload);
    case WorkloadType::iterate: return iterate_traffic(workload, spec.ranks, rank);
    case WorkloadType::graph500:
      return graph500_traffic(*spec.searches, iterations_of(workload), spec.ranks, rank);
    case WorkloadType::trace: return trace_traffic(*spec.trace, rank);
    default: return {};
  }
}

}  // namespace ferry::mpi
