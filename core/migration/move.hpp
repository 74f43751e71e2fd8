// One VM between the suspension and the reactivation of its jobs: devices go, memory moves, devices
// come back; and the way back when something fails.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "core/migration/context.hpp"
#include "core/migration/journal_history.hpp"
#include "core/migration/wave_move.hpp"

namespace ferry {

/// How the inner steps ended.
struct MoveEnd {
  Outcome outcome = Outcome::completed;
  std::string reason;
  HostId host;  ///< where the VM runs now
  TransferReport transfer;
  /// When the guest lost its virtual function and, with it, its network.
  std::optional<TimePoint> vf_gone;
  Duration redirected;  ///< failover: its traffic flowed nowhere until it was redirected
  /// As in `MoveRecord`; only of pauses and, with failover, of redirection and the slower NIC.
  Duration lost_traffic;
  /// After a recovery only: why the VM could not be brought to rest. Nothing else is known then.
  std::optional<std::string> unsettled;
};

/// `detach_vf` and `remove_ivshmem` (at once where the hypervisor allows), `migration`, then
/// `attach_vf` and `add_ivshmem` likewise.
/// Both hosts must be reserved. Cancellation counts until memory has arrived; after that, and on
/// every way back, nothing is cut short. What each failure may lead to: `fault_table.hpp`.
class Move {
 public:
  Move(MigrationContext& context, const WaveMove& move);
  /// Blocks until the VM is at rest. Never leaves a device that it took away unless no host could
  /// attach it again (`degraded`), or the VM went down with its host (`lost`).
  MoveEnd run();
  /// The same for a move that an earlier controller began and that nobody looks after any more:
  /// waits for what is at work, then goes forward if memory has arrived, else back. Not ended by
  /// cancellation.
  MoveEnd recover(const MoveHistory& before);

 private:
  class Observer;
  struct DeviceResults {
    Result<> virtual_function;
    Result<> ivshmem;
  };

  enum class AfterFailure : std::uint8_t { ends, goes_on };

  DeviceResults release_devices();
  /// Attaches what is missing, each with a second attempt; on the VM's present host.
  DeviceResults restore_devices(AfterFailure then);
  /// `restore_devices` on the destination, or the way back.
  void restore_or_go_back();
  Result<> detach(DeviceKind kind);
  /// failover: waits until the guest's traffic flows again and accounts for the time.
  Result<> await_traffic(Duration patience);
  void note_traffic();
  Result<> attach(DeviceKind kind);
  Result<> attach_once(DeviceKind kind);
  Result<TransferReport> transfer(HostId destination);
  void settle(Outcome otherwise, const std::string& reason);
  /// Of the devices' results one that says that the VM is lost; or null.
  [[nodiscard]] static const Failure* loss_in(const DeviceResults& results);
  void lose(const std::string& reason);
  void go_back(const std::string& reason);
  [[nodiscard]] Result<> await_settled(const MoveHistory& before);
  void finish_detaches(const MoveHistory& before);
  /// Writes how the phases ended that the journal knows the beginning of.
  void end_open_phases(const MoveHistory& before, const VmInspection& found);
  /// One step for each device that the VM has: side by side where the hypervisor allows it, else
  /// one after the other; `then`: whether the second is tried though the first has failed.
  [[nodiscard]] DeviceResults both(AfterFailure then,
                                   const std::function<Result<>(DeviceKind)>& step);
  void record(Phase phase, HostId host, TimePoint start, TimePoint end, records::PhaseEnd how);
  [[nodiscard]] const std::string& name(HostId host) const {
    return context_.instance.hosts[host.index].name;
  }

  MigrationContext& context_;
  const MoveSpec& spec_;
  const VmSpec& vm_;
  HostId from_;
  HostId to_;
  MoveEnd end_;
  // The guest's traffic flows at this share of its virtual function's throughput, since then.
  Ratio throughput_{1};
  TimePoint flows_since_;
};

}  // namespace ferry
