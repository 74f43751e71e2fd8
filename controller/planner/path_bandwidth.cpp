#include "controller/planner/path_bandwidth.hpp"

#include <algorithm>

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
  load.costs = costs_of(instance, platform, move);
  const TransferPrediction transfer =
      predict_transfer(vm, move.transfer, load.bandwidth, dirty_rate_while_moving(vm, load.costs),
                       {}, load.costs.device_state);
  load.bytes = transfer.converges ? transfer.bytes : first_pass(vm, move.transfer);
  load.transfer = transfer.converges ? transfer.time : load.bytes / load.bandwidth;
  load.before = time_before(load.costs, platform.hypervisor);
  load.after = time_after(load.costs, platform.hypervisor);
  return load;
}

}  // namespace ferry
