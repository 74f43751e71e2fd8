// The patterns on our simulated world.
#pragma once

#include "tests/bench/message_patterns.hpp"
#include "tests/bench/side_by_side.hpp"

namespace ferry::bench {

/// On endpoints and wait sets alone: packets, without matching. `figure`: simulated seconds.
Measured play_on_fabric(const Play& play);
/// On the MPI engine: communicators, matching, sequences, credits and checks.
Measured play_on_engine(const Play& play);

}  // namespace ferry::bench
