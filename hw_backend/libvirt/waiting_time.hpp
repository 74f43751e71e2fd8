// How long each VM's operations took, and how much of that was spent waiting for libvirt or a
// guest: the rest is the controller's own time.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "core/ports/clock.hpp"
#include "core/ports/types.hpp"
#include "core/units/units.hpp"

namespace ferry {

/// Of one VM. What overlaps (two devices at once) counts once.
struct VmTimes {
  Duration in_port;  ///< in calls on the hypervisor port
  Duration awaited;  ///< of that: a libvirt call, or an event of libvirt or the guest, was awaited
  std::uint64_t libvirt_calls = 0;

  /// Ferry's own time within its operations on this VM.
  [[nodiscard]] Duration own() const { return in_port - awaited; }
};

class WaitingTime {
 public:
  WaitingTime(const Clock& clock, std::size_t vms) : clock_(clock), vms_(vms) {}

  enum class Kind { port, awaited };

  /// Counts the time of its scope.
  class Scope {
   public:
    Scope(WaitingTime& times, VmId vm, Kind kind) : times_(times), vm_(vm), kind_(kind) {
      times_.change(vm_, kind_, +1);
    }
    ~Scope() { times_.change(vm_, kind_, -1); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    WaitingTime& times_;
    VmId vm_;
    Kind kind_;
  };

  void count_call(VmId vm);
  /// By VmId, of all scopes that have ended.
  [[nodiscard]] std::vector<VmTimes> read() const;

 private:
  struct Meter {
    int open = 0;
    TimePoint since;
    Duration total;
  };
  struct Meters {
    Meter port;
    Meter awaited;
    std::uint64_t calls = 0;
  };
  void change(VmId vm, Kind kind, int by);

  const Clock& clock_;
  mutable std::mutex mutex_;
  std::vector<Meters> vms_;
};

}  // namespace ferry
