// One VM between the suspension and the reactivation of its jobs: devices go, memory moves, devices
// come back; and the way back when something fails.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "core/migration/context.hpp"

namespace ferry {

/// How the inner steps ended.
struct MoveEnd {
  Outcome outcome = Outcome::completed;
  std::string reason;
  HostId host;  ///< where the VM runs now
  TransferReport transfer;
  std::optional<TimePoint> vf_gone;  ///< when the guest lost its virtual function
};

/// `detach_vf` and `remove_ivshmem` (at once where the hypervisor allows), `migration`, then
/// `attach_vf` and `add_ivshmem` likewise.
/// Both hosts must be reserved. Cancellation counts until memory has arrived; after that, and on
/// every way back, nothing is cut short. What each failure may lead to: `fault_table.hpp`.
class Move {
 public:
  Move(MigrationContext& context, std::size_t move, HostId from, HostId to);
  /// Blocks until the VM is at rest. Never leaves a device that it took away unless no host could
  /// attach it again (`degraded`).
  MoveEnd run();

 private:
  class Observer;
  struct DeviceResults {
    Result<> virtual_function;
    Result<> ivshmem;
  };

  DeviceResults release_devices();
  /// Attaches what is missing, each with a second attempt; on the VM's present host.
  DeviceResults restore_devices();
  Result<> detach(DeviceKind kind);
  Result<> attach(DeviceKind kind);
  Result<> attach_once(DeviceKind kind);
  Result<TransferReport> transfer(HostId destination);
  void settle(Outcome otherwise, const std::string& reason);
  void go_back(const std::string& reason);
  /// One step for each device that the VM has: side by side where the hypervisor allows it, else one
  /// after the other, and the second not at all if the first fails.
  [[nodiscard]] DeviceResults both(const std::function<Result<>(DeviceKind)>& step);
  void record(Phase phase, TimePoint start, bool completed);

  MigrationContext& context_;
  const MoveSpec& spec_;
  const VmSpec& vm_;
  HostId from_;
  HostId to_;
  MoveEnd end_;
};

}  // namespace ferry
