// All channels of one rank: what it finds on its machine, what it tells the others, and what
// follows from what they tell.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/ports/bootstrap.hpp"
#include "core/ports/wait_set.hpp"
#include "core/scenario/instance.hpp"
#include "core/scenario/scenario.hpp"
#include "hw_backend/bootstrap/tcp_bootstrap.hpp"
#include "hw_backend/ranks/adapter.hpp"
#include "hw_backend/ranks/ivshmem_part.hpp"
#include "hw_backend/ranks/joined_endpoint.hpp"
#include "hw_backend/ranks/memory_events.hpp"
#include "hw_backend/ranks/rank_places.hpp"
#include "hw_backend/shm/shm_fabric.hpp"
#include "hw_backend/shm/shm_wait_set.hpp"
#include "hw_backend/threads/thread_executor.hpp"

namespace ferry::ranks {

struct ChannelWishes {
  std::string ivshmem;  ///< the device's memory; empty: that of the machine's only device
  std::string device;   ///< the adapter, as of `adapter_is_there`; empty: any
  std::string listen;   ///< numeric address for messages out of band; empty: all of the machine's
  std::string reached_as;  ///< by the other ranks; empty: `listen`, or `machine_address`
  Duration patience = Duration::milliseconds(120'000);  ///< with other ranks
};

/// Which rank of which job.
struct JobMember {
  std::string id;  ///< of the job, the same for all its ranks
  RankId rank;
  std::uint32_t ranks = 1;
};

/// Use: make it, spread `mine`, `join` what all ranks spread, perhaps spread and join `neighbours`,
/// then `connect`. Everything that fails throws WorldError with a sentence: the rank cannot take
/// part.
class RankChannels {
 public:
  RankChannels(JobMember member, const Scenario& scenario, const Instance& instance, JobId job,
               ChannelWishes wishes, const ThreadClock& clock);
  ~RankChannels();
  RankChannels(const RankChannels&) = delete;
  RankChannels& operator=(const RankChannels&) = delete;

  [[nodiscard]] const Whereabouts& mine() const { return here_; }
  /// The machine's memory is shared from here on; blocks until all its ranks have it, after which
  /// it has no name any more. `all`: by rank.
  void join(std::vector<Whereabouts> all);
  /// Whether somebody has IVShmem, and nobody said on which host he is.
  [[nodiscard]] bool hosts_are_unknown() const;
  /// Opens IVShmem; others may look for this rank there.
  void open_ivshmem();
  /// Of all ranks that see each other in IVShmem, which is once all have opened it.
  [[nodiscard]] const Whereabouts& mine_with_neighbours();
  /// The routes follow from here on; adapters are opened.
  void connect(std::vector<Whereabouts> all);

  [[nodiscard]] std::size_t sharing_memory() const { return sharing_; }
  /// Of those that share this machine's memory.
  [[nodiscard]] bool is_first_here() const { return is_first_here_; }
  [[nodiscard]] shm::Region& memory() { return *region_; }
  [[nodiscard]] WaitSet& wait_set() { return *wait_set_; }
  [[nodiscard]] JoinedEndpoint& endpoint() { return *endpoint_; }
  [[nodiscard]] RankPlaces& places() { return *places_; }
  /// What made messages slower than they would be, for people; empty: nothing did.
  [[nodiscard]] std::string remark() const { return adapter_ == nullptr ? "" : adapter_->remark(); }

  /// Around a move of this machine: frees and closes what would keep its devices from being
  /// unplugged, and opens them again. While no call of the rank is under way, or within one.
  void close_devices();
  /// What there is not, or not within these times, stays closed; its failures are returned, for
  /// people.
  struct Patience {
    Duration ivshmem;
    Duration adapter;
  };
  [[nodiscard]] std::vector<std::string> open_devices(bool ivshmem, bool adapter,
                                                      const Patience& patience);
  /// Whether every rank can be reached by channels whose devices are open here.
  [[nodiscard]] bool reaches_all() const;

 private:
  [[nodiscard]] shm::DevicePart device_part() const;
  [[nodiscard]] ChannelPolicy policy() const;
  void make_wait_set();
  void open_adapter();

  JobMember member_;
  const Scenario& scenario_;
  const Instance& instance_;
  JobId job_;
  ChannelWishes wishes_;
  const ThreadClock& clock_;
  Whereabouts here_;
  std::vector<Whereabouts> all_;
  std::size_t sharing_ = 1;
  bool is_first_here_ = false;
  bool uses_adapters_ = false;

  std::unique_ptr<TcpBootstrap> bootstrap_;
  std::shared_ptr<shm::Region> region_;
  std::unique_ptr<shm::ShmFabric> fabric_;
  // One of two: sleeping on shared memory alone, or on descriptors as well.
  std::unique_ptr<shm::ShmWaitSet> memory_wait_set_;
  std::unique_ptr<EventWaitSet> event_wait_set_;
  std::unique_ptr<MemoryEvents> memory_events_;
  WaitSet* wait_set_ = nullptr;
  shm::ShmWaiting* waiting_ = nullptr;
  std::unique_ptr<JoinedEndpoint> endpoint_;
  std::unique_ptr<shm::ShmEndpoint> in_memory_;
  std::unique_ptr<IvshmemPart> ivshmem_;
  std::unique_ptr<Adapter> adapter_;
  std::unique_ptr<RankPlaces> places_;
};

}  // namespace ferry::ranks
