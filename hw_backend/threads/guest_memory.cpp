#include "hw_backend/threads/guest_memory.hpp"

#include <algorithm>

namespace ferry {

void DirtyLog::set_ranks_running(bool running, TimePoint now) {
  settled_ = dirty(now);
  since_ = now;
  ranks_running_ = running;
}

void DirtyLog::set_paused(bool paused, TimePoint now) {
  settled_ = dirty(now);
  since_ = now;
  paused_ = paused;
}

void DirtyLog::set_throttle(Ratio share, TimePoint now) {
  settled_ = dirty(now);
  since_ = now;
  throttle_ = share;
}

Bandwidth DirtyLog::rate() const {
  if (paused_) return {};
  const Bandwidth rate = ranks_running_ ? dirtying_.idle + dirtying_.of_ranks : dirtying_.idle;
  return rate * (1.0 - throttle_.value());
}

Bytes DirtyLog::dirty(TimePoint now) const {
  return std::min(settled_ + rate() * (now - since_), dirtying_.working_set);
}

Bytes DirtyLog::take(TimePoint now) {
  const Bytes taken = dirty(now);
  settled_ = Bytes();
  since_ = now;
  return taken;
}

std::optional<Duration> time_to_switch_over(const RoundState& state) {
  const double to_send = static_cast<double>(state.to_send.count());
  const double dirty = static_cast<double>(std::min(state.dirty, state.working_set).count());
  const double working_set = static_cast<double>(state.working_set.count());
  const double threshold = static_cast<double>(state.threshold.count());
  const double bandwidth = state.bandwidth.to_bytes_per_second();
  const double rate = state.rate.to_bytes_per_second();
  const double round_seconds = to_send / bandwidth;

  if (to_send + dirty <= threshold) return Duration::zero();
  // While the working set fills, pending shrinks by bandwidth - rate; afterwards by bandwidth.
  const double full_seconds = rate > 0 ? (working_set - dirty) / rate : round_seconds;
  double seconds = (to_send + working_set - threshold) / bandwidth;
  if (bandwidth > rate) {
    const double filling = (to_send + dirty - threshold) / (bandwidth - rate);
    if (filling <= full_seconds) seconds = filling;
  }
  if (seconds > round_seconds) return std::nullopt;
  return Duration::seconds(seconds);
}

}  // namespace ferry
