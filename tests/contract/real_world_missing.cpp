// In place of the world of real hypervisors, where it is not built.
#include "tests/contract/missing_world.hpp"

namespace ferry {

const WorldUnderTest& real_world_under_test() {
  static const MissingWorld world("libvirt",
                                  "the world of real hypervisors is not compiled in (FERRY_LIBVIRT "
                                  "is OFF, or libvirt or libxml2 is missing)");
  return world;
}

}  // namespace ferry
