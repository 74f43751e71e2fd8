// The worlds that were built in. Which definitions are linked says whether SimGrid and libvirt are
// here (`world_sim*.cpp`, `world_hw*.cpp`).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/mpi/workloads/hosted_job.hpp"
#include "core/ports/world.hpp"
#include "core/record/link_usage.hpp"
#include "core/scenario/cluster_file.hpp"
#include "core/scenario/instance.hpp"
#include "core/scenario/platform.hpp"
#include "core/units/units.hpp"

namespace ferry {

extern const bool simulation_is_built_in;
/// Version of the simulation engine; empty if it is not built in.
extern const char* const simulation_engine_version;

struct SimulationOptions {
  std::uint64_t seed = 1;
  std::function<void()> between_steps;  ///< as in SimOptions
  bool link_usage = false;              ///< count what every link carries
};

/// Runs `body` as the first task of a simulated world; gives what the links carried, if that was
/// asked for. Requires `simulation_is_built_in`; once per process.
LinkUsage run_in_simulation(const Instance& instance, const Platform& platform,
                            const SimulationOptions& options,
                            const std::function<void(World&)>& body);

extern const bool libvirt_is_built_in;
/// Version of the libvirt library; empty if it is not built in.
std::string libvirt_version();

/// One thing that was looked at in a cluster.
struct ClusterFinding {
  enum class Level { ok, warning, failed } level = Level::ok;
  std::string subject;  ///< "host0: libvirt"
  std::string text;     ///< what was found: "9.0.0, QEMU 7.2.0"
  std::string fix;      ///< what would put it right; empty if it is ok
};

/// What a cluster is like now.
struct ClusterDiagnosis {
  std::vector<ClusterFinding> findings;
  /// Name of the host that each VM of the instance runs on; empty: none that was found.
  std::vector<std::string> places;
  std::vector<std::pair<std::string, std::string>> versions;  ///< of the hosts' libvirt and QEMU

  [[nodiscard]] bool failed() const;
};

/// Connects to every host and looks; touches nothing. With an instance, its domains are held
/// against it (memory, vCPUs, devices, and, if `at_start`, the host that they run on). Blocks for
/// as long as the slowest host takes. Requires `libvirt_is_built_in`.
ClusterDiagnosis diagnose_cluster(const ClusterFile& cluster, const Instance* instance,
                                  bool at_start);

/// What was done about one VM in a real world, and how much of it was waiting.
struct HypervisorTime {
  Duration awaited;  ///< for a call of libvirt, or for an event of libvirt or of the guest
  std::uint64_t calls = 0;
};

/// A run in the real world.
struct HardwareRun {
  std::string name;     ///< that it leaves in the domains' metadata
  TimePoint start;      ///< what the world's clock shows at first
  std::int64_t origin;  ///< ns since the epoch at which it stood at 0; the same after a take-over
  bool taken_over = false;
  Schedule schedule = {};
  std::string scenario;  ///< what ranks in guests are told to do, with all defaults
};

/// Runs `body` as the first task of the real world; gives the times by VM. Throws WorldError if it
/// cannot be reached, or breaks. Requires `libvirt_is_built_in`. Several in one process, one after
/// the other, are allowed. The body gets who runs the jobs that send messages, in guests with an
/// agent.
std::vector<HypervisorTime> run_on_hardware(
    const Instance& instance, const ClusterFile& cluster, const HardwareRun& run,
    const std::function<void(World&, mpi::RankHost&)>& body);

}  // namespace ferry
