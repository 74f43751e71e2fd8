#include "hw_backend/agent/clock_map.hpp"

#include <algorithm>

#include "core/units/check.hpp"

namespace ferry::agent {

void ClockMap::know(Duration guest, TimePoint controller) {
  // A guest that was started anew begins at 0 again; a late answer may overtake: both are left out.
  if (!moments_.empty() &&
      (guest <= moments_.back().guest || controller <= moments_.back().controller)) {
    return;
  }
  moments_.push_back({guest, controller});
}

TimePoint ClockMap::to_controller(Duration guest) const {
  check(!moments_.empty(), "the guest's clock has been asked for");
  const auto next =
      std::lower_bound(moments_.begin(), moments_.end(), guest,
                       [](const Moment& moment, Duration time) { return moment.guest < time; });
  if (next == moments_.begin()) return next->controller - (next->guest - guest);
  const Moment& before = *(next - 1);
  if (next == moments_.end()) return before.controller + (guest - before.guest);
  const double part =
      (guest - before.guest).to_seconds() / (next->guest - before.guest).to_seconds();
  return before.controller + (next->controller - before.controller) * part;
}

}  // namespace ferry::agent
