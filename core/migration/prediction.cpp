#include "core/migration/prediction.hpp"

#include <algorithm>
#include <optional>

#include "core/memory/compression.hpp"
#include "core/memory/stalls.hpp"
#include "core/memory/throttling.hpp"

namespace ferry {

namespace {

/// QEMU looks every 50 ms, so a round ends a little below the threshold; at it, no round would ever
/// leave less than it while the guest dirties anything.
constexpr double overshoot = 0.01;

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
  Bandwidth least = std::min(stream_bandwidth(platform, options), options.bandwidth_limit);
  for (const Network& network : instance.networks) {
    if (std::find(network.carries.begin(), network.carries.end(), options.transport) !=
        network.carries.end()) {
      return std::min(least, network.link.bandwidth);
    }
  }
  return least;
}

TransferPrediction predict_transfer(const VmSpec& vm, const TransferOptions& options,
                                    Bandwidth bandwidth, Bandwidth rate,
                                    const CompressionCosts& compression, Bytes device_state) {
  TransferPrediction prediction;
  Bytes pending = first_pass(vm, options);
  const Bytes headers = pending - (vm.memory - vm.memory * vm.zero.value());
  Compressor compressor(options.compression, compression, pending, headers, vm.working_set);
  const auto send = [&](Bytes guest) {
    const Bytes sent = compressor.on_network(guest);
    const Duration time = sent / std::min(bandwidth, compressor.most());
    prediction.bytes += sent;
    prediction.time += time;
    return time;
  };
  const auto stop_and_copy = [&] {
    prediction.downtime = send(pending);
    if (device_state > Bytes()) {
      const Duration time = device_state / bandwidth;
      prediction.downtime += time;
      prediction.time += time;
      prediction.bytes += device_state;
    }
    ++prediction.rounds;
    return prediction;
  };
  const auto post_copy = [&] {
    compressor.stop();
    send(pending);
    ++prediction.rounds;
    prediction.switched = true;
    return prediction;
  };
  if (options.mode == MemoryMode::offline) return stop_and_copy();
  if (options.mode == MemoryMode::postcopy) return post_copy();

  Stalls stalls(options);
  std::optional<AutoConverge> converge;
  if (options.auto_converge) converge.emplace(TimePoint::start());
  for (;;) {
    const Bytes limit = std::min(bandwidth, compressor.most()) * options.downtime_limit;
    const bool device_fits = limit > device_state;
    const Bytes threshold = device_fits ? limit - device_state : Bytes();
    const Bytes sent = pending - threshold * (1 - overshoot);
    const Bytes before = prediction.bytes;
    const Duration time = send(sent);
    ++prediction.rounds;
    const double share = converge ? 1 - converge->throttle().value() : 1;
    const Bytes dirtied = std::min(rate * share * time, vm.working_set);
    compressor.round_done(sent);
    if (converge) {
      converge->synchronised(TimePoint::at(prediction.time), dirtied, prediction.bytes - before);
    }
    pending = pending - sent + dirtied;
    if (device_fits && pending <= threshold) return stop_and_copy();
    if (prediction.rounds < stalls.round_limit()) continue;
    switch (stalls.next()) {
      case OnStall::postcopy: return post_copy();
      case OnStall::auto_converge:
        if (!converge) converge.emplace(TimePoint::at(prediction.time));
        break;
      case OnStall::abort: prediction.converges = false; return prediction;
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
