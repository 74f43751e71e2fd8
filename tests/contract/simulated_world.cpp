// The simulated world, where it is built.
#include "sim_backend/sim_world.hpp"
#include "tests/contract/forked.hpp"
#include "tests/contract/worlds.hpp"

namespace ferry {
namespace {

class SimulatedUnderTest final : public WorldUnderTest {
 public:
  [[nodiscard]] std::string name() const override { return "simulated"; }
  [[nodiscard]] std::optional<std::string> missing() const override { return std::nullopt; }
  void run(const Instance& instance, const Platform& platform,
           const std::function<void(World&)>& body) const override {
    constexpr std::chrono::seconds limit(60);  // no test simulates more than a fraction of a second
    run_forked(limit, [&] { run_simulated(instance, platform, SimOptions{}, body); });
  }
};

}  // namespace

const WorldUnderTest& simulated_world_under_test() {
  static const SimulatedUnderTest simulated;
  return simulated;
}

}  // namespace ferry
