// The port `Fabric` of the simulated world.
#pragma once

#include <memory>
#include <vector>

#include "core/ports/fabric.hpp"
#include "sim_backend/flows.hpp"
#include "sim_backend/scheduler.hpp"

namespace ferry {

/// A message costs o + L + size/bandwidth + o of its sender's profile: the first o while `post`
/// blocks, the last while `receive` does. An endpoint sends one message after the other, each at
/// least the profile's gap after the last. Small messages, and all within a host, are events of our
/// own; large ones to another host are flows on the network that carries rdma (else the first
/// network), so that they share its links with migrations. What was posted arrives, though its
/// sender be closed since.
class SimFabric final : public Fabric {
 public:
  /// From here on a message to another host occupies links. Below it costs too little of them for
  /// too many engine steps.
  static constexpr Bytes large = Bytes::kibi(64);
  /// Messages that a receiver has room for, under way or waiting; more make `post` block.
  static constexpr std::size_t queue_capacity = 1024;

  SimFabric(Scheduler& scheduler, Flows& flows, const Instance& instance);
  ~SimFabric() override;
  [[nodiscard]] std::unique_ptr<Endpoint> open(HostId host,
                                               const TransportProfile& profile) override;

 private:
  class Port;
  class OpenPort;
  [[nodiscard]] Port* find_open(EndpointAddress address) const;

  Scheduler& scheduler_;
  Flows& flows_;
  NetworkId network_;
  std::vector<std::unique_ptr<Port>> ports_;  // by address; null once closed and empty
};

}  // namespace ferry
