#include "core/memory/precopy.hpp"

#include <algorithm>
#include <cmath>

#include "core/units/check.hpp"

namespace ferry {

GuestMemory guest_memory(Bytes total, Ratio zero) {
  const std::uint64_t pages = (total * zero.value()).count() / Pages::size().count();
  return {total, Pages(pages).bytes()};
}

Bytes first_pass(const GuestMemory& memory, bool zero_pages_in_full) {
  if (zero_pages_in_full) return memory.total;
  return memory.total - memory.zero +
         Bytes(Pages::holding(memory.zero).count() * zero_page_cost.count());
}

double DirtyMeter::written(TimePoint now) const {
  return written_ + rate_.to_bytes_per_second() * (now - since_).to_seconds();
}

void DirtyMeter::set_rate(Bandwidth rate, TimePoint now) {
  written_ = written(now);
  rate_ = rate;
  since_ = now;
}

Bytes DirtyMeter::dirty(TimePoint now) const {
  const double most = static_cast<double>(working_set_.count());
  return Bytes(static_cast<std::uint64_t>(std::llround(std::min(written(now), most))));
}

Bytes DirtyMeter::take(TimePoint now) {
  const Bytes taken = dirty(now);
  written_ = 0;
  since_ = now;
  return taken;
}

Precopy::Precopy(Bytes first_pass, Bytes most_pending, Duration downtime_limit, int round_limit,
                 Bandwidth expected)
    : pending_(first_pass),
      most_pending_(most_pending),
      downtime_limit_(downtime_limit),
      round_limit_(round_limit),
      bandwidth_(expected) {
  check(round_limit >= 1, "pre-copy has at least one round");
}

Bytes Precopy::next_part() const {
  const Bytes goal = threshold() * (1.0 - overshoot.value());
  if (round_ == 1 && sent_ == Bytes(0)) {
    // QEMU knows no bandwidth before it has sent for 100 ms.
    return std::min(pending_, std::max(pending_ - goal, bandwidth_ * Duration::milliseconds(100)));
  }
  return pending_ < threshold() ? Bytes(0) : pending_ - goal;
}

void Precopy::part_done(Bytes sent, Bandwidth share) {
  pending_ = pending_ - sent;
  sent_ += sent;
  bandwidth_ = share;
}

Precopy::Then Precopy::round_done(Bytes dirtied) {
  pending_ = std::min(pending_ + dirtied, most_pending_);
  if (pending_ == Bytes(0) || pending_ < threshold()) {
    ++round_;
    sent_ = Bytes(0);
    return Then::stop_and_copy;
  }
  if (round_ == round_limit_) return Then::stalled;
  ++round_;
  sent_ = Bytes(0);
  return Then::next_round;
}

void Precopy::go_on(int round_limit) {
  check(round_limit > round_, "a pre-copy that goes on has a further round");
  round_limit_ = round_limit;
  ++round_;
  sent_ = Bytes(0);
}

}  // namespace ferry
