#include "hw_backend/bootstrap/mailbox.hpp"

#include <utility>

namespace ferry {

bool Mailbox::put(BootstrapTopic topic, BootstrapMessage message) {
  Box& box = boxes_[static_cast<std::size_t>(topic)];
  // The wait set is notified under the lock: who takes it away knows that it is left alone then.
  const std::lock_guard guard(box.mutex);
  if (box.messages.size() >= most_waiting_bootstrap_messages) return false;
  box.messages.push_back(std::move(message));
  box.waiting.store(box.messages.size(), std::memory_order_release);
  if (box.wait_set != nullptr) box.wait_set->notify();
  return true;
}

std::optional<BootstrapMessage> Mailbox::take(BootstrapTopic topic) {
  Box& box = boxes_[static_cast<std::size_t>(topic)];
  if (box.waiting.load(std::memory_order_acquire) == 0) return std::nullopt;
  const std::lock_guard guard(box.mutex);
  if (box.messages.empty()) return std::nullopt;
  BootstrapMessage oldest = std::move(box.messages.front());
  box.messages.pop_front();
  box.waiting.store(box.messages.size(), std::memory_order_release);
  return oldest;
}

void Mailbox::notify_of(BootstrapTopic topic, WaitSet* wait_set) {
  Box& box = boxes_[static_cast<std::size_t>(topic)];
  const std::lock_guard guard(box.mutex);
  box.wait_set = wait_set;
  if (wait_set != nullptr && !box.messages.empty()) wait_set->notify();
}

}  // namespace ferry
