#include "sim_backend/sim_processor.hpp"

#include "sim_backend/blocking.hpp"

namespace ferry {

Wake SimProcessor::compute(std::optional<VmId> vm, Duration work) {
  constexpr const char* what = "the end of a computation";
  const auto pass = [this](Duration time) {
    return scheduler_.block_here(what, scheduler_.local_now() + time, Cancellable::yes, nullptr);
  };
  if (!vm) return pass(work);
  // The guest may pause meanwhile, and again while it makes up for that.
  Duration left = work;
  do {
    if (hypervisor_.await_running(*vm) == Wake::cancelled) return Wake::cancelled;
    const Duration paused_before = hypervisor_.paused_time(*vm);
    if (pass(left) == Wake::cancelled) return Wake::cancelled;
    left = hypervisor_.paused_time(*vm) - paused_before;
  } while (left > Duration::zero() || hypervisor_.paused(*vm));
  return Wake::timed_out;
}

std::optional<Wake> SimProcessor::occupy(std::span<const VmId> vms, Duration cost,
                                         TimePoint deadline) {
  if (!hypervisor_.knows_work_of_guests()) return std::nullopt;
  scheduler_.settle();
  return hypervisor_.occupy(vms, cost, deadline);
}

}  // namespace ferry
