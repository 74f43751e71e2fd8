// Messages between threads: a bounded queue for each endpoint, real payloads. What a message costs
// is what the queue really costs; the transport profile is for worlds that pretend.
#pragma once

#include <map>
#include <memory>

#include "core/ports/executor.hpp"
#include "core/ports/fabric.hpp"

namespace ferry {

class ThreadFabric final : public Fabric {
 public:
  explicit ThreadFabric(Executor& executor);
  ~ThreadFabric() override;
  [[nodiscard]] std::unique_ptr<Endpoint> open(HostId host,
                                               const TransportProfile& profile) override;

 private:
  class Inbox;
  class QueueEndpoint;
  class Directory;
  std::shared_ptr<Directory> directory_;
};

}  // namespace ferry
