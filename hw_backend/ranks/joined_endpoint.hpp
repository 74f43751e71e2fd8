// The endpoints of one rank, each for some channels, as one.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "core/mpi/workloads/workload_log.hpp"
#include "core/ports/fabric.hpp"
#include "core/ports/transport_profile.hpp"
#include "core/ports/types.hpp"

namespace ferry::ranks {

/// In all parts an address is the number of a rank in its job, so packets pass as they are.
/// Channels without a part (a device that is closed for a migration) find no room; those that no
/// part was ever made for carry nothing.
class JoinedEndpoint final : public Endpoint {
 public:
  /// `wait_set` is the one that the parts are opened with.
  JoinedEndpoint(RankId rank, WaitSet& wait_set) : rank_(rank), wait_set_(wait_set) {}

  /// From now on `channels` go by `part`, which outlives this or is taken out before it ends; null:
  /// their device is closed for now. While no call of the rank is under way.
  void set_part(std::span<const Channel> channels, Endpoint* part);

  /// A VM of the job is elsewhere: packets are counted apart from here on.
  void note_move() { moves_.fetch_add(1, std::memory_order_release); }
  /// Packets that found room, by channel and moves before. While no call of the rank is under way.
  [[nodiscard]] std::vector<mpi::ChannelPackets> packets() const;

  [[nodiscard]] EndpointAddress address() const override { return {rank_.index}; }
  [[nodiscard]] bool post(EndpointAddress to, Channel channel, const PacketHeader& header,
                          std::span<const ConstSlice> body) override;
  [[nodiscard]] std::size_t largest_body(Channel channel) const override;
  [[nodiscard]] const Arrival* poll() override;
  [[nodiscard]] MemoryKey expose(Channel channel, std::span<const ConstSlice> memory) override;
  void withdraw(MemoryKey key) override;
  void read(EndpointAddress from, Channel channel, MemoryKey key, std::size_t offset,
            std::span<const Slice> into, std::uint64_t cookie) override;
  void connect(EndpointAddress to, Channel channel) override;
  void disconnect(EndpointAddress to, Channel channel) override;

 private:
  struct Way {
    Endpoint* part = nullptr;
    bool known = false;    ///< there was one
    bool refused = false;  ///< a packet, since there is none
    std::size_t largest_body = 0;
  };
  [[nodiscard]] Way& way(Channel channel) { return ways_[static_cast<std::size_t>(channel)]; }
  [[nodiscard]] const Arrival* fail_read();

  /// What was counted before the latest move goes to `packets_before_`.
  void take_note_of_moves(std::uint32_t moves);
  void add_counts(std::vector<mpi::ChannelPackets>& to) const;

  RankId rank_;
  WaitSet& wait_set_;
  std::atomic<std::uint32_t> moves_ = 0;
  std::uint32_t counted_moves_ = 0;
  std::array<std::uint64_t, channel_count> posted_{};  ///< since then
  std::vector<mpi::ChannelPackets> packets_before_;
  std::array<Way, channel_count> ways_{};
  std::vector<Endpoint*> parts_;  ///< each once
  std::size_t turn_ = 0;
  std::uint32_t in_a_row_ = 0;  ///< arrivals of the part whose turn it is
  /// Reads by way of a device that is closed: channel and cookie.
  std::vector<std::pair<Channel, std::uint64_t>> failed_reads_;
  Arrival failed_;
};

}  // namespace ferry::ranks
