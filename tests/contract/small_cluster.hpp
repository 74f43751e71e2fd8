// A world that is small enough to reckon with by hand: for tests of ports and of what stands on
// them.
#pragma once

#include "core/scenario/instance.hpp"
#include "core/scenario/platform.hpp"

namespace ferry {

struct SmallCluster {
  Instance instance;
  Platform platform;
};

/// Four hosts (host0 to host3) with four VFs each on one star network that carries every transport;
/// four VMs of 64 MiB: vm0 and vm1 on host0, vm2 on host1, vm3 on host2; each has a VF and 1 MiB of
/// IVShmem, and a quarter of its memory is zero pages. Job `pair` has one rank in vm0 and one in
/// vm2. Control operations cost milliseconds, a stream carries 1 GB/s, the serial share is zero. No
/// moves.
SmallCluster small_cluster();

}  // namespace ferry
