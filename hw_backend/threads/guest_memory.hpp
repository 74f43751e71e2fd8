// What a pretend guest does to its memory, and what pre-copy makes of it. Pure arithmetic: time is
// an argument.
#pragma once

#include <optional>

#include "core/units/units.hpp"

namespace ferry {

/// How fast a guest dirties pages, and how many of them: the same ones again and again.
struct Dirtying {
  Bytes working_set;   ///< the most that is dirty at any time
  Bandwidth idle;      ///< always, unless paused
  Bandwidth of_ranks;  ///< on top of it, while the ranks run
};

/// The dirty log of one guest: bytes of pages dirtied since they were last taken from it.
class DirtyLog {
 public:
  explicit DirtyLog(const Dirtying& dirtying) : dirtying_(dirtying) {}
  void set_ranks_running(bool running, TimePoint now);
  void set_paused(bool paused, TimePoint now);
  /// The share of processor time that the guest does not get.
  void set_throttle(Ratio share, TimePoint now);

  /// Present speed; zero while paused.
  [[nodiscard]] Bandwidth rate() const;
  /// What is dirty at `now`, which is not before any earlier argument.
  [[nodiscard]] Bytes dirty(TimePoint now) const;
  /// What is dirty at `now`; from then on nothing is.
  Bytes take(TimePoint now);
  [[nodiscard]] Bytes working_set() const { return dirtying_.working_set; }

 private:
  Dirtying dirtying_;
  bool ranks_running_ = false;
  bool paused_ = false;
  Ratio throttle_;
  TimePoint since_;  ///< `settled_` is of this time
  Bytes settled_;
};

/// A pre-copy round at one moment.
struct RoundState {
  Bytes to_send;        ///< not sent yet in this round
  Bytes dirty;          ///< dirtied since the round began
  Bandwidth rate;       ///< at which more is dirtied
  Bytes working_set;    ///< `dirty` grows to this and no further
  Bandwidth bandwidth;  ///< at which `to_send` shrinks
  Bytes threshold;      ///< switch-over when to_send + dirty is at most this
};

/// How long until what is pending falls to the threshold, if it does so before the round ends and
/// nothing changes meanwhile. QEMU's condition (pending < bandwidth x downtime limit), tested
/// continuously; pending(t) = to_send - bandwidth t + min(dirty + rate t, working set).
std::optional<Duration> time_to_switch_over(const RoundState& state);

}  // namespace ferry
