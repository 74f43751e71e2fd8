// SimGrid's own MPI as the peer: C programs made with smpicc, run with smpirun.
#pragma once

#include <optional>
#include <string>

#include "tests/bench/message_patterns.hpp"
#include "tests/bench/side_by_side.hpp"

namespace ferry::bench {

/// Why it cannot run here; none if it can.
std::optional<std::string> smpi_is_missing();
/// The same pattern on a network with the same constants. `seconds` are the processor's between two
/// barriers, start-up not included; `figure` simulated seconds. Ends this program with a message
/// if it fails.
Measured play_with_smpi(const Play& play);

}  // namespace ferry::bench
