#include "controller/planner/path_bandwidth.hpp"

#include <algorithm>

#include "core/memory/memory_transfer.hpp"

namespace ferry {

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
  load.transfer = transfer.converges ? transfer.time : load.bytes / load.bandwidth;
  load.costs = alone.costs;
  load.before = alone.before;
  load.pause = alone.pause;
  load.after = alone.after;
  return load;
}

}  // namespace ferry
