#include "controller/planner/path_bandwidth.hpp"

#include <algorithm>

#include "core/memory/memory_transfer.hpp"

namespace ferry {
namespace {

/// The least that it takes if it does not converge as predicted but converges all the same.
Duration least_time(Bytes bytes, const TransferOptions& options, Bandwidth bandwidth) {
  const Bandwidth limited = std::min(bandwidth, options.bandwidth_limit);
  Bytes last;  // for which no limit holds
  if (options.mode != MemoryMode::postcopy) {
    last = std::min(bytes, limited * options.downtime_limit);
  }
  return (bytes - last) / limited + last / bandwidth;
}

}  // namespace

MoveLoad load_of(const Instance& instance, const Platform& platform, LinkMap& links,
                 const MoveSpec& move, HostId from, HostId to) {
  MoveLoad load;
  load.route = links.route(move.transfer.transport, from, to);
  Bandwidth bandwidth = stream_bandwidth(platform, move.transfer);
  for (const LinkId link : load.route) bandwidth = std::min(bandwidth, links.bandwidth(link));
  load.bandwidth = std::min(bandwidth, move.transfer.bandwidth_limit);
  const VmSpec& vm = instance.vms[move.vm.index];
  const MovePrediction alone = predict_move(instance, platform, move, bandwidth);
  const TransferPrediction& transfer = alone.transfer;
  load.bytes = transfer.converges ? transfer.bytes : first_pass(vm, move.transfer);
  load.transfer =
      transfer.converges ? transfer.time : least_time(load.bytes, move.transfer, bandwidth);
  load.costs = alone.costs;
  load.before = alone.before;
  load.pause = alone.pause;
  load.after = alone.after;
  return load;
}

}  // namespace ferry
