// The fabric of ranks that share memory: threads of one process, processes of one host, or both.
// Packets go through rings in a region; large messages can be read from the sender's memory.
#pragma once

#include <memory>
#include <optional>

#include "core/ports/fabric.hpp"
#include "hw_backend/shm/region.hpp"
#include "hw_backend/threads/thread_executor.hpp"

namespace ferry::shm {

class ShmEndpoint;
class ShmWaitSet;
class ShmWaiting;

/// What this machine's channels cost; `calibrate` measures them.
struct ShmProfiles {
  TransportProfile shm;
  std::optional<TransportProfile> cma;  ///< none: ranks cannot read each other's memory here
};

/// How long a wait looks before it sleeps. It adapts between the two: longer where arrivals come
/// soon after it gave up, shorter where they come late; the shortest where ranks are more than
/// processors. Being woken takes some tens of microseconds: less is not worth sleeping for.
struct SpinLimits {
  Duration shortest = Duration::microseconds(50);
  Duration longest = Duration::milliseconds(1);
};

/// All that is posted goes through memory, by whichever channel it is called: each has rings of its
/// own, as order and `disconnect` are by channel. Tasks that wait are those of a ThreadExecutor,
/// which can be cancelled, or plain threads.
class ShmFabric final : public Fabric {
 public:
  /// `clock` is what deadlines refer to; it outlives the fabric. In each process, after fork.
  ShmFabric(std::shared_ptr<Region> region, const ThreadClock& clock, ShmProfiles profiles,
            SpinLimits spin = {});
  ~ShmFabric() override;
  [[nodiscard]] std::unique_ptr<WaitSet> make_wait_set() override;
  [[nodiscard]] std::unique_ptr<ShmWaitSet> make_shm_wait_set();
  /// Throws WorldError if the region has no place left.
  [[nodiscard]] std::unique_ptr<Endpoint> open(const RankPlace& place, WaitSet& wait_set) override;
  /// One whose address is its rank's number, as are those that it talks to and hears of: see
  /// `ShmEndpoint`.
  [[nodiscard]] std::unique_ptr<ShmEndpoint> open_named(RankId rank, ShmWaiting& wait_set);
  /// Of `shm` and, where it works, `cma`; the same for all sockets.
  [[nodiscard]] const TransportProfile* profile(Channel channel, bool same_socket) const override;

  [[nodiscard]] Region& region() const { return *region_; }

 private:
  std::shared_ptr<Region> region_;
  const ThreadClock& clock_;
  ShmProfiles profiles_;
  SpinLimits spin_;
  bool sleepers_fence_;
};

}  // namespace ferry::shm
