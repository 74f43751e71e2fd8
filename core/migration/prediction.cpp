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
                                    Bandwidth bandwidth, Bandwidth rate,
                                    const CompressionCosts& compression) {
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
    const Bytes threshold = std::min(bandwidth, compressor.most()) * options.downtime_limit;
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
    if (pending <= threshold) return stop_and_copy();
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

Duration predict_total(const Instance& instance, const Platform& platform, const MoveSpec& move) {
  const VmSpec& vm = instance.vms[move.vm.index];
  const HypervisorCosts& costs = platform.hypervisor;
  const double gib = vm.memory.to_gibi();

  Duration suspend;
  Duration reactivate;
  bool running = false;
  for (const JobId id : vm.jobs) {
    const JobSpec& job = instance.jobs[id.index];
    if (job.strategy == Strategy::none) {
      running = true;
      continue;
    }
    const std::size_t channels = job.vms.size() * job.ranks_per_vm - 1;
    Duration longest;
    for (const Duration next_call : job.next_call) {
      const bool waits = job.strategy == Strategy::progress_engine;
      longest = std::max(longest, waits ? next_call : Duration::zero());
    }
    suspend = std::max(suspend, longest + platform.mpi.notice +
                                    platform.mpi.drain_channel * static_cast<double>(channels));
    Duration back = platform.mpi.reactivate;
    if (job.reconnect == Reconnect::eager) {
      back += platform.mpi.reconnect_channel * static_cast<double>(channels);
    }
    reactivate = std::max(reactivate, back);
  }

  const Bandwidth rate =
      running ? vm.idle_dirty_rate + vm.dirty_rate : vm.idle_dirty_rate;
  const TransferPrediction transfer =
      predict_transfer(vm, move.transfer, idle_bandwidth(instance, platform, move.transfer), rate,
                       compression_costs(platform, move.transfer.compression));

  const bool has_ivshmem = vm.ivshmem != Bytes{};
  const Duration attach_vf = costs.attach_vf.fixed + costs.attach_vf.per_gib * gib;
  const Duration pin = move.transfer.transport == Transport::rdma && move.transfer.pin_all
                           ? costs.pin_per_gib * gib
                           : Duration::zero();
  const Duration none = Duration::zero();
  return costs.set_status + suspend +
         side_by_side(vm.virtual_function ? costs.detach_vf : none,
                      has_ivshmem ? costs.remove_ivshmem : none, costs) +
         costs.prepare + pin + transfer.time +
         (transfer.switched ? costs.postcopy_switch : costs.finish) + costs.clean_up +
         side_by_side(vm.virtual_function ? attach_vf : none,
                      has_ivshmem ? costs.add_ivshmem : none, costs) +
         costs.set_status + reactivate;
}

}  // namespace ferry
