// A stand-in for MPI jobs: ranks that send no messages and answer requests after given times.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "core/ports/job_runtime.hpp"
#include "core/ports/recorder.hpp"
#include "core/ports/world.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

/// Every rank counts as connected to every other rank of its job. For a request at time t a rank
/// makes its next MPI call at t + next_call; then
///
///   progress_engine   notices at t + next_call + notice, waits in the library until reactivation
///   migration_thread  notices at t + notice, computes on until t + next_call, then waits
///   none              does not answer and never waits
///
///   ready = noticed + channels x drain_channel
///
/// where a moving rank drains all its channels, and a peer those to moving ranks (`suspend: peers`)
/// or all (`suspend: job`). Reactivation takes `reactivate`, and with `reconnect: eager`
/// `reconnect_channel` for each channel of the rank that closed most.
class TimedRanks : public JobRuntime {
 public:
  TimedRanks(World& world, const Instance& instance, const MpiCosts& costs, Recorder& recorder);
  ~TimedRanks() override;

  Result<> suspend(const SuspendRequest& request, TimePoint deadline) override;
  Result<> reactivate(const SuspendRequest& request, TimePoint deadline) override;
  /// Suspensions that were not ended by a reactivation yet.
  [[nodiscard]] std::size_t suspensions() const;

 private:
  struct Suspension;
  bool takes_note(const SuspendRequest& request);
  void ranks_stop(VmId vm);
  void ranks_go_on(VmId vm);

  World& world_;
  const Instance& instance_;
  MpiCosts costs_;
  Recorder& recorder_;
  std::unique_ptr<Mutex> mutex_;
  std::unique_ptr<Condition> ended_;   ///< of a reactivation
  std::vector<std::uint64_t> epochs_;  ///< by job: the latest that was seen
  /// Below it, those not seen yet: two waves of one job may open together, and the later's request
  /// come first. Every other older one is refused, also one that comes after its epoch was closed.
  std::set<std::pair<JobId, std::uint64_t>> overtaken_;
  std::map<std::pair<JobId, std::uint64_t>, std::unique_ptr<Suspension>> suspensions_;
  std::vector<std::uint32_t> jobs_;          ///< by VM: timed ones
  std::vector<std::uint32_t> waiting_jobs_;  ///< by VM: of these, whose ranks all wait in the library
};

}  // namespace ferry
