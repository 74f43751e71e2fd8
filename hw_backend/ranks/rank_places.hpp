// Where the ranks of a job are, as they found out themselves, and which channels follow from that.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/channel/coordinator.hpp"
#include "core/mpi/collectives/groups.hpp"
#include "core/ports/result.hpp"

namespace ferry::ranks {

/// What one rank says of itself to the others.
struct Whereabouts {
  std::string machine;    ///< its name, for people
  std::string memory;     ///< the same for ranks that share memory, and for no others
  std::string processes;  ///< the same for ranks that can name each other's processes
  std::string host;       ///< the same for machines on one host; empty: not known
  bool reads = false;     ///< it may read memory of other processes (cma)
  bool device = false;    ///< it has a virtual function, or an adapter
  Bytes ivshmem;          ///< of its device's memory the job's part; zero: none
  std::string bootstrap;  ///< where it listens for messages out of band; empty: nowhere
  bool operator==(const Whereabouts&) const = default;
};
/// Of this process. Memory is /dev/shm of one kernel, seen by one user: containers that have their
/// own do not share it.
[[nodiscard]] Whereabouts look_around();
[[nodiscard]] std::string to_text(const Whereabouts& whereabouts);
/// None: that is no text of `to_text`.
[[nodiscard]] std::optional<Whereabouts> parse_whereabouts(std::string_view text);

/// Routes by where ranks are. A machine may move to another host, with all its ranks; looking is
/// for any task, moving for one at a time.
class RankPlaces final : public ChannelChooser {
 public:
  /// By rank. `profiles`: without `cma` if somebody may not read.
  RankPlaces(const std::vector<Whereabouts>& ranks, const ChannelPolicy& policy,
             const ChannelProfiles& profiles);
  [[nodiscard]] const Route& route(RankId from, RankId to) const override;
  [[nodiscard]] std::uint64_t generation() const override {
    return generation_.load(std::memory_order_acquire);
  }
  [[nodiscard]] PairClass class_of(RankId from, RankId to) const;

  [[nodiscard]] std::size_t size() const { return places_.size(); }
  [[nodiscard]] bool share_memory(RankId a, RankId b) const;
  /// Ranks that share memory with this one, itself among them, in their order.
  [[nodiscard]] std::vector<RankId> sharing_memory(RankId rank) const;
  /// By rank: the same number on one host.
  [[nodiscard]] std::vector<std::uint32_t> hosts() const;
  /// These ranks are on this host now, and have these devices.
  void moved(const std::vector<RankId>& ranks, const std::string& host, bool ivshmem, bool device);

 private:
  /// One word: read by others while it changes.
  struct Place {
    std::uint32_t host = 0;
    std::uint16_t memory = 0;
    bool ivshmem = false;
    bool device = false;
  };
  [[nodiscard]] Place place(RankId rank) const;
  void store(RankId rank, Place place);

  [[nodiscard]] std::uint32_t number_of(const std::string& host);

  RouteTable table_;
  std::map<std::string, std::uint32_t> hosts_;
  std::vector<std::atomic<std::uint64_t>> places_;
  std::atomic<std::uint64_t> generation_ = 1;
};

/// What one packet carries.
struct PacketLimits {
  Bytes memory;   ///< by shared memory
  Bytes adapter;  ///< by adapters and virtual functions
};
/// `profiles` without those that these ranks cannot use, and with packets no larger than these.
[[nodiscard]] ChannelProfiles usable_profiles(const ChannelProfiles& profiles,
                                              const std::vector<Whereabouts>& ranks,
                                              const PacketLimits& limits);

}  // namespace ferry::ranks
