#include "core/faults/faulty_hypervisor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

namespace ferry {
namespace {

Phase leaving_phase(DeviceKind kind) {
  return kind == DeviceKind::virtual_function ? Phase::detach_vf : Phase::remove_ivshmem;
}

Phase coming_phase(DeviceKind kind) {
  return kind == DeviceKind::virtual_function ? Phase::attach_vf : Phase::add_ivshmem;
}

}  // namespace

/// Scope of a call that is under way. Without faults nobody needs to know of it.
class FaultyHypervisor::Registered {
 public:
  Registered(FaultyHypervisor& hypervisor, VmId vm, Phase phase) : hypervisor_(hypervisor) {
    if (hypervisor.armed_.empty()) return;
    Lock lock(*hypervisor.mutex_);
    operation_ = hypervisor.under_way_.insert(hypervisor.under_way_.end(), {vm, phase});
  }
  ~Registered() {
    if (!operation_) return;
    Lock lock(*hypervisor_.mutex_);
    hypervisor_.under_way_.erase(*operation_);
    hypervisor_.changed_->notify_all();
  }
  Registered(const Registered&) = delete;
  Registered& operator=(const Registered&) = delete;
  [[nodiscard]] UnderWay* operation() { return operation_ ? &**operation_ : nullptr; }

