// The worlds that were built in. Which definition of `run_in_simulation` is linked says whether
// SimGrid is here.
#pragma once

#include <functional>
#include <string>

#include "core/ports/world.hpp"
#include "core/scenario/instance.hpp"
#include "core/scenario/platform.hpp"

namespace ferry {

extern const bool simulation_is_built_in;
/// Version of the simulation engine; empty if it is not built in.
extern const char* const simulation_engine_version;

/// Runs `body` as the first task of a simulated world; `between_steps` as in SimOptions. Requires
/// `simulation_is_built_in`; once per process.
void run_in_simulation(const Instance& instance, const Platform& platform, std::uint64_t seed,
                       const std::function<void()>& between_steps,
                       const std::function<void(World&)>& body);

}  // namespace ferry
