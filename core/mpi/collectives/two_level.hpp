// Collectives that know which ranks are near each other: each group has a leader, and what has to
// go to another group goes once, between leaders. Karonis et al., "Exploiting hierarchy in parallel
// computer networks to optimize collective operation performance", IPDPS 2000; MPICH and MVAPICH2
// do the same for nodes.
#pragma once

#include "core/mpi/collectives/algorithms.hpp"
#include "core/mpi/collectives/schedule_builder.hpp"

namespace ferry::mpi {

/// Adds the steps of `shape.rank`. Leaders are the lowest rank of each group, and the root of its
/// own. `between`: the algorithm of the leaders, where it applies to so many.
void build_two_level(const CollectiveShape& shape, Algorithm between, const LocalityGroups& groups,
                     ScheduleBuilder& to);

}  // namespace ferry::mpi