 private:
  FaultyHypervisor& hypervisor_;
  std::optional<std::list<UnderWay>::iterator> operation_;
};

FaultyHypervisor::FaultyHypervisor(Hypervisor& inner, Clock& clock, Executor& executor,
                                   const Instance& instance)
    : inner_(inner),
      clock_(clock),
      instance_(instance),
      cluster_(instance),
      mutex_(executor.make_mutex()),
      changed_(executor.make_condition()) {
  for (const FaultSpec& fault : instance.faults) armed_.push_back({fault, false});
}

Result<> FaultyHypervisor::strike(VmId vm, Phase phase, TimePoint deadline, UnderWay* operation) {
  Duration time = Duration::zero();
  {
    Lock lock(*mutex_);
    for (Armed& armed : armed_) {
      if (armed.fault.vm != vm || armed.fault.phase != phase || armed.spent) continue;
      if (armed.fault.fail != Fault::Fail::no) {
        armed.spent = armed.fault.fail == Fault::Fail::once;
        return failure(FailureKind::failed, fmt::format("fault: {} of {} fails", to_name(phase),
                                                        instance_.vms[vm.index].name));
      }
      armed.spent = true;
      time += armed.fault.stall;
    }
  }
  return time == Duration::zero() ? Result<>{} : stall(vm, phase, time, deadline, operation);
}

Result<> FaultyHypervisor::stall(VmId vm, Phase phase, Duration time, TimePoint deadline,
                                 UnderWay* operation) {
  const TimePoint end = std::min(clock_.now() + time, end_of_host(vm));
  const auto aborted = [operation] { return operation != nullptr && operation->aborted; };
  Wake wake = Wake::ready;
  Lock lock(*mutex_);
  if (operation != nullptr) operation->stalls = true;
  while (wake == Wake::ready && !aborted()) {
    wake = changed_->wait_until(*mutex_, std::min(end, deadline));
  }
  if (operation != nullptr) operation->stalls = false;
  const std::string& name = instance_.vms[vm.index].name;
  if (aborted()) {
    return failure(FailureKind::failed,
                   fmt::format("{} of {} was cancelled from elsewhere", to_name(phase), name));
  }
  if (wake == Wake::cancelled) return failure(FailureKind::cancelled, "cancelled");
  if (end > deadline) {
    return failure(FailureKind::timed_out,
                   fmt::format("{} of {} did not end in time", to_name(phase), name));
  }
  return {};
}

Result<> FaultyHypervisor::set_status(VmId vm, Phase phase, TimePoint deadline) {
  if (Result<> struck = strike(vm, phase, deadline, nullptr); !struck) return struck;
  return inner_.set_status(vm, phase, deadline);
}

Result<> FaultyHypervisor::detach(VmId vm, DeviceKind kind, TimePoint deadline) {
  const Phase phase = leaving_phase(kind);
  Registered registered(*this, vm, phase);
  const TimePoint asked = clock_.now();
  Result<> struck = strike(vm, phase, deadline, registered.operation());
  if (!struck) {
    if (struck.error().kind != FailureKind::failed) {
      // The request is out and cannot be withdrawn: the unplug begins when the stall is over.
      Lock lock(*mutex_);
      Duration stall = Duration::zero();
      for (const Armed& armed : armed_) {
        if (armed.fault.vm == vm && armed.fault.phase == phase) stall += armed.fault.stall;
      }
      late_.push_back({vm, kind, asked + stall});
    }
    return struck;
  }
  return inner_.detach(vm, kind, deadline);
}

TimePoint FaultyHypervisor::end_of_host(VmId vm) const {
  if (cluster_.empty()) return TimePoint::never();
  return cluster_.down_from(inner_.inspect(vm).host, clock_.now());
}

std::list<FaultyHypervisor::LateUnplug>::iterator FaultyHypervisor::find_late(VmId vm,
                                                                              DeviceKind kind) {
  return std::find_if(late_.begin(), late_.end(), [&](const LateUnplug& unplug) {
    return unplug.vm == vm && unplug.kind == kind;
  });
}

/// The first whose wait reaches the beginning of a late unplug starts it.
Result<> FaultyHypervisor::await_detached(VmId vm, DeviceKind kind, TimePoint deadline) {
  const Registered registered(*this, vm, leaving_phase(kind));
  const TimePoint host_ends = end_of_host(vm);
  bool begun = true;
  {
    Lock lock(*mutex_);
    for (;;) {
      const auto late = find_late(vm, kind);
      begun = late == late_.end();
      const TimePoint begins = begun ? TimePoint::start() : std::min(late->begins, host_ends);
      if (begins <= clock_.now()) break;
      const Wake wake = changed_->wait_until(*mutex_, std::min(begins, deadline));
      if (wake == Wake::cancelled) return failure(FailureKind::cancelled, "cancelled");
      if (clock_.now() >= deadline && find_late(vm, kind) != late_.end()) {
        return failure(FailureKind::timed_out, "the device is still there");
      }
    }
  }
  if (begun) return inner_.await_detached(vm, kind, deadline);
  Result<> gone = inner_.detach(vm, kind, deadline);
  Lock lock(*mutex_);
  if (const auto late = find_late(vm, kind); late != late_.end()) late_.erase(late);
  return gone;
}

Result<> FaultyHypervisor::attach(VmId vm, DeviceKind kind, TimePoint deadline) {
  const Phase phase = coming_phase(kind);
  Registered registered(*this, vm, phase);
  if (Result<> struck = strike(vm, phase, deadline, registered.operation()); !struck) return struck;
  return inner_.attach(vm, kind, deadline);
}

Result<TransferReport> FaultyHypervisor::migrate(VmId vm, HostId destination,
                                                 const TransferOptions& options,
                                                 TransferObserver& observer, TimePoint deadline) {
  Registered registered(*this, vm, Phase::migration);
  if (Result<> struck = strike(vm, Phase::migration, deadline, registered.operation()); !struck) {
    return tl::unexpected<Failure>(struck.error());
  }
  return inner_.migrate(vm, destination, options, observer, deadline);
}

VmInspection FaultyHypervisor::inspect(VmId vm) const {
  VmInspection found = inner_.inspect(vm);
  if (armed_.empty()) return found;
  Lock lock(*mutex_);
  for (const UnderWay& call : under_way_) {
    if (call.vm == vm && call.phase == Phase::migration) found.moving = true;
  }
  return found;
}

Result<> FaultyHypervisor::await_settled(VmId vm, TimePoint deadline) {
  for (const DeviceKind kind : {DeviceKind::virtual_function, DeviceKind::ivshmem}) {
    const bool late = [&] {
      Lock lock(*mutex_);
      return find_late(vm, kind) != late_.end();
    }();
    if (!late) continue;
    if (Result<> gone = await_detached(vm, kind, deadline); !gone) return gone;
  }
  {
    Lock lock(*mutex_);
    const auto busy = [&] {
      return std::any_of(under_way_.begin(), under_way_.end(),
                         [vm](const UnderWay& call) { return call.vm == vm; });
    };
    while (busy()) {
      const Wake wake = changed_->wait_until(*mutex_, deadline);
      if (wake == Wake::cancelled) return failure(FailureKind::cancelled, "cancelled");
      if (wake == Wake::timed_out && busy()) {
        return failure(FailureKind::timed_out,
                       fmt::format("what was asked of {} earlier has not ended",
                                   instance_.vms[vm.index].name));
      }
    }
  }
  return inner_.await_settled(vm, deadline);
}

Result<> FaultyHypervisor::cancel_migration(VmId vm) {
  {
    Lock lock(*mutex_);
    for (UnderWay& call : under_way_) {
      if (call.vm != vm || call.phase != Phase::migration || !call.stalls) continue;
      call.aborted = true;
      changed_->notify_all();
      return {};
    }
  }
  return inner_.cancel_migration(vm);
}

}  // namespace ferry
