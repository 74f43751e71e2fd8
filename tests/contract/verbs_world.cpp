#include "hw_backend/bootstrap/in_process_bootstrap.hpp"
#include "hw_backend/threads/threads_world.hpp"
#include "hw_backend/verbs/verbs_fabric.hpp"
#include "tests/contract/worlds.hpp"

namespace ferry {
namespace {

/// The threads world with packets by an RDMA device, from one queue pair of it to another. Ranks
/// are where their threads are, whatever the cluster says.
class VerbsUnderTest final : public WorldUnderTest {
 public:
  [[nodiscard]] std::string name() const override { return "verbs"; }
  [[nodiscard]] std::optional<std::string> missing() const override {
    const Result<verbs::UsablePort> port = verbs::find_usable_port({});
    if (port) return std::nullopt;
    return port.error().reason;
  }
  [[nodiscard]] bool has_devices() const override { return false; }
  void run(const Instance& instance, const Platform& platform,
           const std::function<void(World&)>& body) const override {
    // An RDMA device in software takes its time: the clock is not sped up.
    run_threads(instance, platform, {.seed = 1, .speed = 1.0}, [&body](World& world) {
      const auto hub = BootstrapHub::make(100'000);
      verbs::VerbsSettings settings;
      settings.largest_body = 16'384;  // fragments of the semantic suites
      settings.window = 8;             // some of these have a thousand connections
      verbs::VerbsFabric fabric(
          settings, [&hub] { return hub->join_next(); }, parker_of_this_thread()->clock());
      World by_device{world.clock, world.executor, world.hypervisor, world.processor, fabric};
      body(by_device);
    });
  }
};

}  // namespace

const WorldUnderTest& verbs_under_test() {
  static const VerbsUnderTest verbs;
  return verbs;
}

}  // namespace ferry
