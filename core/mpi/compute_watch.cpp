#include "core/mpi/compute_watch.hpp"

namespace ferry::mpi {

ComputeWatch::ComputeWatch(Executor& executor)
    : mutex_(executor.make_mutex()), changed_(executor.make_condition()) {}

void ComputeWatch::begins(TimePoint until) {
  until_.store(until.since_start().count_nanoseconds());
  if (waiting_.load() == 0) return;
  const Lock lock(*mutex_);
  ++count_;
  changed_->notify_all();
}

void ComputeWatch::ends() {
  const Lock lock(*mutex_);
  ended_ = true;
  changed_->notify_all();
}

std::optional<TimePoint> ComputeWatch::next(TimePoint least) {
  const auto until = [this] { return TimePoint::at(Duration::nanoseconds(until_.load())); };
  const Lock lock(*mutex_);
  waiting_.fetch_add(1);  // from here on `begins` counts
  const std::uint64_t before = count_;
  bool cancelled = false;
  bool computes = until() > least;
  while (!computes && !ended_ && !cancelled) {
    cancelled = changed_->wait_until(*mutex_, TimePoint::never()) == Wake::cancelled;
    computes = count_ != before;
  }
  waiting_.fetch_sub(1);
  return computes ? std::optional(until()) : std::nullopt;
}

}  // namespace ferry::mpi
