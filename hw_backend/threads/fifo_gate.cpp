#include "hw_backend/threads/fifo_gate.hpp"

namespace ferry {

FifoGate::FifoGate(Executor& executor)
    : mutex_(executor.make_mutex()), first_changed_(executor.make_condition()) {}

Wake FifoGate::enter(TimePoint deadline) {
  const Lock lock(*mutex_);
  const std::uint64_t ticket = next_ticket_++;
  queue_.push_back(ticket);
  while (queue_.front() != ticket) {
    const Wake wake = first_changed_->wait_until(*mutex_, deadline);
    if (wake != Wake::ready && queue_.front() != ticket) {
      std::erase(queue_, ticket);
      return wake;
    }
    if (wake == Wake::cancelled) {
      queue_.pop_front();
      first_changed_->notify_all();
      return wake;
    }
  }
  return Wake::ready;
}

void FifoGate::leave() {
  const Lock lock(*mutex_);
  queue_.pop_front();
  first_changed_->notify_all();
}

}  // namespace ferry
