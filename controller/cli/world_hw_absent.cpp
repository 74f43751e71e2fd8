#include "controller/cli/worlds.hpp"
#include "core/units/check.hpp"

namespace ferry {

const bool libvirt_is_built_in = false;
std::string libvirt_version() { return {}; }

ClusterDiagnosis diagnose_cluster(const ClusterFile&, const Instance*, bool) {
  check(false, "a world that is not built in is refused before");
  return {};
}

std::vector<HypervisorTime> run_on_hardware(const Instance&, const ClusterFile&, const HardwareRun&,
                                            const std::function<void(World&, mpi::RankHost&)>&) {
  check(false, "a world that is not built in is refused before");
  return {};
}

}  // namespace ferry
