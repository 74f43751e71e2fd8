#include "core/migration/prediction.hpp"

#include <algorithm>

#include "core/memory/memory_transfer.hpp"

namespace ferry {

namespace {

/// Two operations of one host: beside each other but for the share that runs one at a time, or one
/// after the other.
Duration side_by_side(Duration first, Duration second, const HypervisorCosts& costs) {
  if (!costs.devices_at_once || first == Duration::zero() || second == Duration::zero()) {
    return first + second;
  }
  return std::max(first, first * costs.serial.value() + second);
}

}  // namespace

Bandwidth idle_bandwidth(const Instance& instance, const Platform& platform,
                         const TransferOptions& options) {
  const Bandwidth streams = stream_bandwidth(platform, options);
  for (const Network& network : instance.networks) {
    if (std::find(network.carries.begin(), network.carries.end(), options.transport) !=
        network.carries.end()) {
      return std::min(streams, network.link.bandwidth);
    }
  }
  return streams;
}

TransferPrediction predict_transfer(const VmSpec& vm, const TransferOptions& options,
                                    Bandwidth bandwidth, Bandwidth rate,
                                    const CompressionCosts& compression, Bytes device_state) {
  using State = MemoryTransfer::State;
  TransferPrediction prediction;
  TimePoint now;
  MemoryTransfer memory(vm, options, compression, device_state, rate, bandwidth, now);
  while (memory.state() != State::arrived && memory.state() != State::failed) {
    if (memory.state() == State::saving) {
      memory.saved();
    } else if (memory.state() == State::switching) {
      memory.switched();
    } else {
      const Bandwidth share = std::min(bandwidth, memory.most());
      prediction.bytes += memory.part();
      now = now + memory.part() / share;
      memory.part_done(share, now);
    }
  }
  prediction.time = now.since_start();
  prediction.rounds = memory.rounds();
  prediction.converges = memory.state() == State::arrived;
  prediction.switched = memory.post_copy();
  if (prediction.converges && !prediction.switched) prediction.downtime = now - *memory.paused();
  return prediction;
}

MoveCosts costs_of(const Instance& instance, const Platform& platform, const MoveSpec& move) {
  const VmSpec& vm = instance.vms[move.vm.index];
  const HypervisorCosts& hypervisor = platform.hypervisor;
  const double gib = vm.memory.to_gibi();
  MoveCosts costs;
  costs.set_status = hypervisor.set_status;
  for (const JobId id : vm.jobs) {
    const JobSpec& job = instance.jobs[id.index];
    if (job.strategy == Strategy::none || move.transfer.device != DeviceStrategy::detach) {
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
    if (vm.virtual_function) back += platform.mpi.open_device;
    if (job.reconnect == Reconnect::eager) {
      back += platform.mpi.reconnect_channel * static_cast<double>(channels);
    }
    costs.reactivate = std::max(costs.reactivate, back);
  }
  if (vm.virtual_function && move.transfer.device != DeviceStrategy::vfio) {
    costs.detach_vf = hypervisor.detach_vf;
    costs.attach_vf = hypervisor.attach_vf.fixed + hypervisor.attach_vf.per_gib * gib;
    if (move.transfer.device == DeviceStrategy::failover) {
      costs.redirect = hypervisor.failover.redirect;
    }
  }
  if (vm.ivshmem != Bytes{}) {
    costs.remove_ivshmem = hypervisor.remove_ivshmem;
    costs.add_ivshmem = hypervisor.add_ivshmem;
  }
  costs.prepare = hypervisor.prepare;
  if (move.transfer.transport == Transport::rdma && move.transfer.pin_all) {
    costs.pin = hypervisor.pin_per_gib * gib;
  }
  if (vm.virtual_function && move.transfer.device == DeviceStrategy::vfio) {
    costs.pin += hypervisor.attach_vf.per_gib * gib;
    costs.device_state = hypervisor.vfio.state;
    costs.save = hypervisor.vfio.save;
    costs.load = hypervisor.vfio.load;
  }
  costs.finish = hypervisor.finish;
  costs.clean_up = hypervisor.clean_up;
  return costs;
}

MovePrediction predict_move(const Instance& instance, const Platform& platform,
                            const MoveSpec& move, Bandwidth bandwidth) {
  const HypervisorCosts& hypervisor = platform.hypervisor;
  MovePrediction prediction;
  prediction.costs = costs_of(instance, platform, move);
  const MoveCosts& costs = prediction.costs;
  prediction.transfer =
      predict_transfer(instance.vms[move.vm.index], move.transfer, bandwidth,
                       dirty_rate_while_moving(instance.vms[move.vm.index], costs),
                       compression_costs(platform, move.transfer.compression), costs.device_state);
  const bool switched = prediction.transfer.switched;
  prediction.before = costs.set_status + costs.suspend +
                      side_by_side(costs.detach_vf, costs.remove_ivshmem, hypervisor) +
                      costs.redirect + costs.prepare + costs.pin;
  prediction.pause = switched ? hypervisor.postcopy_switch : costs.save;
  prediction.after = (switched ? Duration::zero() : costs.load + costs.finish) + costs.clean_up +
                     side_by_side(costs.attach_vf, costs.add_ivshmem, hypervisor) + costs.redirect +
                     costs.set_status + costs.reactivate;
  return prediction;
}

Duration predict_total(const Instance& instance, const Platform& platform, const MoveSpec& move) {
  return predict_move(instance, platform, move, idle_bandwidth(instance, platform, move.transfer))
      .total();
}

}  // namespace ferry
