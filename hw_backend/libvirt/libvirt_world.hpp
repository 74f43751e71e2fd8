// The world of real hypervisors: the hosts and domains of a cluster file, asked through libvirt.
// Tasks, clock and messages are those of the threads world.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/ports/control.hpp"
#include "core/ports/world.hpp"
#include "core/scenario/cluster_file.hpp"
#include "core/scenario/instance.hpp"
#include "hw_backend/libvirt/waiting_time.hpp"

namespace ferry {

struct ClusterOptions {
  /// Names the run in the domains' metadata, so that another controller knows whose work it finds.
  std::string run = "ferry";
  /// What the world's clock shows at the start: above zero for a controller that takes over.
  TimePoint start;
  /// Of the moves: connections for those that run at a time are opened before they begin.
  Schedule schedule = {};
  /// How long every host may take to answer at the start.
  Duration connect_patience = Duration::milliseconds(30'000);
  /// Gets, at the end, how long the operations on each VM took and how much of that was waiting (by
  /// VmId).
  std::vector<VmTimes>* times = nullptr;
};

/// Opens the channel to the agent in a VM's guest; null: the cluster file names none.
using ChannelOpener = std::function<std::unique_ptr<Control>(VmId)>;

/// Runs `body` in the calling thread as the world's first task; returns when it and every task that
/// was spawned have ended, then rethrows what `body` threw. Throws WorldError, and `body` is not
/// run, if a host or VM of the instance is not in the cluster file, or a host does not answer. One
/// world at a time in a process; a process that had one must not fork and make another.
void run_on_cluster(const Instance& instance, const ClusterFile& cluster,
                    const ClusterOptions& options, const std::function<void(World&)>& body);
/// With the way to agents. What the opener gives must have ended when `body` returns.
void run_on_cluster(const Instance& instance, const ClusterFile& cluster,
                    const ClusterOptions& options,
                    const std::function<void(World&, const ChannelOpener&)>& body);

}  // namespace ferry
