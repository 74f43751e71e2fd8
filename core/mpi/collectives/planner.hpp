// What one rank of a communicator does in each collective: choice, groups, kept schedules.
#pragma once

#include <map>
#include <memory>

#include "core/mpi/collectives/choose.hpp"
#include "core/mpi/collectives/locality_agreement.hpp"
#include "core/mpi/collectives/schedule_cache.hpp"

namespace ferry::mpi {

/// What all ranks of a communicator have in common.
struct CollectivePolicy {
  std::shared_ptr<const CollectiveSettings> settings;  ///< null: by size alone
  std::shared_ptr<const LocalityGroups> groups;        ///< null: none are known
};

class CollectivePlanner {
 public:
  CollectivePlanner(Rank rank, Rank ranks, CollectivePolicy policy)
      : rank_(rank), ranks_(ranks), policy_(std::move(policy)) {}

  /// Rank and number of ranks in the shapes that are planned.
  [[nodiscard]] Rank rank() const { return rank_; }
  [[nodiscard]] Rank ranks() const { return ranks_; }

  /// Starts the communicator's next collective. Null, and nothing is started, while it has to wait
  /// for ranks to agree on a locality.
  [[nodiscard]] std::shared_ptr<const Schedule> start(const CollectiveShape& shape);
  /// How a collective would be done now.
  [[nodiscard]] AlgorithmChoice choose(const CollectiveShape& shape) const;

  /// Ranks in their new places; used from when all have agreed. Before `turns().ask`.
  void know(Generation generation, std::shared_ptr<const LocalityGroups> groups);
  [[nodiscard]] LocalityTurns& turns() { return turns_; }
  [[nodiscard]] const LocalityTurns& turns() const { return turns_; }
  [[nodiscard]] const ScheduleCache& cache() const { return cache_; }

 private:
  void turn_to(Generation generation);

  Rank rank_;
  Rank ranks_;
  CollectivePolicy policy_;
  ScheduleCache cache_;
  LocalityTurns turns_;
  Generation generation_ = first_generation;  ///< of `policy_.groups`
  std::map<Generation, std::shared_ptr<const LocalityGroups>> known_;
};

}  // namespace ferry::mpi
