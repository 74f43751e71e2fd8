// Where ranks are to each other: the same container, VM, socket or host. Two layers: containers in
// VMs, and VMs on hosts.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/scenario/instance.hpp"

namespace ferry {

/// How much two ranks share; each includes the ones before it.
enum class Nearness : std::uint8_t {
  same_container,  ///< or the same VM outside containers
  same_vm,
  same_host,
  other_host,
};
std::string_view to_name(Nearness nearness);

/// A rank's place, as far as it does not change when its VM moves.
struct RankSite {
  VmId vm;
  std::uint32_t container = 0;  ///< from 1; 0: in none
  std::uint32_t vcpu = 0;       ///< that it runs on
};
/// Ranks are dealt to containers, and to vCPUs, in equal parts and in their order.
[[nodiscard]] RankSite site_of(const JobSpec& job, const VmSpec& vm, RankId rank);

/// Where VMs are, and what devices they have, kept up to date by whoever moves them. Nothing is
/// kept for pairs. Looking is for any task; changes are for one at a time. Who looks at a VM while
/// that changes gets what was before or what is after; ranks of a moving VM are suspended.
class Locality {
 public:
  /// As the instance begins.
  explicit Locality(const Instance& instance);

  /// A number that is another one after every change.
  [[nodiscard]] std::uint64_t generation() const {
    return generation_.load(std::memory_order_acquire);
  }
  [[nodiscard]] HostId host(VmId vm) const { return HostId{unpack(vm).host}; }
  /// The socket of the host under a vCPU. A VM is on one socket if it fits: the one that it is kept
  /// on, else the one with most free cores, the first of equals; a VM that fits on none has its
  /// vCPUs dealt to all in equal parts.
  [[nodiscard]] std::uint32_t socket(VmId vm, std::uint32_t vcpu) const;
  [[nodiscard]] bool has(VmId vm, DeviceKind device) const;

  struct Relation {
    Nearness nearness = Nearness::same_container;
    bool same_socket = true;  ///< true also between hosts, where sockets say nothing
  };
  [[nodiscard]] Relation between(const RankSite& a, const RankSite& b) const;

  /// `vm` runs on `host` now. Adds a generation.
  void moved(VmId vm, HostId host);
  /// `vm` has lost a device for good, or has it again. Adds a generation.
  void set_device(VmId vm, DeviceKind device, bool there);

 private:
  /// Of a VM, in one word: read by others while it changes.
  struct Place {
    std::uint32_t host = 0;
    std::uint16_t socket = 0;  ///< `spread`: on all
    bool virtual_function = false;
    bool ivshmem = false;
  };
  static constexpr std::uint16_t spread = 0xffff;
  [[nodiscard]] Place unpack(VmId vm) const;
  void store(VmId vm, Place place);
  /// Finds a socket and takes the cores there.
  std::uint16_t settle(VmId vm, HostId host);
  void add_cores(VmId vm, Place place, std::int64_t factor);

  struct Host {
    std::uint32_t sockets = 1;
    std::uint32_t cores_per_socket = 0;
  };
  struct Vm {
    std::uint32_t vcpus = 1;
    std::optional<std::uint32_t> kept_on;
  };
  std::vector<Host> hosts_;
  std::vector<Vm> vms_;
  std::vector<std::atomic<std::uint64_t>> places_;  ///< by VM
  std::vector<std::vector<std::int64_t>> free_;     ///< cores, by host and socket
  std::atomic<std::uint64_t> generation_ = 1;
};

}  // namespace ferry
