#include "fingerprint.hpp"

#include <algorithm>
#include <sstream>
#include <vector>

namespace ferry {
namespace {

std::string limit(const Limit& value) { return value ? std::to_string(*value) : "unlimited"; }

void add_profile(std::ostream& out, const TransportProfile& profile) {
  out << " profile";
  for (const TransportSegment& segment : profile.segments) {
    out << ' ' << to_text(segment.from_size) << ' ' << to_text(segment.latency) << ' '
        << to_text(segment.overhead) << ' ' << to_text(segment.gap) << ' '
        << to_text(segment.bandwidth);
  }
  out << ' ' << to_text(profile.largest_packet) << ' ' << profile.copy.to_bytes_per_second() << ' '
      << profile.reads << ' ' << to_text(profile.registration) << ' '
      << profile.registration_bandwidth.to_bytes_per_second() << ' ' << to_text(profile.connect);
}

void add_platform(std::ostream& out, const Platform& platform) {
  const HypervisorCosts& h = platform.hypervisor;
  for (const Duration cost :
       {h.prepare, h.finish, h.clean_up, h.set_status, h.detach_vf, h.attach_vf.fixed,
        h.attach_vf.per_gib, h.remove_ivshmem, h.add_ivshmem, h.pin_per_gib, h.postcopy_switch,
        h.keepalive, platform.mpi.notice, platform.mpi.drain_channel,
        platform.mpi.reconnect_channel, platform.mpi.reactivate, platform.mpi.open_device}) {
    out << to_text(cost) << ' ';
  }
  out << to_text(h.serial) << ' ' << to_text(h.cpu) << ' ' << to_text(h.migration_cpu) << ' '
      << to_text(h.status_cpu) << ' ' << to_text(h.busy) << ' ' << to_text(h.variation) << ' '
      << h.devices_at_once << ' ' << to_text(platform.rdma_unpinned_bandwidth);
  for (const CompressionCosts& costs : {platform.xbzrle, platform.zstd}) {
    out << ' ' << to_text(costs.ratio) << ' ' << to_text(costs.speed);
  }
  for (const auto& kernel : platform.compute.nas) {
    for (const Duration time : kernel) out << ' ' << to_text(time);
  }
  out << ' ' << to_text(platform.compute.graph500_edge) << ' '
      << to_text(platform.compute.trace_million);
  for (const StreamCosts& stream : platform.streams) {
    out << ' ' << to_text(stream.bandwidth) << ' ' << to_text(stream.cpu.send) << ' '
        << to_text(stream.cpu.receive);
  }
  out << ' ' << to_text(h.failover.redirect) << ' ' << to_text(h.failover.throughput) << ' '
      << to_text(h.vfio.state) << ' ' << to_text(h.vfio.save) << ' ' << to_text(h.vfio.load) << ' '
      << platform.processors.cores << ' ' << platform.processors.shared;
  const RuntimeCosts& runtime = platform.mpi.runtime;
  out << ' ' << to_text(runtime.call) << ' ' << to_text(runtime.lock) << ' '
      << to_text(runtime.poll) << ' ' << runtime.reduce.to_bytes_per_second();
  for (const Bytes threshold : platform.mpi.eager_thresholds) out << ' ' << to_text(threshold);
  for (const Channel channel : all_channels) {
    for (const bool same_socket : {true, false}) {
      const TransportProfile* profile = platform.channels.find(channel, same_socket);
      if (profile != nullptr) add_profile(out, *profile);
    }
  }
  out << '\n';
}

void add_networks(std::ostream& out, const std::vector<Network>& networks) {
  std::vector<std::string> lines;
  for (const Network& network : networks) {
    std::ostringstream line;
    line << "network " << network.name << ' ' << network.topology.index();
    if (const auto* tree = std::get_if<FatTree>(&network.topology)) {
      line << ' ' << tree->hosts_per_leaf << ' ' << tree->spines;
    }
    if (const auto* fly = std::get_if<Dragonfly>(&network.topology)) {
      line << ' ' << fly->groups << ' ' << fly->chassis << ' ' << fly->routers << ' '
           << fly->hosts_per_router;
    }
    line << ' ' << to_text(network.link.bandwidth) << ' ' << to_text(network.link.latency);
    for (const Transport transport : network.carries) line << ' ' << to_name(transport);
    line << ' ' << network.carries_mpi;
    lines.push_back(line.str());
  }
  std::sort(lines.begin(), lines.end());
  for (const std::string& line : lines) out << line << '\n';
}

void add_workload(std::ostream& out, const Workload& workload) {
  const auto number = [](const std::optional<std::uint32_t>& value) {
    return value ? static_cast<std::int64_t>(*value) : -1;
  };
  out << " workload " << static_cast<int>(workload.type) << ' '
      << static_cast<int>(workload.nas_class) << ' ' << number(workload.iterations) << ' '
      << number(workload.warm_up) << ' ' << workload.rounds << ' ' << to_text(workload.message)
      << ' ' << workload.exchanges << ' ' << to_text(workload.share) << ' '
      << to_text(workload.compute) << ' ' << to_text(workload.jitter) << ' '
      << static_cast<int>(workload.collective) << ' ' << workload.scale << ' '
      << workload.edge_factor << ' ' << workload.file;
  for (const Bytes size : workload.sizes) out << ' ' << to_text(size);
}

}  // namespace

std::string fingerprint(const Scenario& scenario) {
  const Instance instance = expand(scenario);
  std::ostringstream out;
  add_platform(out, scenario.platform);
  add_networks(out, instance.networks);
  const Schedule& schedule = scenario.schedule;
  out << "schedule " << static_cast<int>(schedule.order) << static_cast<int>(schedule.batch) << ' '
      << limit(schedule.limits.cluster) << ' ' << limit(schedule.limits.host_out) << ' '
      << limit(schedule.limits.host_in) << ' ' << limit(schedule.limits.link) << ' '
      << to_text(schedule.stagger) << " trace " << scenario.outputs.trace << " links "
      << scenario.outputs.links << " twin " << scenario.outputs.twin << '\n';
  std::vector<std::string> lines;
  for (const HostSpec& host : instance.hosts) {
    std::ostringstream line;
    line << "host " << host.name << ' ' << host.cores << ' ' << to_text(host.memory) << ' '
         << host.virtual_functions << ' ' << to_text(host.ivshmem) << ' ' << host.sockets;
    lines.push_back(line.str());
  }
  for (const VmSpec& vm : instance.vms) {
    std::ostringstream line;
    line << "vm " << vm.name << " on " << instance.hosts[vm.host.index].name << ' ' << vm.vcpus
         << ' ' << to_text(vm.memory) << ' ' << vm.virtual_function << ' ' << to_text(vm.ivshmem)
         << ' ' << to_text(vm.zero) << ' ' << to_text(vm.working_set) << ' '
         << to_text(vm.dirty_rate) << ' ' << to_text(vm.idle_dirty_rate) << ' '
         << (vm.socket ? static_cast<int>(*vm.socket) : -1) << ' ' << vm.containers;
    std::vector<std::string> jobs;
    for (const JobId job : vm.jobs) jobs.push_back(instance.jobs[job.index].name);
    std::sort(jobs.begin(), jobs.end());
    for (const std::string& job : jobs) line << " job " << job;
    lines.push_back(line.str());
  }
  for (const JobSpec& job : instance.jobs) {
    std::ostringstream line;
    line << "job " << job.name << ' ' << job.ranks_per_vm << ' ' << to_name(job.strategy) << ' '
         << static_cast<int>(job.suspend) << static_cast<int>(job.reconnect) << ' '
         << static_cast<int>(job.channels.mode) << static_cast<int>(job.channels.device) << ' '
         << job.channels.eager_threshold.size.value_or(Bytes(1)).count() << ' '
         << to_text(job.ivshmem) << ' ' << job.containers;
    for (const VmId vm : job.vms) line << ' ' << instance.vms[vm.index].name;
    for (const Duration call : job.next_call) line << ' ' << to_text(call);
    add_workload(line, job.workload);
    lines.push_back(line.str());
  }
  for (const MoveSpec& move : instance.moves) {
    std::ostringstream line;
    const TransferOptions& transfer = move.transfer;
    line << "move " << move.migration << ' ' << instance.vms[move.vm.index].name << ' '
         << static_cast<int>(move.place) << " at " << to_text(move.at.at) << ' '
         << to_name(transfer.transport) << ' ' << to_name(transfer.mode) << ' '
         << to_text(transfer.downtime_limit) << ' ' << to_text(transfer.bandwidth_limit) << ' '
         << transfer.pin_all << ' ' << transfer.max_rounds << ' ' << transfer.auto_converge << ' '
         << to_name(transfer.compression) << ' ' << transfer.streams << ' '
         << to_name(transfer.device);
    for (const OnStall action : transfer.on_stall) line << ' ' << to_name(action);
    const Timeouts& timeouts = move.timeouts;
    for (const Duration timeout : {timeouts.suspend, timeouts.detach, timeouts.ivshmem,
                                   timeouts.migration, timeouts.attach, move.retry.wait}) {
      line << ' ' << to_text(timeout);
    }
    line << ' ' << move.retry.attempts;
    for (const HostId host : move.candidates) line << ' ' << instance.hosts[host.index].name;
    lines.push_back(line.str());
  }
  for (const ConstraintSpec& constraint : instance.constraints) {
    std::ostringstream line;
    line << "constraint " << static_cast<int>(constraint.kind) << ' '
         << to_text(constraint.deadline);
    for (const VmId vm : constraint.vms) line << ' ' << instance.vms[vm.index].name;
    line << " then";
    for (const VmId vm : constraint.then) line << ' ' << instance.vms[vm.index].name;
    lines.push_back(line.str());
  }
  for (const FaultSpec& fault : instance.faults) {
    std::ostringstream line;
    line << "fault " << to_name(fault.phase) << ' ' << instance.vms[fault.vm.index].name << ' '
         << static_cast<int>(fault.fail) << ' ' << to_text(fault.stall);
    lines.push_back(line.str());
  }
  for (const ControllerDownSpec& down : instance.controller_downs) {
    lines.push_back("controller down " + std::to_string(down.record) + " " + to_text(down.away) +
                    " " + std::to_string(static_cast<int>(down.last_record)));
  }
  for (const ClusterFaultSpec& fault : instance.cluster_faults) {
    std::ostringstream line;
    line << "cluster fault " << static_cast<int>(fault.kind) << ' '
         << instance.hosts[fault.host.index].name << ' '
         << (fault.network ? instance.networks[*fault.network].name : "-") << ' '
         << to_text(fault.from.since_start()) << ' ' << fault.until.to_seconds() << ' '
         << to_text(fault.factor) << ' ' << to_text(fault.delay);
    lines.push_back(line.str());
  }
  std::sort(lines.begin(), lines.end());
  for (const std::string& line : lines) out << line << '\n';
  return out.str();
}

}  // namespace ferry
