// Live migration of memory as QEMU does it (migration/migration.c and ram.c, about 9.0): passes
// over what is dirty while the guest runs, then a last one with the guest paused. Pure: it decides
// what to send next; a world sends it and says how fast that went.
#pragma once

#include "core/ports/hypervisor.hpp"
#include "core/units/units.hpp"

namespace ferry {

/// A guest's memory as a migration sees it.
struct GuestMemory {
  Bytes total;
  Bytes zero;  ///< in pages that were never written
};

/// Whole pages; the share is rounded down to them.
GuestMemory guest_memory(Bytes total, Ratio zero);

/// QEMU sends 8 bytes of header and 1 of content for a page of zeros.
inline constexpr Bytes zero_page_cost = Bytes(9);

/// Bytes of the first pass: all pages in full with `zero_pages_in_full` (RDMA with all memory
/// pinned writes pages without looking at them), else zero pages at `zero_page_cost`.
Bytes first_pass(const GuestMemory& memory, bool zero_pages_in_full);

/// What a guest dirties: rate x time since the last synchronisation, at most its working set.
class DirtyMeter {
 public:
  DirtyMeter(Bytes working_set, Bandwidth rate, TimePoint now)
      : working_set_(working_set), rate_(rate), since_(now) {}
  /// From `now` on; zero while the guest is paused.
  void set_rate(Bandwidth rate, TimePoint now);
  [[nodiscard]] Bytes dirty(TimePoint now) const;
  /// The most that is dirty at any time: the working set.
  [[nodiscard]] Bytes most() const { return working_set_; }
  /// Dirty until now; then starts again at none (synchronises the bitmap).
  Bytes take(TimePoint now);

 private:
  [[nodiscard]] double written(TimePoint now) const;
  Bytes working_set_;
  Bandwidth rate_;
  TimePoint since_;
  double written_ = 0;  // bytes before `since_`
};

/// The rounds of one pre-copy.
///
/// A round sends what is pending and ends as soon as less is left than can be sent within the
/// downtime limit at the present bandwidth; what was dirtied meanwhile is added; if that is still
/// less, the guest is paused and the rest is sent, else the next round begins.
///
/// QEMU takes the bandwidth over the last 100 ms. Here it is the flow's share at the end of a part,
/// which is the same unless flows began or ended within those 100 ms. A round is sent in as many
/// parts as it takes to meet the threshold: one if the share at its end is what it was before. If
/// the share has grown meanwhile, the round ends late, by at most the downtime limit times the
/// growth; then less is left for the pause, and nothing else changes. QEMU looks every 50 ms; to be
/// below the threshold and not at it, a round here sends `overshoot` of the threshold more.
class Precopy {
 public:
  static constexpr Ratio overshoot = Ratio(0.01);

  Precopy(Bytes first_pass, Bytes most_pending, Duration downtime_limit, int round_limit,
          Bandwidth expected);

  /// The next part of the present round; zero: the round is over.
  [[nodiscard]] Bytes next_part() const;
  /// After the part was sent.
  void part_done(Bytes sent, Bandwidth share);

  enum class Then { next_round, stop_and_copy, stalled };
  /// After the last part; `dirtied` since the last synchronisation. `stalled`: it has done
  /// `round_limit` rounds; `round` stays at the last one.
  Then round_done(Bytes dirtied);
  /// After `stalled`: the next round begins, and the limit is `round_limit`.
  void go_on(int round_limit);

  [[nodiscard]] int round() const { return round_; }  ///< from 1
  [[nodiscard]] Bytes pending() const { return pending_; }
  [[nodiscard]] Bytes sent_in_round() const { return sent_; }
  [[nodiscard]] Bandwidth bandwidth() const { return bandwidth_; }
  [[nodiscard]] Bytes threshold() const { return bandwidth_ * downtime_limit_; }

 private:
  Bytes pending_;
  Bytes most_pending_;
  Duration downtime_limit_;
  int round_limit_;
  Bandwidth bandwidth_;
  Bytes sent_;
  int round_ = 1;
};

}  // namespace ferry
