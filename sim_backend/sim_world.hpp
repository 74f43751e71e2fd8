// The simulated world: what a run on SimGrid needs from outside, with no SimGrid type in it.
#pragma once

#include <cstdint>
#include <functional>

#include "core/ports/world.hpp"
#include "core/record/link_usage.hpp"
#include "core/scenario/instance.hpp"
#include "core/scenario/platform.hpp"

namespace ferry {

struct SimOptions {
  /// Of the run: what control operations cost, if they vary; the instance has all other draws.
  std::uint64_t seed = 1;
  /// Whether a flow also loads the way back with 5 % of its rate, as TCP's acknowledgements do.
  bool crosstraffic = false;
  /// Whether to count what every link carries (`SimStatistics::links`).
  bool link_usage = false;
  /// Called on the simulating thread each time before simulated time advances; may cancel tasks.
  std::function<void()> between_steps;
};

/// What a simulation did; for diagnostics and benchmarks.
struct SimStatistics {
  TimePoint end;                    ///< simulated time when the last task ended
  std::uint64_t tasks = 0;          ///< spawned, the first one included
  std::uint64_t task_switches = 0;  ///< times that a task was resumed
  std::uint64_t local_events = 0;   ///< steps taken without the engine
  std::uint64_t flows = 0;          ///< communications that shared links
  std::uint64_t engine_steps = 0;   ///< advances of the engine's clock
  std::uint64_t packets = 0;        ///< posted at the fabric
  std::uint64_t packets_lost = 0;   ///< of them: on a device that was not there, or to nobody
  LinkUsage links;                  ///< empty unless `SimOptions::link_usage`
};

/// Builds the platform, runs `body` as the first task at time 0, and returns when it and every task
/// spawned since have ended. Rethrows what `body` threw.
///
/// One simulation per process: a second call is a programmer error (fork for more). Throws
/// `WorldError` if tasks wait for each other with nothing left to happen (the message names them),
/// or if the engine cannot build the platform.
SimStatistics run_simulated(const Instance& instance, const Platform& platform,
                            const SimOptions& options, const std::function<void(World&)>& body);

}  // namespace ferry
