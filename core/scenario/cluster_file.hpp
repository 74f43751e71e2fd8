// A cluster as its operator describes it: where the libvirt daemons and the domains are that play
// the hosts and VMs of a scenario `--on hw`. Keys and struct members have the same names; what a
// key means is said once, in `describe_cluster.hpp`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ports/types.hpp"
#include "core/scenario/document.hpp"

namespace ferry {

/// Where a host receives migrations, by what carries them; empty: not over this.
struct MigrationUris {
  std::string tcp;    ///< tcp://HOST[:PORT], or unix:///SOCKET between hosts that share the path
  std::string ipoib;  ///< tcp://HOST[:PORT], a name on the InfiniBand network
  std::string rdma;   ///< rdma://HOST[:PORT]

  [[nodiscard]] const std::string& by(Transport transport) const;
};

/// `0000:03:00.[1-7]` and the functions that it names.
struct PciFunctions {
  std::string text;
  std::vector<std::string> addresses;  ///< `0000:03:00.1`, in order
};

/// Whether a virtual function has a GUID of its own, or takes the one of the VM that it serves.
enum class Guid : std::uint8_t { per_vf, moves_with_vm };

/// The NIC that stands in for a virtual function where there is no SR-IOV.
enum class StandInNic : std::uint8_t { virtio, e1000e };

/// Equal virtual functions of a host: either PCI functions, or NICs that stand in for them.
struct FunctionPool {
  PciFunctions pci;                   ///< of virtual functions; empty: stand-ins
  std::string parent;                 ///< their port's name on the host: ib0
  std::optional<std::uint32_t> numa;  ///< the NUMA node that they belong to, if it is known
  Guid guid = Guid::per_vf;

  StandInNic nic = StandInNic::virtio;
  std::string bridge;       ///< that the stand-ins are plugged into; empty: PCI functions
  std::uint32_t count = 0;  ///< of stand-ins

  [[nodiscard]] bool stands_in() const { return pci.addresses.empty(); }
  /// How many VMs can have one.
  [[nodiscard]] std::size_t size() const { return stands_in() ? count : pci.addresses.size(); }
};

struct ClusterHost {
  std::string name;     ///< as in the scenario: host0
  std::string libvirt;  ///< the URI by which the controller reaches its libvirt
  std::string peer;     ///< and by which the other hosts reach it; default: the same
  MigrationUris migrate;
  std::vector<FunctionPool> virtual_functions;

  /// Of all pools together.
  [[nodiscard]] std::size_t function_count() const;
};

struct ClusterVm {
  std::string name;              ///< as in the scenario: vm0
  std::string domain;            ///< libvirt's name of it
  std::string virtual_function;  ///< alias of the device that is unplugged; empty: has none
  std::string ivshmem;           ///< alias of its shared memory device; empty: has none
  std::string agent;             ///< name of the channel to the agent in the guest; empty: has none
};

/// What the domains' disks are.
enum class Storage : std::uint8_t {
  shared,  ///< every host sees the same
  none,    ///< the domains have none
};

/// The program that a rank is, in the guests.
struct RankProgram {
  std::string path;  ///< empty: there is none
  std::string user;
};

/// What becomes of the VMs after a run of a sweep.
enum class Restore : std::uint8_t {
  back,  ///< they are migrated to where the scenario starts
  stay,  ///< they stay; the next run must start from where they are
};

struct ClusterFile {
  std::vector<ClusterHost> hosts;
  std::vector<ClusterVm> vms;
  Storage storage = Storage::shared;
  RankProgram rank;
  Restore restore = Restore::back;

  /// By the scenario's name of it; nothing if there is none.
  [[nodiscard]] const ClusterHost* host(std::string_view name) const;
  [[nodiscard]] const ClusterVm* vm(std::string_view name) const;
};

/// Where a key of the file stands; line and column from 1.
struct ClusterPlace {
  std::string path;  ///< `hosts`, `hosts.host0`
  std::size_t line = 1;
  std::size_t column = 1;
};

struct LoadedCluster {
  ClusterFile cluster;
  std::string file;                  ///< as the user named it
  std::vector<ClusterPlace> places;  ///< of `hosts`, `vms` and their items
  std::string resolved;              ///< YAML with every default written out
};

Loaded<LoadedCluster> load_cluster(const std::filesystem::path& file);
/// The same over text in memory; `name` stands for the file in messages.
Loaded<LoadedCluster> read_cluster(std::string_view text, const std::string& name);

}  // namespace ferry
