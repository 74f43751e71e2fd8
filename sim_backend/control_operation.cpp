#include "sim_backend/control_operation.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace ferry {
namespace {

Duration seconds(double count) {
  return Duration::nanoseconds(std::llround(count * 1e9));
}

}  // namespace

ControlOperation::ControlOperation(Scheduler& scheduler, CorePool& pool, OperationNeed need,
                                   GuestOperations& guest, TimePoint begin, Duration time,
                                   std::function<void()> moved)
    : scheduler_(scheduler),
      pool_(pool),
      cpu_(need.cpu),
      guest_(guest),
      moved_(std::move(moved)),
      left_(time.to_seconds() * need.busy),
      waits_(time - seconds(left_)),
      since_(begin),
      done_(begin + time),
      turn_([this] { turn(); }) {
  scheduler_.schedule(turn_, begin);
}

ControlOperation::~ControlOperation() {
  if (turn_.scheduled()) scheduler_.unschedule(turn_);
  if (user_) go();
  while (!waiting.empty()) scheduler_.wake(*waiting.first(), Wake::ready);
}

void ControlOperation::turn() {
  if (user_) {
    go();  // it has computed
    return;
  }
  scheduler_.schedule(turn_, done_ - waits_);
  come();
}

void ControlOperation::come() {
  guest_.under_way_.push_back(this);
  user_.emplace(
      pool_,
      [this] {
        const double share = own() / cpu_;
        return CoreUse{std::max(1.0, cpu_) * share, own()};
      },
      [this] { part_changed(); });
  // This one was told before it was there; of the others the part may be as before, and not what it
  // is a part of.
  for (ControlOperation* const each : guest_.under_way_) each->part_changed();
}

void ControlOperation::go() {
  std::erase(guest_.under_way_, this);
  user_.reset();
  for (ControlOperation* const each : guest_.under_way_) each->part_changed();
}

double ControlOperation::speed() const {
  if (!user_ || user_->cores() >= own()) return 1;
  const double needing = std::min(cpu_, 1.0);
  return 1 / (1 - needing + needing * own() / user_->cores());
}

void ControlOperation::part_changed() {
  const TimePoint now = scheduler_.now();
  left_ = std::max(0.0, left_ - (now - since_).to_seconds() * speed_);
  since_ = now;
  const double before = std::exchange(speed_, speed());
  if (before == speed_) return;
  done_ = now + seconds(left_ / speed_) + waits_;
  if (turn_.scheduled()) scheduler_.unschedule(turn_);
  scheduler_.schedule(turn_, done_ - waits_);
  moved_();
  while (!waiting.empty()) scheduler_.wake(*waiting.first(), Wake::ready);
}

}  // namespace ferry
