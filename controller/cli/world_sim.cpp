#include "controller/cli/worlds.hpp"
#include "sim_backend/sim_world.hpp"

namespace ferry {

const bool simulation_is_built_in = true;
const char* const simulation_engine_version = FERRY_SIMGRID_VERSION;

void run_in_simulation(const Instance& instance, const Platform& platform, std::uint64_t seed,
                       const std::function<void()>& between_steps,
                       const std::function<void(World&)>& body) {
  SimOptions options;
  options.seed = seed;
  options.between_steps = between_steps;
  run_simulated(instance, platform, options, body);
}

}  // namespace ferry
