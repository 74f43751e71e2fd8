#include "core/mpi/collectives/planner.hpp"

#include <numeric>

#include "core/units/check.hpp"

namespace ferry::mpi {

std::shared_ptr<const Schedule> CollectivePlanner::start(const CollectiveShape& shape) {
  const std::optional<Generation> generation = turns_.next_generation();
  if (!generation) return nullptr;
  if (*generation != generation_) turn_to(*generation);
  turns_.start();
  if (std::shared_ptr<const Schedule> kept = cache_.find(shape)) return kept;
  std::shared_ptr<Schedule> made = cache_.make(shape);
  build_schedule(choose(shape), shape, policy_.groups.get(), *made);
  cache_.trim();
  return made;
}

AlgorithmChoice CollectivePlanner::choose(const CollectiveShape& shape) const {
  static const CollectiveSettings by_size;
  const bool sum = shape.kind == Collective::allgatherv || shape.kind == Collective::reduce_scatter;
  const std::size_t bytes =
      sum ? std::accumulate(shape.sizes.begin(), shape.sizes.end(), std::size_t{0}) : shape.size;
  return choose_algorithm(shape.kind, ranks_, bytes, policy_.groups.get(),
                          policy_.settings == nullptr ? by_size : *policy_.settings);
}

void CollectivePlanner::know(Generation generation, std::shared_ptr<const LocalityGroups> groups) {
  check(groups == nullptr || groups->ranks() == ranks_, "groups are of this communicator's ranks");
  if (generation > generation_) known_[generation] = std::move(groups);
}

void CollectivePlanner::turn_to(Generation generation) {
  const auto groups = known_.find(generation);
  check(groups != known_.end(), "groups are known before their generation is agreed");
  policy_.groups = groups->second;
  generation_ = generation;
  known_.erase(known_.begin(), known_.upper_bound(generation));
  cache_.clear();
}

}  // namespace ferry::mpi
