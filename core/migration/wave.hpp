// The VMs that are suspended and moved together, from the request to the reactivation of their
// jobs.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/migration/context.hpp"
#include "core/migration/journal_history.hpp"
#include "core/migration/move.hpp"
#include "core/migration/wave_move.hpp"
#include "core/ports/task_group.hpp"

namespace ferry {

/// How one VM of a wave ended.
struct WaveMoveEnd {
  MoveEnd end;
  TimePoint started;
  TimePoint ended;
  Duration outage;  ///< virtual function gone to channels reactivated; zero without one
};

/// `run` blocks until every VM of the wave is at rest and every job that it touched is reactivated.
/// `cancel` may be called from another task: before memory has arrived a VM rolls back, after that
/// it completes.
class Wave {
 public:
  /// `number`: rises from wave to wave of a run, over all its controllers. `opened`: when the wave
  /// was admitted; its first phase begins there.
  Wave(MigrationContext& context, std::size_t number, TimePoint opened,
       std::vector<WaveMove> moves);

  /// Ends in the order of the moves. Records spans of the two outer phases; reservations stay as
  /// they are (the caller releases the host where a VM does not run).
  std::vector<WaveMoveEnd> run();
  /// The same for a wave that an earlier controller opened and did not close. If a VM cannot be
  /// brought to rest (`MoveEnd::unsettled`) the wave stays open, and its jobs suspended, in the
  /// world as in the journal: another recovery may follow.
  std::vector<WaveMoveEnd> recover(const WaveHistory& before);
  void cancel();

 private:
  void plan_epochs();
  [[nodiscard]] std::vector<VmId> moving_of(JobId job) const;
  [[nodiscard]] const std::string& vm_name(std::size_t index) const;
  Result<> suspend();
  /// `before`: of a wave that is recovered, or null.
  void suspension_failed(bool cancelled, const std::string& reason, const WaveHistory* before);
  void at_rest(std::size_t index);
  void close();
  void reactivate();
  void record(Phase phase, std::size_t index, TimePoint start, TimePoint end, bool completed);
  /// Runs `body(i)` for every i below `count`, beside each other.
  void for_each(std::size_t count, const std::function<void(std::size_t)>& body);

  MigrationContext& context_;
  std::size_t number_;
  TimePoint opened_;
  std::vector<WaveMove> moves_;
  std::vector<WaveMoveEnd> ends_;
  std::vector<SuspendRequest> requests_;  ///< one per job that a VM of the wave belongs to
  TaskGroup tasks_;
};

}  // namespace ferry
