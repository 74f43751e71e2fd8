// What one host is like, as far as Ferry cares and libvirt cannot tell. Members have the names that
// they have in JSON (REPORT.md); `report_json` says it once for reading and writing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/units/units.hpp"

namespace ferry::host {

/// One thing that was looked at, as those of `ferry doctor`.
struct Finding {
  enum class Level : std::uint8_t { ok, warning, failed };
  Level level = Level::ok;
  std::string subject;  ///< "mlx5_0: port 1"
  std::string text;     ///< what was found
  std::string fix;      ///< what would put it right; empty if it is ok
};

struct HugePages {
  Bytes size;
  std::uint64_t total = 0;
  std::uint64_t free = 0;
};

struct NumaNode {
  std::uint32_t node = 0;
  std::uint32_t package = 0;  ///< socket that it belongs to
  std::uint32_t cores = 0;
  std::uint32_t processors = 0;  ///< hardware threads
  Bytes memory;
  std::vector<HugePages> huge_pages;
};

struct Iommu {
  bool on = false;                   ///< there are groups
  std::uint32_t groups = 0;          ///< how many
  std::vector<std::string> units;    ///< dmar0, ivhd0
  std::vector<std::string> options;  ///< those of the kernel's command line that concern it
};

/// A process that holds something.
struct User {
  std::uint32_t process = 0;
  std::string program;
  std::string guest;  ///< of a QEMU its domain; empty: unknown
};

/// Who said what of a function's GUIDs and policy.
enum class ToldBy : std::uint8_t { nobody, mlx5_sysfs, mlx4_sysfs, netlink };

struct VirtualFunction {
  std::uint32_t index = 0;
  std::string pci;                       ///< 0000:03:00.1
  std::string driver;                    ///< empty: none
  std::optional<std::uint32_t> group;    ///< of its IOMMU
  std::vector<std::string> group_peers;  ///< others there, bridges left out
  std::string node_guid;                 ///< 00:11:22:33:44:55:66:77; empty: unknown
  std::string port_guid;
  std::string policy;  ///< of its link: up, down, follow; empty: unknown
  ToldBy told_by = ToldBy::nobody;
  std::optional<User> user;  ///< who was given it by VFIO
};

struct Port {
  std::uint32_t number = 1;
  std::string state;           ///< ACTIVE, DOWN, INIT ...
  std::string physical_state;  ///< LinkUp, Polling ...
  std::string link_layer;      ///< InfiniBand, Ethernet
  std::string rate;            ///< 56 Gb/sec (4X FDR)
  std::uint32_t lid = 0;
  std::uint32_t subnet_manager_lid = 0;
};

/// A bridge on the way to an adapter, and whether it keeps those below it apart.
struct Bridge {
  std::string pci;
  std::string acs;  ///< on, off, absent, unknown
};

/// A device with virtual functions, or an RDMA device.
struct Adapter {
  std::string name;  ///< of the RDMA device: mlx5_0; empty: it is none
  std::string pci;   ///< empty: it is no PCI device
  std::string driver;
  std::string firmware;
  std::string node_guid;
  std::vector<std::string> interfaces;
  std::optional<std::uint32_t> numa;
  std::optional<std::uint32_t> package;
  std::uint32_t functions_possible = 0;
  std::vector<Port> ports;
  std::vector<Bridge> bridges;
  std::vector<VirtualFunction> functions;

  /// For findings.
  [[nodiscard]] const std::string& title() const { return name.empty() ? pci : name; }
};

/// What a process may lock in memory.
struct LockedMemory {
  User process;
  std::optional<Bytes> limit;  ///< none: no limit
};

/// A file in /dev/shm that is, or may be, IVShmem of a VM or memory of Ferry's ranks.
struct SharedMemory {
  std::string name;
  Bytes size;
  Bytes used;                                ///< memory that it takes
  bool ferry = false;                        ///< it has the layout of Ferry's ranks
  std::vector<std::string> running_domains;  ///< that name it
  std::vector<std::string> defined_domains;
  std::vector<User> users;
  std::string kept;  ///< why it must stay; empty: nobody needs it
};

struct Versions {
  std::string ferry;
  std::string kernel;
  std::string qemu;  ///< empty: not found, or not asked
  std::string libvirt;
};

struct Report {
  std::string host;   ///< its name for itself
  bool root = false;  ///< it was looked at with all rights
  Versions versions;
  Iommu iommu;
  std::optional<bool> vfio;  ///< the vfio-pci driver is there
  std::string rdma_netns;    ///< shared, exclusive; empty: no RDMA here
  std::vector<NumaNode> numa;
  std::vector<Adapter> adapters;
  std::vector<LockedMemory> locked_memory;
  std::vector<SharedMemory> shared_memory;
  std::vector<Finding> findings;
};

[[nodiscard]] std::string to_word(Finding::Level level);
/// Whether a finding is a failure.
[[nodiscard]] bool has_failed(const Report& report);

}  // namespace ferry::host
