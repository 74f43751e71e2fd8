#include "hw_backend/agent/control_inbox.hpp"

#include <utility>

namespace ferry::agent {

Control::Received ControlInbox::next(TimePoint deadline) {
  const Lock lock(*mutex_);
  for (;;) {
    if (std::exchange(notified_, false)) return {Wake::ready, {}};
    if (!messages_.empty()) {
      Control::Received received{Wake::ready, std::move(messages_.front())};
      messages_.pop_front();
      return received;
    }
    const Wake wake = filled_->wait_until(*mutex_, deadline);
    if (wake == Wake::cancelled) return {wake, {}};
    if (wake == Wake::timed_out && messages_.empty() && !notified_) return {wake, {}};
  }
}

bool ControlInbox::put(std::vector<std::byte> message) {
  const Lock lock(*mutex_);
  if (messages_.size() >= most_messages) return false;
  messages_.push_back(std::move(message));
  filled_->notify_one();
  return true;
}

void ControlInbox::notify() {
  const Lock lock(*mutex_);
  notified_ = true;
  filled_->notify_one();
}

void ControlInbox::opened() {
  const Lock lock(*mutex_);
  ++openings_;
  messages_.clear();
  notified_ = true;
  filled_->notify_one();
}

std::uint64_t ControlInbox::openings() const {
  const Lock lock(*mutex_);
  return openings_;
}

}  // namespace ferry::agent
