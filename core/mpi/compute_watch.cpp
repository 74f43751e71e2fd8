#include "core/mpi/compute_watch.hpp"

namespace ferry::mpi {

ComputeWatch::ComputeWatch(Executor& executor)
    : mutex_(executor.make_mutex()), changed_(executor.make_condition()) {}

void ComputeWatch::begins(TimePoint until) {
  if (waiting_.load(std::memory_order_acquire) == 0) return;
  const Lock lock(*mutex_);
  ++count_;
  until_ = until;
  changed_->notify_all();
}

void ComputeWatch::ends() {
  const Lock lock(*mutex_);
  ended_ = true;
  changed_->notify_all();
}

std::optional<TimePoint> ComputeWatch::next() {
  const Lock lock(*mutex_);
  waiting_.fetch_add(1, std::memory_order_acq_rel);
  const std::uint64_t before = count_;
  bool cancelled = false;
  while (!ended_ && !cancelled && count_ == before) {
    cancelled = changed_->wait_until(*mutex_, TimePoint::never()) == Wake::cancelled;
  }
  waiting_.fetch_sub(1, std::memory_order_acq_rel);
  return count_ == before ? std::nullopt : std::optional(until_);
}

}  // namespace ferry::mpi
