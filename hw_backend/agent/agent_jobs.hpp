// The agents of a scenario's VMs, and the jobs whose ranks they run.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/mpi/workloads/hosted_job.hpp"
#include "core/ports/control.hpp"
#include "core/ports/hypervisor.hpp"
#include "core/ports/world.hpp"
#include "core/scenario/instance.hpp"
#include "hw_backend/agent/agent_link.hpp"

namespace ferry::agent {

/// Of the run that has this folder, and began at this moment: ns since the epoch. A long name is
/// shortened; the moment, which no other run has, stays whole.
[[nodiscard]] std::string name_of_run(const std::string& folder, std::int64_t origin);

struct AgentJobsOptions {
  /// Names this run among all: jobs' keys begin with it. The same for a controller that takes over:
  /// `name_of_run`.
  std::string run;
  std::uint64_t controller = 0;  ///< larger than that of every earlier controller
  bool taken_over = false;
  std::vector<std::string> arguments;  ///< of a rank of the job, where `{job}` stands for its name
  std::vector<std::string> environment;  ///< of all ranks
  std::string user;
  std::string description;                     ///< for the ranks of all jobs
  Duration patience = Duration::seconds(120);  ///< as in `RemoteJobOptions`
  Duration grace = Duration::seconds(10);
};

/// Makes the control link to a VM's agent.
using OpenControl = std::function<std::unique_ptr<Control>(VmId)>;

/// Holds links to the agents of all VMs that have one. `world` outlives it.
class AgentJobs final : public mpi::RankHost {
 public:
  AgentJobs(World& world, const Instance& instance, const std::vector<VmId>& vms_with_agents,
            const OpenControl& open, AgentJobsOptions options);
  ~AgentJobs() override;

  [[nodiscard]] std::unique_ptr<mpi::HostedJob> open(const mpi::HostedJobRequest& request) override;
  [[nodiscard]] AgentLink* link(VmId vm);

 private:
  class Opened;
  World& world_;
  const Instance& instance_;
  AgentJobsOptions options_;
  std::map<VmId, std::unique_ptr<AgentLink>> links_;
};

/// The world's hypervisor; where a device does not go, it names who has it open in the guest.
class NamingHypervisor final : public Hypervisor {
 public:
  /// `link`: to a VM's agent; null: it has none.
  NamingHypervisor(Hypervisor& inner, Clock& clock, std::function<AgentLink*(VmId)> link)
      : inner_(inner), clock_(clock), link_(std::move(link)) {}

  Result<> set_status(VmId vm, Phase phase, TimePoint deadline) override {
    return inner_.set_status(vm, phase, deadline);
  }
  Result<> detach(VmId vm, DeviceKind kind, TimePoint deadline) override;
  Result<> await_detached(VmId vm, DeviceKind kind, TimePoint deadline) override;
  Result<> attach(VmId vm, DeviceKind kind, TimePoint deadline) override {
    return inner_.attach(vm, kind, deadline);
  }
  Result<Ratio> await_traffic(VmId vm, TimePoint deadline) override {
    return inner_.await_traffic(vm, deadline);
  }
  Result<TransferReport> migrate(VmId vm, HostId destination, const TransferOptions& options,
                                 TransferObserver& observer, TimePoint deadline) override {
    return inner_.migrate(vm, destination, options, observer, deadline);
  }
  [[nodiscard]] bool devices_at_once() const override { return inner_.devices_at_once(); }
  [[nodiscard]] VmInspection inspect(VmId vm) const override { return inner_.inspect(vm); }
  [[nodiscard]] bool reachable(HostId host) const override { return inner_.reachable(host); }
  Result<> await_settled(VmId vm, TimePoint deadline) override {
    return inner_.await_settled(vm, deadline);
  }
  Result<> cancel_migration(VmId vm) override { return inner_.cancel_migration(vm); }

 private:
  [[nodiscard]] std::string holders_of(VmId vm, DeviceKind kind) const;
  Hypervisor& inner_;
  Clock& clock_;
  std::function<AgentLink*(VmId)> link_;
};

}  // namespace ferry::agent
