// What a rank's clock lacks to that of rank 0.
#pragma once

#include "core/mpi/communicator.hpp"
#include "core/ports/clock.hpp"

namespace ferry::ranks {

/// To be added to this rank's times; zero on rank 0. Every rank of the job calls it at the same
/// place in its program; blocks for a few messages. By Cristian's method: of some questions for
/// rank 0's time the one that was answered quickest counts, and it is wrong by at most half of how
/// long that took.
[[nodiscard]] Duration to_common_clock(mpi::Communicator& world, const Clock& clock);

}  // namespace ferry::ranks
