// Real hypervisors, where a lab is up.
#include <algorithm>
#include <cstdlib>
#include <stdexcept>

#include "hw_backend/libvirt/diagnosis.hpp"
#include "hw_backend/libvirt/libvirt_world.hpp"
#include "tests/contract/worlds.hpp"

namespace ferry {
namespace {

class RealUnderTest final : public WorldUnderTest {
 public:
  [[nodiscard]] std::string name() const override { return "libvirt"; }
  [[nodiscard]] std::optional<std::string> missing() const override {
    if (std::getenv(variable) != nullptr) return std::nullopt;
    return std::string(variable) + " names no cluster file: no lab is up";
  }
  /// The lab's hosts and VMs, where they are now.
  [[nodiscard]] SmallCluster cluster() const override {
    const ClusterFile file = load();
    const Diagnosis found = diagnose(file, nullptr, false);
    SmallCluster cluster;
    for (const ClusterHost& host : file.hosts) {
      HostSpec spec;
      spec.name = host.name;
      spec.virtual_functions = static_cast<std::uint32_t>(host.function_count());
      cluster.instance.hosts.push_back(spec);
    }
    for (std::size_t i = 0; i < file.vms.size(); ++i) {
      VmSpec spec;
      spec.name = file.vms[i].name;
      const auto host = std::ranges::find(file.hosts, found.places[i], &ClusterHost::name);
      if (host == file.hosts.end()) throw std::runtime_error(spec.name + " runs nowhere");
      spec.host = HostId{static_cast<std::uint32_t>(host - file.hosts.begin())};
      spec.virtual_function = !file.vms[i].virtual_function.empty();
      spec.ivshmem = Bytes::mebi(file.vms[i].ivshmem.empty() ? 0 : 1);
      cluster.instance.vms.push_back(spec);
    }
    return cluster;
  }
  void run(const Instance& instance, const Platform&,
           const std::function<void(World&)>& body) const override {
    ClusterOptions options;
    options.run = "contract";
    run_on_cluster(instance, load(), options, body);
  }

 private:
  static constexpr const char* variable = "FERRY_LAB_CLUSTER";

  static ClusterFile load() {
    const auto loaded = load_cluster(std::getenv(variable));
    if (!loaded) throw std::runtime_error(loaded.error().front().text());
    return loaded->cluster;
  }
};

}  // namespace

const WorldUnderTest& real_world_under_test() {
  static const RealUnderTest real;
  return real;
}

}  // namespace ferry
