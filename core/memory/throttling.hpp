// QEMU's auto-converge: a guest that dirties memory too fast gets less processor time. As in QEMU
// about 9.0: `migration_trigger_throttle` and `mig_throttle_guest_down` of migration/ram.c, the
// defaults of migration/options.c. Pure: time is an argument.
#pragma once

#include "core/units/units.hpp"

namespace ferry {

/// Looks at each synchronisation of the dirty bitmap, that is at the end of each round, if more
/// than a second has passed since it last looked. If then more than half of what was sent meanwhile
/// was dirtied, for the second time, the guest is throttled: by 20 % at first, then by 10 % more,
/// by 99 % at most.
class AutoConverge {
 public:
  static constexpr Duration period = Duration::milliseconds(1000);
  static constexpr Ratio trigger = Ratio(0.5);  ///< throttle-trigger-threshold
  static constexpr int high_periods = 2;
  static constexpr int first_percent = 20;    ///< cpu-throttle-initial
  static constexpr int further_percent = 10;  ///< cpu-throttle-increment
  static constexpr int most_percent = 99;     ///< max-cpu-throttle

  /// Begins to look at `now`, when the bitmap was synchronised.
  explicit AutoConverge(TimePoint now) : looked_(now) {}

  /// The bitmap is synchronised; since the last time `dirtied` bytes of pages were dirtied and
  /// `sent` went over the network. True: the throttle has changed.
  bool synchronised(TimePoint now, Bytes dirtied, Bytes sent);

  /// The share of processor time that the guest does not get. Dirtying slows down by as much.
  [[nodiscard]] Ratio throttle() const { return Ratio(percent_ / 100.0); }

 private:
  TimePoint looked_;
  Bytes dirtied_;  ///< since then
  Bytes sent_;
  int high_ = 0;
  int percent_ = 0;
};

}  // namespace ferry
