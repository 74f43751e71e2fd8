#include "controller/cli/worlds.hpp"
#include "core/units/check.hpp"

namespace ferry {

const bool simulation_is_built_in = false;
const char* const simulation_engine_version = "";

LinkUsage run_in_simulation(const Instance&, const Platform&, const SimulationOptions&,
                            const std::function<void(World&)>&) {
  check(false, "a world that is not built in is refused before");
  return {};
}

}  // namespace ferry
