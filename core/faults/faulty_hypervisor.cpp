#include "core/faults/faulty_hypervisor.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace ferry {

FaultyHypervisor::FaultyHypervisor(Hypervisor& inner, Clock& clock, Executor& executor,
                                   const Instance& instance)
    : inner_(inner), clock_(clock), instance_(instance), mutex_(executor.make_mutex()) {
  for (const FaultSpec& fault : instance.faults) armed_.push_back({fault, false});
}

Result<> FaultyHypervisor::strike(VmId vm, Phase phase, TimePoint deadline) {
  Duration stall = Duration::zero();
  {
    Lock lock(*mutex_);
    for (Armed& armed : armed_) {
      if (armed.fault.vm != vm || armed.fault.phase != phase || armed.spent) continue;
      if (armed.fault.fail != PhaseFault::Fail::no) {
        armed.spent = armed.fault.fail == PhaseFault::Fail::once;
        return failure(FailureKind::failed, fmt::format("fault: {} of {} fails", to_name(phase),
                                                        instance_.vms[vm.index].name));
      }
      armed.spent = true;
      stall += armed.fault.stall;
    }
  }
  if (stall == Duration::zero()) return {};
  const TimePoint end = clock_.now() + stall;
  if (clock_.sleep_until(std::min(end, deadline)) == Wake::cancelled) {
    return failure(FailureKind::cancelled, "cancelled");
  }
  if (end > deadline) {
    return failure(FailureKind::timed_out,
                   fmt::format("{} of {} did not end in time", to_name(phase),
                               instance_.vms[vm.index].name));
  }
  return {};
}

Result<> FaultyHypervisor::set_status(VmId vm, Phase phase, TimePoint deadline) {
  if (Result<> struck = strike(vm, phase, deadline); !struck) return struck;
  return inner_.set_status(vm, phase, deadline);
}

Result<> FaultyHypervisor::detach(VmId vm, DeviceKind kind, TimePoint deadline) {
  const Phase phase =
      kind == DeviceKind::virtual_function ? Phase::detach_vf : Phase::remove_ivshmem;
  const TimePoint asked = clock_.now();
  Result<> struck = strike(vm, phase, deadline);
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

Result<> FaultyHypervisor::await_detached(VmId vm, DeviceKind kind, TimePoint deadline) {
  TimePoint begins = TimePoint::never();
  {
    Lock lock(*mutex_);
    const auto late = std::find_if(late_.begin(), late_.end(), [&](const LateUnplug& unplug) {
      return unplug.vm == vm && unplug.kind == kind;
    });
    if (late != late_.end()) {
      begins = late->begins;
      late_.erase(late);
    }
  }
  if (begins == TimePoint::never()) return inner_.await_detached(vm, kind, deadline);
  if (clock_.sleep_until(std::min(begins, deadline)) == Wake::cancelled || begins > deadline) {
    Lock lock(*mutex_);
    late_.push_back({vm, kind, begins});
    return failure(FailureKind::timed_out, "the device is still there");
  }
  return inner_.detach(vm, kind, deadline);
}

Result<> FaultyHypervisor::attach(VmId vm, DeviceKind kind, TimePoint deadline) {
  const Phase phase = kind == DeviceKind::virtual_function ? Phase::attach_vf : Phase::add_ivshmem;
  if (Result<> struck = strike(vm, phase, deadline); !struck) return struck;
  return inner_.attach(vm, kind, deadline);
}

Result<TransferReport> FaultyHypervisor::migrate(VmId vm, HostId destination,
                                                 const TransferOptions& options,
                                                 TransferObserver& observer, TimePoint deadline) {
  if (Result<> struck = strike(vm, Phase::migration, deadline); !struck) {
    return tl::unexpected<Failure>(struck.error());
  }
  return inner_.migrate(vm, destination, options, observer, deadline);
}

}  // namespace ferry
