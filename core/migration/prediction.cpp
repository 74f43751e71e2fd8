#include "core/migration/prediction.hpp"

#include <algorithm>

namespace ferry {

namespace {

constexpr Bytes zero_page_header{9};  // 8 bytes of offset and flags, 1 byte of content

/// Two operations of one host: beside each other but for the share that runs one at a time, or one
/// after the other.
Duration side_by_side(Duration first, Duration second, const HypervisorCosts& costs) {
  if (!costs.devices_at_once || first == Duration::zero() || second == Duration::zero()) {
    return first + second;
  }
  return std::max(first, first * costs.serial.value() + second);
}

}  // namespace

Bytes first_pass(const VmSpec& vm, const TransferOptions& options) {
  if (options.transport == Transport::rdma && options.pin_all) return vm.memory;
  const Bytes zero = vm.memory * vm.zero.value();
  const Bytes headers = zero_page_header * static_cast<double>(Pages::holding(zero).count());
  return vm.memory - zero + headers;
}

Bandwidth idle_bandwidth(const Instance& instance, const Platform& platform,
                         const TransferOptions& options) {
  Bandwidth least =
      std::min(stream_bandwidth(platform, options), options.bandwidth_limit);
  for (const Network& network : instance.networks) {
    if (std::find(network.carries.begin(), network.carries.end(), options.transport) !=
        network.carries.end()) {
      return std::min(least, network.link.bandwidth);
    }
  }
  return least;
}

TransferPrediction predict_transfer(const VmSpec& vm, const TransferOptions& options,
                                    Bandwidth bandwidth, Bandwidth rate) {
  TransferPrediction prediction;
  Bytes pending = first_pass(vm, options);
  if (options.mode == MemoryMode::offline) {
    prediction.time = prediction.downtime = pending / bandwidth;
    prediction.bytes = pending;
    prediction.rounds = 1;
    return prediction;
  }
  const Bytes threshold = bandwidth * options.downtime_limit;
  for (int round = 1;; ++round) {
    const Bytes sent = pending - threshold;
    const Duration time = sent / bandwidth;
    const Bytes dirtied = std::min(rate * time, vm.working_set);
    prediction.bytes += sent;
    prediction.time += time;
    pending = pending - sent + dirtied;
    if (pending <= threshold) {
      prediction.downtime = pending / bandwidth;
      prediction.time += prediction.downtime;
      prediction.bytes += pending;
      prediction.rounds = round + 1;
      return prediction;
    }
    if (round >= options.max_rounds) {
      prediction.rounds = round;
      prediction.converges = false;
      return prediction;
    }
  }
}

MoveCosts costs_of(const Instance& instance, const Platform& platform, const MoveSpec& move) {
  const VmSpec& vm = instance.vms[move.vm.index];
  const HypervisorCosts& hypervisor = platform.hypervisor;
  const double gib = vm.memory.to_gibi();
  MoveCosts costs;
  costs.set_status = hypervisor.set_status;
  for (const JobId id : vm.jobs) {
    const JobSpec& job = instance.jobs[id.index];
    if (job.strategy == Strategy::none) {
      costs.ranks_run = true;
      continue;
    }
    const std::size_t channels = job.vms.size() * job.ranks_per_vm - 1;
    Duration longest;
    for (const Duration next_call : job.next_call) {
      const bool waits = job.strategy == Strategy::progress_engine;
      longest = std::max(longest, waits ? next_call : Duration::zero());
    }
    costs.suspend =
        std::max(costs.suspend, longest + platform.mpi.notice +
                                    platform.mpi.drain_channel * static_cast<double>(channels));
    Duration back = platform.mpi.reactivate;
    if (job.reconnect == Reconnect::eager) {
      back += platform.mpi.reconnect_channel * static_cast<double>(channels);
    }
    costs.reactivate = std::max(costs.reactivate, back);
  }
  if (vm.virtual_function) {
    costs.detach_vf = hypervisor.detach_vf;
    costs.attach_vf = hypervisor.attach_vf.fixed + hypervisor.attach_vf.per_gib * gib;
  }
  if (vm.ivshmem != Bytes{}) {
    costs.remove_ivshmem = hypervisor.remove_ivshmem;
    costs.add_ivshmem = hypervisor.add_ivshmem;
  }
  costs.prepare = hypervisor.prepare;
  if (move.transfer.transport == Transport::rdma && move.transfer.pin_all) {
    costs.pin = hypervisor.pin_per_gib * gib;
  }
  costs.finish = hypervisor.finish;
  costs.clean_up = hypervisor.clean_up;
  return costs;
}

Duration time_before(const MoveCosts& costs, const HypervisorCosts& hypervisor) {
  return costs.set_status + costs.suspend +
         side_by_side(costs.detach_vf, costs.remove_ivshmem, hypervisor) + costs.prepare +
         costs.pin;
}

Duration time_after(const MoveCosts& costs, const HypervisorCosts& hypervisor) {
  return costs.finish + costs.clean_up +
         side_by_side(costs.attach_vf, costs.add_ivshmem, hypervisor) + costs.set_status +
         costs.reactivate;
}

Duration predict_total(const Instance& instance, const Platform& platform, const MoveSpec& move) {
  const VmSpec& vm = instance.vms[move.vm.index];
  const MoveCosts costs = costs_of(instance, platform, move);
  const TransferPrediction transfer =
      predict_transfer(vm, move.transfer, idle_bandwidth(instance, platform, move.transfer),
                       dirty_rate_while_moving(vm, costs));
  return time_before(costs, platform.hypervisor) + transfer.time +
         time_after(costs, platform.hypervisor);
}

}  // namespace ferry
