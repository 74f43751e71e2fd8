#include "core/mpi/collectives/planner.hpp"

#include <numeric>

#include "core/units/check.hpp"

namespace ferry::mpi {

CollectivePlanner::CollectivePlanner(Rank rank, Rank ranks, CollectivePolicy policy,
                                     std::span<const std::uint32_t> members)
    : turns_(policy.generation),
      policy_(std::move(policy)),
      rank_(rank),
      ranks_(ranks),
      members_(members) {
  if (policy_.locality != nullptr) groups_ = policy_.locality->among(members_);
}

const std::shared_ptr<const Schedule>& CollectivePlanner::start(const CollectiveShape& shape) {
  static const std::shared_ptr<const Schedule> none;
  const std::optional<Generation> generation = turns_.next_generation();
  if (!generation) return none;
  if (*generation != policy_.generation) turn_to(*generation);
  turns_.start();
  if (const std::shared_ptr<const Schedule>* const kept = cache_.find(shape)) return *kept;
  return build(shape);
}

const std::shared_ptr<const Schedule>& CollectivePlanner::build(const CollectiveShape& shape) {
  const std::shared_ptr<Schedule> made = cache_.make(shape);
  build_schedule(choose(shape), shape, groups_.get(), *made);
  cache_.trim();
  return *cache_.find(shape);  // the newest one stays
}

AlgorithmChoice CollectivePlanner::choose(const CollectiveShape& shape) const {
  static const CollectiveSettings by_size;
  const bool sum = shape.kind == Collective::allgatherv || shape.kind == Collective::reduce_scatter;
  const std::size_t bytes =
      sum ? std::accumulate(shape.sizes.begin(), shape.sizes.end(), std::size_t{0}) : shape.size;
  return choose_algorithm(shape.kind, ranks_, bytes, groups_.get(),
                          policy_.settings == nullptr ? by_size : *policy_.settings);
}

void CollectivePlanner::know(Generation generation, std::shared_ptr<const JobLocality> locality) {
  // What is older than what comes next never gets its turn.
  if (const std::optional<Generation> next = turns_.next_generation()) {
    known_.erase(known_.begin(), known_.lower_bound(*next));
  }
  if (generation > policy_.generation) known_[generation] = std::move(locality);
}

/// Groups are made only now: many localities come and go with no collective between them.
void CollectivePlanner::turn_to(Generation generation) {
  const auto known = known_.find(generation);
  check(known != known_.end(), "a locality is known before its generation is agreed");
  policy_.locality = known->second;
  policy_.generation = generation;
  groups_ = policy_.locality == nullptr ? nullptr : policy_.locality->among(members_);
  check(groups_ == nullptr || groups_->ranks() == ranks_,
        "groups are of this communicator's ranks");
  known_.erase(known_.begin(), known_.upper_bound(generation));
  cache_.clear();
}

}  // namespace ferry::mpi
