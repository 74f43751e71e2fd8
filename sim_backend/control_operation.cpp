#include "sim_backend/control_operation.hpp"

#include <algorithm>
#include <utility>

namespace ferry {
namespace {

Duration seconds(double count) {
  return Duration::nanoseconds(static_cast<std::int64_t>(count * 1e9 + 0.5));
}

}  // namespace

ControlOperation::ControlOperation(Scheduler& scheduler, CorePool& pool, double cpu,
                                   TimePoint begin, Duration time, std::function<void()> moved)
    : scheduler_(scheduler),
      pool_(pool),
      cpu_(cpu),
      moved_(std::move(moved)),
      left_(time.to_seconds()),
      since_(begin),
      done_(begin + time),
      turn_([this] { turn(); }) {
  scheduler_.schedule(turn_, begin);
}

ControlOperation::~ControlOperation() {
  if (turn_.scheduled()) scheduler_.unschedule(turn_);
  while (!waiting.empty()) scheduler_.wake(*waiting.first(), Wake::ready);
}

void ControlOperation::turn() {
  if (user_) {
    user_.reset();  // it is done
    return;
  }
  scheduler_.schedule(turn_, done_);
  user_.emplace(
      pool_,
      [this] {
        return CoreUse{std::max(1.0, cpu_), cpu_};
      },
      [this] { part_changed(); });
  part_changed();  // what it was told before it was there
}

double ControlOperation::speed() const {
  const double part = user_ ? user_->cores() : cpu_;
  if (part >= cpu_) return 1;
  const double needing = std::min(cpu_, 1.0);
  return 1 / (1 - needing + needing * cpu_ / part);
}

void ControlOperation::part_changed() {
  const TimePoint now = scheduler_.now();
  left_ = std::max(0.0, left_ - (now - since_).to_seconds() * speed_);
  since_ = now;
  const double before = std::exchange(speed_, speed());
  if (before == speed_) return;
  done_ = now + seconds(left_ / speed_);
  if (turn_.scheduled()) scheduler_.unschedule(turn_);
  scheduler_.schedule(turn_, done_);
  moved_();
  while (!waiting.empty()) scheduler_.wake(*waiting.first(), Wake::ready);
}

}  // namespace ferry
