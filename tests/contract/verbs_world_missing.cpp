// In place of the world whose ranks talk over RDMA devices, where it is not built.
#include "tests/contract/missing_world.hpp"

namespace ferry {

const WorldUnderTest& verbs_under_test() {
  static const MissingWorld world("verbs",
                                  "channels by RDMA devices are not compiled in (FERRY_VERBS is "
                                  "OFF, or libibverbs is missing)");
  return world;
}

}  // namespace ferry
