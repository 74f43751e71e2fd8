// The jobs of a scenario whose ranks send messages, as they run in a world.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "core/mpi/workloads/hosted_job.hpp"
#include "core/mpi/workloads/run_workload.hpp"
#include "core/ports/job_runtime.hpp"
#include "core/ports/recorder.hpp"
#include "core/ports/world.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

/// By job of the instance: what its ranks do. None for the timed stand-in.
using JobPrograms = std::map<JobId, mpi::WorkloadSpec>;

/// Reads traces and plans searches, before a world begins. The errors are for users, a line each.
[[nodiscard]] tl::expected<JobPrograms, std::vector<std::string>> prepare_jobs(
    const Scenario& scenario, const Instance& instance);

class CommunicatingJobs {
 public:
  /// Opens the endpoints of all ranks, where their VMs are now; with a `host`, the ranks run there.
  /// Everything given outlives it; `recorder` hears of the ranks' suspensions.
  CommunicatingJobs(World& world, const Scenario& scenario, const Instance& instance,
                    const JobPrograms& programs, Recorder& recorder, mpi::RankHost* host = nullptr);
  /// Joins.
  ~CommunicatingJobs();
  CommunicatingJobs(const CommunicatingJobs&) = delete;
  CommunicatingJobs& operator=(const CommunicatingJobs&) = delete;

  /// All ranks begin. Once. Throws WorldError if those of a host do not.
  void start();
  /// Blocks until all ranks have ended; then records the jobs. `moves`: all that there were, with
  /// their times; samples of benchmarks meanwhile are kept apart.
  void finish(const std::vector<MoveRecord>& moves, Recorder& recorder);
  /// Ends the jobs: their ranks leave their calls. From any task; never blocks.
  void abort(const std::string& why);
  /// How these jobs are suspended and reactivated.
  [[nodiscard]] JobRuntime& runtime();
  /// Of these jobs, that were not ended yet.
  [[nodiscard]] std::size_t suspensions() const;

 private:
  struct Running;
  struct Shared;
  World& world_;
  const Instance& instance_;
  std::unique_ptr<Shared> shared_;
  std::vector<std::unique_ptr<Running>> jobs_;
};

}  // namespace ferry
