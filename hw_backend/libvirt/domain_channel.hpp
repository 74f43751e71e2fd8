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
/// it open: only one can.
class DomainChannel final : public Control {
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
  void keep_open();
  [[nodiscard]] std::optional<HostId> look_for_vm();
  [[nodiscard]] bool is_on(HostId host);
  [[nodiscard]] std::shared_ptr<ChannelStream> stream() const;
  void set_stream(std::shared_ptr<ChannelStream> stream);
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
  std::string trouble_;                    ///< why it could not be opened last
  std::unique_ptr<Task> task_;
};

}  // namespace ferry
