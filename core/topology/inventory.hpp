// Capacities of hosts and the reservations of VMs on them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/scenario/instance.hpp"

namespace ferry {

/// What one VM takes from the host that it runs on.
struct Demand {
  Bytes memory;
  std::uint32_t cores = 0;
  bool virtual_function = false;
  Bytes ivshmem;

  static Demand of(const VmSpec& vm);
};

/// What a host has left.
struct Free {
  Bytes memory;
  std::uint32_t cores = 0;
  std::uint32_t virtual_functions = 0;
  Bytes ivshmem;
};

/// Not synchronised: callers share it under their own mutex. A reservation is all or nothing.
class Inventory {
 public:
  /// Every VM holds the host that it starts on.
  explicit Inventory(const Instance& instance);

  /// Two VMs that must stay apart never hold one host, unless they start so.
  ///
  /// Nothing if `vm` could be reserved on `host` now, else the reason ("host4 has no free virtual
  /// function (16 in use)"), for messages that list refused candidates.
  [[nodiscard]] std::optional<std::string> refusal(VmId vm, HostId host) const;
  /// Whether `vm` could be reserved on `host` now; the same answer without the text.
  [[nodiscard]] bool fits(VmId vm, HostId host) const;

  /// Takes memory, cores, a virtual function and IVShmem for `vm` on `host`. The VM must not hold
  /// `host` yet and must fit (programmer errors otherwise).
  void reserve(VmId vm, HostId host);
  /// Gives back what `vm` holds on `host`.
  void release(VmId vm, HostId host);
  /// Takes another virtual function of `host` for `vm` in place of a broken one, which stays out of
  /// use. False if none is free.
  bool replace_virtual_function(VmId vm, HostId host);

  /// From now on nothing fits on `host`; what is held there stays until it is released.
  void close(HostId host) { closed_[host.index] = true; }

  [[nodiscard]] bool holds(VmId vm, HostId host) const;
  /// Number of the virtual function that `vm` holds on `host`, if any.
  [[nodiscard]] std::optional<std::uint32_t> virtual_function(VmId vm, HostId host) const;
  [[nodiscard]] const Free& free(HostId host) const { return free_[host.index]; }
  /// Hosts held by `vm`: one at rest, two while it moves.
  [[nodiscard]] std::vector<HostId> hosts_of(VmId vm) const;

 private:
  struct Holding {
    HostId host;
    std::optional<std::uint32_t> virtual_function;
  };
  const Holding* find(VmId vm, HostId host) const;
  /// Another VM on `host` that must stay apart from `vm`.
  [[nodiscard]] std::optional<VmId> kept_away_by(VmId vm, HostId host) const;
  std::uint32_t take_virtual_function(HostId host);

  const Instance& instance_;
  std::vector<Free> free_;                                  ///< by host
  std::vector<std::vector<std::uint32_t>> free_functions_;  ///< by host, descending numbers
  std::vector<bool> closed_;                                ///< by host
  std::vector<std::vector<Holding>> holdings_;              ///< by VM
  std::map<VmId, std::vector<std::size_t>> apart_;  ///< the `apart` constraints with this VM
  std::map<std::pair<std::size_t, HostId>, std::vector<VmId>> kept_apart_;  ///< who is there
};

}  // namespace ferry
