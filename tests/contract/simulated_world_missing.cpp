// In place of the simulated world, where it is not built.
#include "tests/contract/missing_world.hpp"

namespace ferry {

const WorldUnderTest& simulated_world_under_test() {
  static const MissingWorld world("simulated",
                                  "the simulated world is not compiled in (FERRY_SIM is OFF, or "
                                  "SimGrid or Boost.Context is missing)");
  return world;
}

}  // namespace ferry
