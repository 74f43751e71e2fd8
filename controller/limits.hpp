// How many moves may run at once: in the cluster, out of and into a host, over a link.
#pragma once

#include <cstdint>
#include <vector>

#include "core/scenario/instance.hpp"

namespace ferry {

/// Counts running moves against `schedule.limits`. A limit of 0 admits nothing.
///
/// The `link` limit counts moves per direction of each host's link in the network that carries them;
/// in a fat tree also per direction between a leaf and its spines, whose links count together
/// (limit x spines).
class Limiter {
 public:
  Limiter(const Instance& instance, const Limits& limits);

  [[nodiscard]] bool admits(const MoveSpec& move, HostId from, HostId to) const;
  void take(const MoveSpec& move, HostId from, HostId to);
  void give(const MoveSpec& move, HostId from, HostId to);

 private:
  struct Use {
    std::uint32_t out = 0;
    std::uint32_t in = 0;
  };
  struct NetworkUse {
    std::vector<Use> hosts;
    std::vector<Use> leaves;  ///< empty unless a fat tree
    std::uint32_t hosts_per_leaf = 1;
    std::uint32_t spines = 1;
  };
  void add(const MoveSpec& move, HostId from, HostId to, std::uint32_t change);

  Limits limits_;
  std::uint32_t cluster_ = 0;
  std::vector<Use> hosts_;
  std::vector<NetworkUse> networks_;
  std::vector<std::size_t> network_of_transport_;
};

}  // namespace ferry
