// A control link through a domain's <channel>: a stream of libvirt, which ends when the VM is
// switched over, and is opened anew where it then runs.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "core/ports/control.hpp"
#include "hw_backend/agent/control_inbox.hpp"
#include "hw_backend/libvirt/cluster_link.hpp"
#include "hw_backend/libvirt/whereabouts.hpp"

namespace ferry {

class ChannelStream;

/// Looks for the VM and opens its channel in a task of its own. The channel is taken from who has
/// it open: only one can. While the VM moves it has none: `open_channels.hpp` says why.
class DomainChannel final : public Control, private ClosableChannel {
 public:
  /// `channel`: its target's name. `link` and `whereabouts` outlive it.
  DomainChannel(ClusterLink& link, const Whereabouts& whereabouts, VmId vm, std::string channel);
  /// Joins.
  ~DomainChannel() override;
  bool send(std::span<const std::byte> message) override;
  Received receive(TimePoint deadline) override { return inbox_->next(deadline); }
  void notify() override { inbox_->notify(); }
  [[nodiscard]] std::string trouble() const override;
  [[nodiscard]] std::uint64_t openings() const override { return inbox_->openings(); }

 private:
  void hold() override;
  void release() override;
  void keep_open();
  void open_where_the_vm_is();
  [[nodiscard]] std::optional<HostId> look_for_vm();
  [[nodiscard]] bool is_on(HostId host);
  [[nodiscard]] std::shared_ptr<ChannelStream> stream() const;
  [[nodiscard]] bool is_held() const;
  [[nodiscard]] bool take(const std::shared_ptr<ChannelStream>& stream);
  void drop(const std::shared_ptr<ChannelStream>& broken);
  /// In a thread of its own.
  void close(const std::shared_ptr<ChannelStream>& stream);

  ClusterLink& link_;
  const Whereabouts& whereabouts_;
  VmId vm_;
  HostId host_;          ///< where it was last
  unsigned misses_ = 0;  ///< when it was not where it was expected
  std::string channel_;
  std::shared_ptr<agent::ControlInbox> inbox_;  ///< callbacks of libvirt may outlive this
  std::unique_ptr<Mutex> mutex_;
  std::shared_ptr<ChannelStream> stream_;  ///< null: there is none
  HostId stream_host_;
  std::string trouble_;  ///< why it could not be opened last
  unsigned holds_ = 0;   ///< while above 0 none is opened
  std::unique_ptr<Condition> released_;
  std::unique_ptr<Task> task_;
};

}  // namespace ferry
