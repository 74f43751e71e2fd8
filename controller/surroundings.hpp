// What a controller finds when it comes and leaves behind when it goes.
#pragma once

#include <string>
#include <vector>

#include "controller/communicating_jobs.hpp"
#include "controller/ranks_of_vms.hpp"
#include "core/faults/faulty_hypervisor.hpp"
#include "core/migration/timed_ranks.hpp"
#include "core/ports/world.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

/// A world with the scenario's faults in it, and the ranks of the scenario's jobs. It may outlive a
/// session: what went wrong, what is under way and who is suspended do not depend on a controller.
class Surroundings {
 public:
  /// `recorder` hears of the ranks. The ranks of every VM with jobs run: those of `programs` once
  /// `start` is called (by `host`, if there is one), the timed stand-ins at once.
  Surroundings(World& world, const Scenario& scenario, const Instance& instance, Recorder& recorder,
               const JobPrograms& programs = {}, mpi::RankHost* host = nullptr);
  Surroundings(const Surroundings&) = delete;
  Surroundings& operator=(const Surroundings&) = delete;

  [[nodiscard]] World& world() { return world_; }
  [[nodiscard]] JobRuntime& jobs() { return jobs_; }
  [[nodiscard]] CommunicatingJobs& communicating() { return communicating_; }
  /// Of jobs, that were not ended yet.
  [[nodiscard]] std::size_t suspensions() const {
    return timed_.suspensions() + communicating_.suspensions();
  }

 private:
  /// To whom a request goes depends on what the job's ranks do.
  class EveryJob final : public JobRuntime {
   public:
    EveryJob(const Instance& instance, JobRuntime& timed, JobRuntime& communicating)
        : instance_(instance), timed_(timed), communicating_(communicating) {}
    Result<> suspend(const SuspendRequest& request, TimePoint deadline) override {
      return of(request.job).suspend(request, deadline);
    }
    Result<> reactivate(const SuspendRequest& request, TimePoint deadline) override {
      return of(request.job).reactivate(request, deadline);
    }
    void await_moment(VmId vm, RankMoment moment) override {
      communicating_.await_moment(vm, moment);
    }

   private:
    [[nodiscard]] JobRuntime& of(JobId job) {
      return instance_.jobs[job.index].communicates() ? communicating_ : timed_;
    }
    const Instance& instance_;
    JobRuntime& timed_;
    JobRuntime& communicating_;
  };

  [[nodiscard]] World world_of(RanksOfVms::Kind kind);

  FaultyHypervisor faulty_;
  World world_;
  RanksOfVms ranks_;
  World of_timed_;
  World of_communicating_;
  TimedRanks timed_;
  CommunicatingJobs communicating_;
  EveryJob jobs_;
};

}  // namespace ferry
