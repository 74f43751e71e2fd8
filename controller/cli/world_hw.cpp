#include <cstdint>

#include "controller/cli/wall_clock.hpp"
#include "controller/cli/worlds.hpp"
#include "hw_backend/agent/agent_jobs.hpp"
#include "hw_backend/libvirt/diagnosis.hpp"
#include "hw_backend/libvirt/libvirt_world.hpp"

namespace ferry {
const bool libvirt_is_built_in = true;
std::string libvirt_version() { return libvirt_library_version(); }

ClusterDiagnosis diagnose_cluster(const ClusterFile& cluster, const Instance* instance,
                                  bool at_start) {
  Diagnosis found = diagnose(cluster, instance, at_start);
  ClusterDiagnosis diagnosis;
  diagnosis.places = std::move(found.places);
  diagnosis.versions = std::move(found.versions);
  for (Finding& finding : found.findings) {
    const auto level = finding.level == Finding::Level::ok        ? ClusterFinding::Level::ok
                       : finding.level == Finding::Level::warning ? ClusterFinding::Level::warning
                                                                  : ClusterFinding::Level::failed;
    diagnosis.findings.push_back(
        {level, std::move(finding.subject), std::move(finding.text), std::move(finding.fix)});
  }
  return diagnosis;
}

std::vector<HypervisorTime> run_on_hardware(
    const Instance& instance, const ClusterFile& cluster, const HardwareRun& run,
    const std::function<void(World&, mpi::RankHost&)>& body) {
  std::vector<VmTimes> times;
  ClusterOptions options;
  options.run = run.name;
  options.start = run.start;
  options.schedule = run.schedule;
  options.times = &times;
  std::vector<VmId> with_agents;
  for (std::uint32_t i = 0; i < instance.vms.size(); ++i) {
    const ClusterVm* const vm = cluster.vm(instance.vms[i].name);
    if (vm != nullptr && !vm->agent.empty()) with_agents.push_back(VmId{i});
  }
  agent::AgentJobsOptions jobs;
  jobs.run = agent::name_of_run(run.name, run.origin);
  jobs.controller = static_cast<std::uint64_t>(wall_nanoseconds());
  jobs.taken_over = run.taken_over;
  // Ranks begin in a folder beside that file.
  jobs.arguments = {cluster.rank.path, "--scenario", "../description", "--job", "{job}"};
  jobs.user = cluster.rank.user;
  jobs.description = run.scenario;
  const std::function<void(World&, const ChannelOpener&)> with_jobs =
      [&](World& world, const ChannelOpener& open) {
        agent::AgentJobs agents(world, instance, with_agents, open, jobs);
        agent::NamingHypervisor hypervisor(world.hypervisor, world.clock,
                                           [&agents](VmId vm) { return agents.link(vm); });
        World with_names{world.clock, world.executor, hypervisor, world.processor, world.fabric};
        body(with_names, agents);
      };
  run_on_cluster(instance, cluster, options, with_jobs);
  std::vector<HypervisorTime> waiting;
  for (const VmTimes& time : times) waiting.push_back({time.awaited, time.libvirt_calls});
  return waiting;
}

}  // namespace ferry
