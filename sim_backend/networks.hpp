// The networks of a scenario as zones of the engine. Included by nothing but `flows.cpp` (and a test).
#pragma once

#include <simgrid/forward.h>

#include <cstdint>
#include <vector>

#include "core/scenario/instance.hpp"
#include "sim_backend/flows.hpp"

namespace ferry {

class Networks {
 public:
  /// The engine must exist. Throws `WorldError` if a topology cannot hold the hosts.
  explicit Networks(const Instance& instance);

  [[nodiscard]] simgrid::s4u::Host* host(NetworkId network, HostId host) const {
    return hosts_[network.index][host.index];
  }
  /// The links between the host and its network, one in each direction; none if it is alone there.
  [[nodiscard]] std::vector<simgrid::s4u::Link*> links_of(NetworkId network, HostId host) const;
  /// Links on the way; each costs the network's latency.
  [[nodiscard]] std::uint32_t hops(NetworkId network, HostId from, HostId to) const;

 private:
  const std::vector<Network>& networks_;
  std::vector<std::vector<simgrid::s4u::Host*>> hosts_;
};

}  // namespace ferry
