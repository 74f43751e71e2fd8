// Which classes of pairs a job has, without looking at every pair.
#pragma once

#include <cstdint>
#include <vector>

#include "core/channel/coordinator.hpp"

namespace ferry {

/// Pairs of ranks that are treated alike.
struct AlikePairs {
  PairClass pairs;
  RankId from;  ///< two of them, the first as ranks are counted
  RankId to;
  std::uint64_t count = 0;  ///< of pairs, each once
};

/// Every class that some pair of the job is in now, the nearest first. Costs a step for each rank
/// and container of its VM, and for each VM and socket of its host.
[[nodiscard]] std::vector<AlikePairs> survey(const JobSpec& job, const Instance& instance,
                                             const Locality& locality);

}  // namespace ferry
