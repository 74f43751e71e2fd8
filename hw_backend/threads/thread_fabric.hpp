// Packets between threads of one process: a queue for each endpoint, real bytes. What a packet
// costs is what the queue really costs; profiles are for whoever chooses channels.
#pragma once

#include <memory>

#include "core/ports/fabric.hpp"
#include "core/ports/hypervisor.hpp"
#include "hw_backend/threads/thread_executor.hpp"

namespace ferry {

/// One way for all channels: in memory, in the order of posting. A VM's device that is not
/// attached, when a packet is posted or when it would be polled, loses it.
class ThreadFabric final : public Fabric {
 public:
  /// Packets of one endpoint to another by one channel that were posted and not polled; `post`
  /// finds no room for more.
  static constexpr std::size_t room = 256;

  ThreadFabric(ThreadExecutor& executor, const Hypervisor& hypervisor, ChannelProfiles profiles);
  ~ThreadFabric() override;
  [[nodiscard]] std::unique_ptr<WaitSet> make_wait_set() override;
  [[nodiscard]] std::unique_ptr<Endpoint> open(const RankPlace& place, WaitSet& wait_set) override;
  [[nodiscard]] const TransportProfile* profile(Channel channel, bool same_socket) const override;

 private:
  class Inbox;
  class QueueEndpoint;
  class Directory;
  std::shared_ptr<Directory> directory_;
  ThreadExecutor& executor_;
};

}  // namespace ferry
