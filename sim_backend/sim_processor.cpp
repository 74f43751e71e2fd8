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

void SimProcessor::occupy(VmId vm, Duration cost) {
  if (!hypervisor_.control_takes_cores()) return spend(hypervisor_.drawn(vm, cost));
  scheduler_.settle();
  hypervisor_.occupy(vm, cost);
}

}  // namespace ferry
