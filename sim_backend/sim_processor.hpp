// The port `Processor` of the simulated world.
#pragma once

#include "core/ports/processor.hpp"
#include "sim_backend/scheduler.hpp"
#include "sim_backend/sim_hypervisor.hpp"

namespace ferry {

class SimProcessor final : public Processor {
 public:
  SimProcessor(Scheduler& scheduler, SimHypervisor& hypervisor)
      : scheduler_(scheduler), hypervisor_(hypervisor) {}
  void set_ranks_running(VmId vm, bool running) override {
    hypervisor_.set_ranks_running(vm, running);
  }
  Wake compute(std::optional<VmId> vm, Duration work) override;
  void spend(Duration cost) override { scheduler_.spend(cost); }
  std::optional<Wake> occupy(std::span<const VmId> vms, Duration cost, TimePoint deadline) override;

 private:
  Scheduler& scheduler_;
  SimHypervisor& hypervisor_;
};

}  // namespace ferry
