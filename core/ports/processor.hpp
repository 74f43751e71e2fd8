// Work of guests and ranks that costs time: real on hardware, virtual in simulation.
#pragma once

#include <optional>
#include <span>

#include "core/ports/clock.hpp"
#include "core/ports/types.hpp"
#include "core/units/units.hpp"

namespace ferry {

class Processor {
 public:
  virtual ~Processor() = default;
  /// Whether the ranks of `vm` compute (and so dirty its pages) or wait inside the library. A world
  /// with real guests sees for itself and ignores this. Never blocks.
  virtual void set_ranks_running(VmId vm, bool running) = 0;

  /// Computes for `work` of an undisturbed processor, in the calling task. A rank of a VM (`vm`)
  /// stands still while its guest is paused. Blocks; `timed_out` when it is done, `cancelled`: also
  /// when the guest is lost, with which its ranks end.
  virtual Wake compute(std::optional<VmId> vm, Duration work) = 0;
  /// A cost of the library itself (a call, a lock, a reduction), known beforehand: in simulation
  /// added to the calling task's time and spent at its next wait; on hardware nothing, since there
  /// it was spent already. Never blocks.
  virtual void spend(Duration cost) = 0;
  /// What each of these guests does for the caller, side by side (opening a device, hearing of a
  /// request), in `cost` of a processor of its own: where guests compete for cores, the calling
  /// task blocks until all have done so; `timed_out`, also at the deadline, or `cancelled`. None:
  /// this world does not know what else their processors do; nothing happened, and the caller
  /// passes the time.
  virtual std::optional<Wake> occupy(std::span<const VmId> vms, Duration cost,
                                     TimePoint deadline) = 0;
};

}  // namespace ferry
