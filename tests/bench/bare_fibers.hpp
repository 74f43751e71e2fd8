// The least that a simulation of messages can be: fibers, and a heap of events.
#pragma once

#include "tests/bench/message_patterns.hpp"
#include "tests/bench/side_by_side.hpp"

namespace ferry::bench {

/// No matching, no channels, no checks, no tasks that could be cancelled: a message is an event,
/// and so is the time that its sender spends on it. `figure`: simulated seconds at the end.
Measured play_with_bare_fibers(const Play& play);

}  // namespace ferry::bench
