#include "hw_backend/libvirt/waiting_time.hpp"

namespace ferry {

void WaitingTime::change(VmId vm, Kind kind, int by) {
  const TimePoint now = clock_.now();
  const std::lock_guard guard(mutex_);
  Meters& meters = vms_.at(vm.index);
  Meter& meter = kind == Kind::port ? meters.port : meters.awaited;
  if (meter.open == 0) meter.since = now;
  meter.open += by;
  if (meter.open == 0) meter.total += now - meter.since;
}

void WaitingTime::count_call(VmId vm) {
  const std::lock_guard guard(mutex_);
  ++vms_.at(vm.index).calls;
}

std::vector<VmTimes> WaitingTime::read() const {
  const std::lock_guard guard(mutex_);
  std::vector<VmTimes> result;
  for (const Meters& meters : vms_) {
    result.push_back({meters.port.total, meters.awaited.total, meters.calls});
  }
  return result;
}

}  // namespace ferry
