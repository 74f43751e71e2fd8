// In place of the simulated world, where it is not built.
#include "tests/contract/worlds.hpp"

namespace ferry {
namespace {

class SimulatedUnderTest final : public WorldUnderTest {
 public:
  [[nodiscard]] std::string name() const override { return "simulated"; }
  [[nodiscard]] std::optional<std::string> missing() const override {
    return "the simulated world is not compiled in (FERRY_SIM is OFF, or SimGrid or Boost.Context "
           "is missing)";
  }
  void run(const Instance&, const Platform&, const std::function<void(World&)>&) const override {}
};

}  // namespace

const WorldUnderTest& simulated_world_under_test() {
  static const SimulatedUnderTest simulated;
  return simulated;
}

}  // namespace ferry
