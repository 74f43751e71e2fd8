// The jobs whose ranks really send messages, as the migration framework sees them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "core/mpi/board.hpp"
#include "core/mpi/collectives/groups.hpp"
#include "core/mpi/compute_watch.hpp"
#include "core/ports/job_runtime.hpp"
#include "core/ports/recorder.hpp"
#include "core/ports/world.hpp"
#include "core/scenario/instance.hpp"
#include "core/topology/locality.hpp"

namespace ferry::mpi {

/// The first job with ranks in the VM that send messages.
[[nodiscard]] std::optional<JobId> first_communicating(const Instance& instance, VmId vm);

/// The hosts of a job's ranks: what the hierarchies of its collectives are made of.
[[nodiscard]] std::shared_ptr<const JobLocality> hosts_of(const JobSpec& job,
                                                          const Locality& locality);

/// Suspends and reactivates jobs through their boards, and keeps `locality` at where VMs are: what
/// their ranks choose channels by. Jobs with `strategy: none` are not asked. What is given outlives
/// it.
class MpiJobs final : public JobRuntime, private RankActivity {
 public:
  /// `preparation`: what passes between the opening of a wave and `suspend`, for `await_moment`.
  MpiJobs(World& world, const Instance& instance, const MpiCosts& costs, Recorder& recorder,
          Locality& locality, Duration preparation = Duration::zero());
  ~MpiJobs() override;
  MpiJobs(const MpiJobs&) = delete;
  MpiJobs& operator=(const MpiJobs&) = delete;

  /// For `JobOptions`; null with `strategy: none`, whose ranks take part in nothing.
  [[nodiscard]] Board* board(JobId job);

  /// What the VM's first rank has to tell when it computes: the first one of the first job there
  /// that sends messages. Null: no migration of the VM waits for that.
  [[nodiscard]] ComputeWatch* watch(VmId vm);
  /// The first rank of the VM computes, and will until a request is noticed (`computing`), or its
  /// computation ends when that is (`communicating`); a computation that begins while this waits
  /// counts however short it is.
  void await_moment(VmId vm, RankMoment moment) override;

  /// The request is on the board `notice` after the call.
  Result<> suspend(const SuspendRequest& request, TimePoint deadline) override;
  /// Takes `reactivate`, and with `reconnect: eager` `reconnect_channel` for each connection of the
  /// rank that closed most.
  Result<> reactivate(const SuspendRequest& request, TimePoint deadline) override;
  /// Suspensions that were not ended by a reactivation yet.
  [[nodiscard]] std::size_t suspensions() const;

 private:
  void rank_stopped(VmId vm) override;
  void rank_went_on(VmId vm) override;
  std::vector<VmSite> look_at(const std::vector<VmId>& vms);
  void relocate(JobId job);

  World& world_;
  const Instance& instance_;
  MpiCosts costs_;
  Recorder& recorder_;
  Locality& locality_;
  Duration preparation_;
  std::unique_ptr<Mutex> mutex_;
  std::vector<std::unique_ptr<Board>> boards_;  ///< by job
  std::map<VmId, std::unique_ptr<ComputeWatch>> watches_;
  /// By job: what its collectives go by, or will when its ranks have agreed.
  std::vector<std::shared_ptr<const JobLocality>> hosts_;
  std::vector<std::uint32_t> ranks_;    ///< by VM, of jobs that communicate
  std::vector<std::uint32_t> stopped_;  ///< of these
};

}  // namespace ferry::mpi
