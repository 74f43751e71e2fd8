#include "hw_backend/shm/shm_fabric.hpp"

#include <utility>

#include "hw_backend/shm/doorbell.hpp"
#include "hw_backend/shm/memory_reading.hpp"
#include "hw_backend/shm/shm_endpoint.hpp"
#include "hw_backend/shm/shm_wait_set.hpp"

namespace ferry::shm {

ShmFabric::ShmFabric(std::shared_ptr<Region> region, const ThreadClock& clock, ShmProfiles profiles,
                     SpinLimits spin)
    : region_(std::move(region)),
      clock_(clock),
      profiles_(std::move(profiles)),
      spin_(spin),
      sleepers_fence_(register_for_sleepers_fences()) {
  let_others_read_this_process();
  if (!processes_can_read_each_other()) profiles_.cma.reset();
}
ShmFabric::~ShmFabric() = default;

std::unique_ptr<WaitSet> ShmFabric::make_wait_set() { return make_shm_wait_set(); }

std::unique_ptr<ShmWaitSet> ShmFabric::make_shm_wait_set() {
  return std::make_unique<ShmWaitSet>(region_, clock_, spin_);
}

std::unique_ptr<Endpoint> ShmFabric::open(const RankPlace&, WaitSet& wait_set) {
  return std::make_unique<ShmEndpoint>(region_, static_cast<ShmWaitSet&>(wait_set),
                                       sleepers_fence_);
}

std::unique_ptr<ShmEndpoint> ShmFabric::open_named(RankId rank, ShmWaiting& wait_set) {
  return std::make_unique<ShmEndpoint>(region_, wait_set, sleepers_fence_, rank);
}

const TransportProfile* ShmFabric::profile(Channel channel, bool) const {
  if (channel == Channel::shm) return &profiles_.shm;
  if (channel == Channel::cma && profiles_.cma) return &*profiles_.cma;
  return nullptr;
}

}  // namespace ferry::shm
