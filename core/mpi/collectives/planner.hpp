// What one rank of a communicator does in each collective: choice, groups, kept schedules.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>

#include "core/mpi/collectives/choose.hpp"
#include "core/mpi/collectives/locality_agreement.hpp"
#include "core/mpi/collectives/schedule_cache.hpp"

namespace ferry::mpi {

/// What all ranks of a communicator have in common.
struct CollectivePolicy {
  std::shared_ptr<const CollectiveSettings> settings;  ///< null: by size alone
  /// What the first collective goes by; null: nothing is known of where ranks are.
  std::shared_ptr<const JobLocality> locality;
  Generation generation = first_generation;  ///< of `locality`
};

class CollectivePlanner {
 public:
  /// `members`: their ranks in the job, which stay where they are; empty: the same.
  CollectivePlanner(Rank rank, Rank ranks, CollectivePolicy policy,
                    std::span<const std::uint32_t> members = {});

  /// Rank and number of ranks in the shapes that are planned.
  [[nodiscard]] Rank rank() const { return rank_; }
  [[nodiscard]] Rank ranks() const { return ranks_; }

  /// Starts the communicator's next collective. Null, and nothing is started, while it has to wait
  /// for ranks to agree on a locality. Stays until the next call: who needs it longer copies it.
  [[nodiscard]] const std::shared_ptr<const Schedule>& start(const CollectiveShape& shape);
  /// What the caller keeps with a schedule that `start` gave (`ScheduleCache::attachment`).
  [[nodiscard]] std::shared_ptr<void>* attachment(const Schedule& schedule) {
    return cache_.attachment(schedule);
  }
  /// How a collective would be done now.
  [[nodiscard]] AlgorithmChoice choose(const CollectiveShape& shape) const;

  /// Ranks in their new places; used from when all have agreed. Before `turns().ask`.
  void know(Generation generation, std::shared_ptr<const JobLocality> locality);
  /// Of the collective that was started last; the same on all ranks that started it.
  [[nodiscard]] Generation generation() const { return policy_.generation; }
  [[nodiscard]] const std::shared_ptr<const JobLocality>& locality() const {
    return policy_.locality;
  }
  [[nodiscard]] LocalityTurns& turns() { return turns_; }
  [[nodiscard]] const LocalityTurns& turns() const { return turns_; }
  [[nodiscard]] const ScheduleCache& cache() const { return cache_; }

 private:
  [[gnu::noinline]] const std::shared_ptr<const Schedule>& build(const CollectiveShape& shape);
  void turn_to(Generation generation);

  // In the order of use.
  LocalityTurns turns_;
  CollectivePolicy policy_;
  ScheduleCache cache_;
  Rank rank_;
  Rank ranks_;
  std::span<const std::uint32_t> members_;
  std::shared_ptr<const LocalityGroups> groups_;  ///< by `policy_.locality`; null: none
  std::map<Generation, std::shared_ptr<const JobLocality>> known_;  ///< that may get their turn
};

}  // namespace ferry::mpi
