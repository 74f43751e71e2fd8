// Ctrl-C, as a level that only rises.
#pragma once

#include <sys/types.h>

#include <csignal>

#include "controller/session.hpp"

namespace ferry {

/// While it lives, the first SIGINT raises the level to `start_nothing_new`, the second to
/// `cancel`; a third ends the program at once. SIGTERM raises it to `cancel`. One at a time.
class InterruptionHandler {
 public:
  InterruptionHandler();
  ~InterruptionHandler();
  InterruptionHandler(const InterruptionHandler&) = delete;
  InterruptionHandler& operator=(const InterruptionHandler&) = delete;

  /// The present level; any thread may ask.
  static Interruption level();

 private:
  struct sigaction old_interrupt_ {};
  struct sigaction old_terminate_ {};
};

/// In a forked worker: Ctrl-C is the parent's business, SIGTERM ends the worker, and so does the
/// parent's death (at once, if it is dead already).
void leave_interruptions_to_the_parent(pid_t parent);

}  // namespace ferry
