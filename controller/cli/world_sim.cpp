#include "controller/cli/worlds.hpp"
#include "sim_backend/sim_world.hpp"

namespace ferry {

const bool simulation_is_built_in = true;
const char* const simulation_engine_version = FERRY_SIMGRID_VERSION;

LinkUsage run_in_simulation(const Instance& instance, const Platform& platform,
                            const SimulationOptions& options,
                            const std::function<void(World&)>& body) {
  SimOptions simulation;
  simulation.seed = options.seed;
  simulation.link_usage = options.link_usage;
  simulation.between_steps = options.between_steps;
  return run_simulated(instance, platform, simulation, body).links;
}

}  // namespace ferry
