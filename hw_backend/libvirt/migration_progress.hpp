// From libvirt's job statistics to rounds and to the report of a transfer.
//
// QEMU tells each synchronisation of its dirty bitmap (event MIGRATION_PASS, libvirt's
// MIGRATION_ITERATION): the first begins round 1, each later one ends a round and begins the next,
// and the last one begins the stop-and-copy.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/ports/hypervisor.hpp"

struct _virTypedParameter;

namespace ferry {

/// What is not reported is zero.
struct JobStatistics {
  bool known = false;  ///< libvirt gave any at all
  Bytes processed;     ///< memory sent since the migration began
  Bytes remaining;     ///< memory still to be sent
  Duration downtime;   ///< guest paused
  int iteration = 0;   ///< synchronisations of the dirty bitmap
  int throttle = 0;    ///< auto-converge: percent of time taken from the guest
};

JobStatistics read_statistics(const _virTypedParameter* parameters, int count);

class RoundTracker {
 public:
  explicit RoundTracker(TimePoint start) : round_began_(start) {}

  /// `iteration` of this attempt begins; the round before it, if there is one, has ended. With no
  /// statistics its bytes are counted with the next round.
  std::optional<RoundReport> iteration_begins(int iteration, TimePoint at,
                                              const JobStatistics& statistics);
  /// The attempt was aborted; another one begins.
  void begin_again(TimePoint at);
  /// The guest runs on the destination and the source has cleaned up: the last round, which is the
  /// stop-and-copy, or what was sent after the switch to `postcopy`.
  RoundReport finish(TimePoint at, const JobStatistics& statistics, bool postcopy);

  /// Sums of what was reported.
  [[nodiscard]] Bytes bytes() const { return bytes_; }
  [[nodiscard]] int rounds() const { return rounds_; }

 private:
  RoundReport close_round(TimePoint at, const JobStatistics& statistics, Bytes dirty);

  TimePoint round_began_;
  int rounds_ = 0;
  Bytes bytes_;
  Bytes processed_;  ///< of this attempt, as far as it was reported
  int iteration_ = 0;
};

}  // namespace ferry
