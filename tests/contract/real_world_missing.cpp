// In place of the world of real hypervisors, where it is not built.
#include "tests/contract/worlds.hpp"

namespace ferry {
namespace {

class RealUnderTest final : public WorldUnderTest {
 public:
  [[nodiscard]] std::string name() const override { return "libvirt"; }
  [[nodiscard]] std::optional<std::string> missing() const override {
    return "the world of real hypervisors is not compiled in (FERRY_LIBVIRT is OFF, or libvirt or "
           "libxml2 is missing)";
  }
  void run(const Instance&, const Platform&, const std::function<void(World&)>&) const override {}
};

}  // namespace

const WorldUnderTest& real_world_under_test() {
  static const RealUnderTest real;
  return real;
}

}  // namespace ferry
