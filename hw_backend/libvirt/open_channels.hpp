// Channels into guests that are open, so that a migration can close them before the VM's domain
// leaves its host.
//
// libvirt's daemon ends the streams of a domain that leaves, and frees the domain: two threads that
// take the lock of the domain's character devices and that of a stream in opposite order
// (virChrdevFree, and the close callback that virChrdevOpen gives the stream). Seen once in some
// hundred moves with libvirt 9.0: the daemon's main loop stood still, and it answered nobody any
// more. What was closed before is in neither's way.
#pragma once

#include <map>
#include <mutex>

#include "core/ports/types.hpp"

namespace ferry {

/// A channel that can do without its stream for a while. Called by any task.
class ClosableChannel {
 public:
  virtual ~ClosableChannel() = default;
  /// Blocks until the stream is closed, for a few seconds at most; none is opened until `release`.
  virtual void hold() = 0;
  virtual void release() = 0;
};

/// The channel of each VM, while there is one. Channels outlive every `NoChannel` of their VM.
class OpenChannels {
 public:
  void add(VmId vm, ClosableChannel& channel) {
    const std::lock_guard guard(mutex_);
    channels_[vm] = &channel;
  }
  void remove(VmId vm) {
    const std::lock_guard guard(mutex_);
    channels_.erase(vm);
  }
  [[nodiscard]] ClosableChannel* find(VmId vm) const {
    const std::lock_guard guard(mutex_);
    const auto found = channels_.find(vm);
    return found == channels_.end() ? nullptr : found->second;
  }

 private:
  mutable std::mutex mutex_;
  std::map<VmId, ClosableChannel*> channels_;
};

/// Scope in which the VM's channel has no stream.
class NoChannel {
 public:
  NoChannel(const OpenChannels& channels, VmId vm) : channel_(channels.find(vm)) {
    if (channel_ != nullptr) channel_->hold();
  }
  ~NoChannel() {
    if (channel_ != nullptr) channel_->release();
  }
  NoChannel(const NoChannel&) = delete;
  NoChannel& operator=(const NoChannel&) = delete;

 private:
  ClosableChannel* channel_;
};

}  // namespace ferry
