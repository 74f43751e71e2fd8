// A hypervisor that fails or stalls where the scenario says so.
#pragma once

#include <list>
#include <memory>
#include <vector>

#include "core/faults/cluster_faults.hpp"
#include "core/ports/clock.hpp"
#include "core/ports/executor.hpp"
#include "core/ports/hypervisor.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

/// A fault fires when its phase of its VM is asked of the inner hypervisor: `fail` answers `failed`
/// without asking; `stall` (the first time only) starts the operation that much later, so that it
/// may time out; an unplug that timed out still completes, see `await_detached`. An operation that
/// stalls counts as under way: `inspect` and `await_settled` see it, `cancel_migration` ends it. No
/// stall outlives the VM's host.
class FaultyHypervisor : public Hypervisor {
 public:
  FaultyHypervisor(Hypervisor& inner, Clock& clock, Executor& executor, const Instance& instance);

  Result<> set_status(VmId vm, Phase phase, TimePoint deadline) override;
  Result<> detach(VmId vm, DeviceKind kind, TimePoint deadline) override;
  Result<> await_detached(VmId vm, DeviceKind kind, TimePoint deadline) override;
  Result<> attach(VmId vm, DeviceKind kind, TimePoint deadline) override;
  Result<TransferReport> migrate(VmId vm, HostId destination, const TransferOptions& options,
                                 TransferObserver& observer, TimePoint deadline) override;
  [[nodiscard]] bool devices_at_once() const override { return inner_.devices_at_once(); }
  [[nodiscard]] VmInspection inspect(VmId vm) const override;
  [[nodiscard]] bool reachable(HostId host) const override { return inner_.reachable(host); }
  Result<> await_settled(VmId vm, TimePoint deadline) override;
  Result<> cancel_migration(VmId vm) override;

 private:
  struct Armed {
    FaultSpec fault;
    bool spent = false;
  };
  /// An unplug that was asked for and begins only at `begins`.
  struct LateUnplug {
    VmId vm;
    DeviceKind kind;
    TimePoint begins;
  };
  /// A call that has not returned and changes where a VM is or what it has.
  struct UnderWay {
    VmId vm;
    Phase phase;
    bool stalls = false;
    bool aborted = false;
  };
  class Registered;

  /// Fails or waits as the faults for this phase say; a value means "go on with the operation".
  /// `operation`: none for one that changes only a status.
  Result<> strike(VmId vm, Phase phase, TimePoint deadline, UnderWay* operation);
  Result<> stall(VmId vm, Phase phase, Duration time, TimePoint deadline, UnderWay* operation);
  /// When the VM's host goes down, or is.
  [[nodiscard]] TimePoint end_of_host(VmId vm) const;
  [[nodiscard]] std::list<LateUnplug>::iterator find_late(VmId vm, DeviceKind kind);

  Hypervisor& inner_;
  Clock& clock_;
  const Instance& instance_;
  const ClusterFaults cluster_;
  std::unique_ptr<Mutex> mutex_;
  std::unique_ptr<Condition> changed_;  ///< of what is late or under way
  std::vector<Armed> armed_;
  std::list<LateUnplug> late_;
  std::list<UnderWay> under_way_;
};

}  // namespace ferry
