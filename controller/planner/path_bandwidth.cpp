#include "controller/planner/path_bandwidth.hpp"

#include <algorithm>

#include "core/memory/memory_transfer.hpp"

namespace ferry {

MoveLoad load_of(const Instance& instance, const Platform& platform, LinkMap& links,
                 const MoveSpec& move, HostId from, HostId to) {
  MoveLoad load;
  load.route = links.route(move.transfer.transport, from, to);
  load.bandwidth =
      std::min(stream_bandwidth(platform, move.transfer), move.transfer.bandwidth_limit);
  for (const LinkId link : load.route) {
    load.bandwidth = std::min(load.bandwidth, links.bandwidth(link));
  }
  const VmSpec& vm = instance.vms[move.vm.index];
  const MovePrediction alone = predict_move(instance, platform, move, load.bandwidth);
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
