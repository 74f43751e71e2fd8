#include "hw_backend/threads/thread_wait_set.hpp"

#include <algorithm>
#include <thread>

namespace ferry {

ThreadWaitSet::ThreadWaitSet(ThreadExecutor& executor)
    : executor_(executor), mutex_(executor.make_mutex()), woken_(executor.make_condition()) {}

Wake ThreadWaitSet::wait(TimePoint deadline) {
  if (executor_.would_be_cancelled()) return Wake::cancelled;
  const Lock lock(*mutex_);
  const std::uint64_t before = notifications_;
  Wake wake = Wake::ready;
  while (wake == Wake::ready && notifications_ == before && !notified_ && !something_to_see()) {
    wake = woken_->wait_until(*mutex_, deadline);
  }
  notified_ = false;
  return wake;
}

void ThreadWaitSet::notify() {
  const Lock lock(*mutex_);
  ++notifications_;
  notified_ = true;
  woken_->notify_all();
}

void ThreadWaitSet::pause() { std::this_thread::yield(); }

void ThreadWaitSet::add(const std::atomic<std::size_t>& arrivals) {
  const Lock lock(*mutex_);
  arrivals_.push_back(&arrivals);
}

void ThreadWaitSet::remove(const std::atomic<std::size_t>& arrivals) {
  const Lock lock(*mutex_);
  std::erase(arrivals_, &arrivals);
}

bool ThreadWaitSet::something_to_see() const {
  return std::ranges::any_of(arrivals_, [](const auto* count) { return count->load() > 0; });
}

}  // namespace ferry
