// What the ranks of a job do: one entry for every kind of workload.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "core/mpi/workloads/calls.hpp"
#include "core/mpi/workloads/traffic.hpp"
#include "core/mpi/workloads/workload_log.hpp"
#include "core/scenario/platform.hpp"
#include "core/scenario/workload.hpp"

namespace ferry::mpi {

class SearchPlan;
struct TraceProgram;

/// A workload with all that its ranks share. Never changes; ranks read it at the same time.
struct WorkloadSpec {
  Workload workload;
  std::uint32_t ranks = 1;
  ComputeTimes times;
  std::uint64_t seed = 0;
  std::string stream;                          ///< random streams of the job begin with this name
  std::shared_ptr<const SearchPlan> searches;  ///< of graph500
  std::shared_ptr<const TraceProgram> trace;   ///< of trace
};

struct JobOfWorkload {
  std::string name;
  std::uint32_t ranks = 1;
  std::uint64_t seed = 0;        ///< of the scenario
  std::filesystem::path folder;  ///< where the names of traces begin
  /// The others' parts of a trace are not needed, nor there.
  std::optional<std::uint32_t> only_rank = std::nullopt;
};

/// Reads a trace, plans searches. The errors are for users, a line each: what a trace has wrong,
/// numbers of ranks that the workload refuses, times that the platform does not say.
[[nodiscard]] tl::expected<WorkloadSpec, std::vector<std::string>> prepare_workload(
    const Workload& workload, const ComputeTimes& times, const JobOfWorkload& job);

/// One rank's part, to its end. Not of `timed`, which has none.
void run_workload(const WorkloadSpec& spec, Calls& calls, RankLog& log);

class Process;
struct EnginePorts;

/// The same, with the engine's calls; `log` is the job's. What the rank called is in its traffic.
void run_workload(const WorkloadSpec& spec, Process& process, const EnginePorts& ports,
                  WorkloadLog& log);

/// What `rank` sends in all.
[[nodiscard]] Traffic expected_traffic(const WorkloadSpec& spec, std::uint32_t rank);

/// Of searches, or of the kernel's loop: what the workload says, or the benchmark.
[[nodiscard]] std::uint32_t iterations_of(const Workload& workload);

}  // namespace ferry::mpi
