// The threads world: a task is a thread, time is real (or a multiple of it), messages are copied in
// memory, and a fake hypervisor takes the time that the platform says.
#pragma once

#include <cstdint>
#include <functional>

#include "core/ports/world.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

struct ThreadsOptions {
  /// Of the random streams of this world. Nothing in it draws from one yet: what varies from run to
  /// run is the machine's own timing.
  std::uint64_t seed = 1;
  /// How much faster than real time the world's clock goes: a cost of 1 s takes 1 s / speed. Above
  /// zero. Delays of the machine (about 0.1 ms for each wake-up) are multiplied by it as well.
  double speed = 1.0;
};

/// Runs `body` in the calling thread as the world's first task; returns when it and every task that
/// was spawned have ended, then rethrows what `body` threw. Unplugs that are still under way then
/// are dropped. Only tasks of the world may wait on its ports. Several worlds in one process are
/// allowed.
void run_threads(const Instance& instance, const Platform& platform, const ThreadsOptions& options,
                 const std::function<void(World&)>& body);

}  // namespace ferry
