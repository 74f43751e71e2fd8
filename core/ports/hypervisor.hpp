// What the framework asks of hypervisors. Calls block until the *event* that ends the operation (a
// device is gone, a port is active), not until the request was taken.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/ports/result.hpp"
#include "core/ports/types.hpp"
#include "core/units/units.hpp"

namespace ferry {

struct TransferOptions {
  Transport transport = Transport::tcp;
  DeviceStrategy device = DeviceStrategy::detach;  ///< vfio: an attached virtual function moves too
  MemoryMode mode = MemoryMode::precopy;
  /// Pre-copy switches over when what is pending would take no longer than this.
  Duration downtime_limit = Duration::milliseconds(300);
  Bandwidth bandwidth_limit = Bandwidth::unlimited();
  bool pin_all = true;  ///< with rdma: register all guest memory first; zero pages are sent too
  int max_rounds = 30;  ///< pre-copy that has not converged after so many rounds has stalled
  bool auto_converge = false;  ///< throttle the guest when it dirties too much, as QEMU does
  Compression compression = Compression::none;
  std::uint32_t streams = 1;  ///< above 1: so many channels of multifd
  /// What happens when pre-copy stalls: the first time the first entry, and pre-copy has another
  /// `max_rounds` rounds; and so on. `abort`, or the end of the list, ends the move.
  std::vector<OnStall> on_stall = {OnStall::abort};
};

/// One pre-copy iteration, the final stop-and-copy, or what post-copy sent after the switch-over.
struct RoundReport {
  int round = 0;  ///< from 1
  Bytes bytes;    ///< sent in this round
  Duration time;
  Bytes dirty_bytes;  ///< pages dirtied during the round (what the next one must send)
};

struct TransferReport {
  Duration downtime;      ///< guest paused
  Bytes bytes;            ///< sent in all rounds
  int rounds = 0;         ///< the final stop-and-copy included
  std::string note = {};  ///< what was done about a pre-copy that stalled; empty: it did not
};

/// Told of rounds while a transfer runs; must not block, nor throw.
class TransferObserver {
 public:
  virtual ~TransferObserver() = default;
  virtual void round_done(VmId vm, const RoundReport& round) = 0;
};

/// What a hypervisor knows of a VM now.
struct VmInspection {
  HostId host;
  bool running = false;
  bool virtual_function = false;  ///< attached and usable
  bool ivshmem = false;
  bool moving = false;  ///< a migration of it is under way, whoever asked for it
};

/// Any call may fail as `lost`: the VM's host is down, or the VM went down with it.
class Hypervisor {
 public:
  virtual ~Hypervisor() = default;

  /// Marks the VM as about to move / as moved (phases set_pre_migration and set_post_migration).
  virtual Result<> set_status(VmId vm, Phase phase, TimePoint deadline) = 0;
  /// Blocks until the device is gone from the guest. After `timed_out` the unplug cannot be
  /// withdrawn: it completes later, see `await_detached`. A device that is not there is gone.
  virtual Result<> detach(VmId vm, DeviceKind kind, TimePoint deadline) = 0;
  /// Waits for an earlier `detach` that timed out.
  virtual Result<> await_detached(VmId vm, DeviceKind kind, TimePoint deadline) = 0;
  /// Blocks until the guest can use the device (port active). On the VM's present host.
  virtual Result<> attach(VmId vm, DeviceKind kind, TimePoint deadline) = 0;
  /// With `failover`, after its virtual function has gone or has come: blocks until the guest's
  /// traffic flows again, over its paravirtual NIC or over the function. Guests redirect it by
  /// themselves: nothing is changed by this call, or by leaving it out. Returns how much of the
  /// function's throughput the guest has now. `refused`: it has no paravirtual NIC to fall back to.
  virtual Result<Ratio> await_traffic(VmId vm, TimePoint deadline) = 0;
  /// Moves the VM. `refused` while a device is attached that blocks migration. On any failure but
  /// `lost` the VM still runs on its source host. Cancellation aborts the move in the same way.
  /// From the switch-over on there is no way back: neither cancellation nor the deadline ends the
  /// move, also while post-copy still fetches memory from the source.
  virtual Result<TransferReport> migrate(VmId vm, HostId destination,
                                         const TransferOptions& options, TransferObserver& observer,
                                         TimePoint deadline) = 0;
  /// Whether a VM's devices may be plugged and unplugged at the same time; else one after the
  /// other.
  [[nodiscard]] virtual bool devices_at_once() const = 0;
  /// May ask the hypervisor; blocks no longer than one call to it.
  [[nodiscard]] virtual VmInspection inspect(VmId vm) const = 0;
  /// Whether the hypervisor of `host` can be reached now. Blocks no longer than one call to it.
  [[nodiscard]] virtual bool reachable(HostId host) const = 0;

  // What an earlier controller left at work.

  /// Blocks until no migration, unplug or plug of `vm` is under way, however it ends. Cancels
  /// nothing. At once if nothing is.
  virtual Result<> await_settled(VmId vm, TimePoint deadline) = 0;
  /// Asks for the end of a migration that is under way; `await_settled` then sees its end, and the
  /// VM runs on its source host. `refused`, with nothing changed, if none is under way or the VM
  /// has been switched over to its destination: then it arrives.
  virtual Result<> cancel_migration(VmId vm) = 0;
};

}  // namespace ferry
