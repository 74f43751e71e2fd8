// What the channels between ranks cost. One struct chooses the protocol, parameterises the
// simulated world and is what calibration fits.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "core/units/units.hpp"

namespace ferry {

/// How two ranks reach each other. Which of them a pair uses is decided in core/channel.
enum class Channel : std::uint8_t {
  shm,             ///< memory that both have mapped: same VM or container, or both on the bare host
  cma,             ///< one copy from process to process by the kernel; same VM or container
  ivshmem,         ///< host memory that is a device of both VMs
  sriov,           ///< virtual functions of two hosts
  sriov_loopback,  ///< virtual functions of one host, through the adapter
  passthrough,     ///< a whole adapter each
  native,          ///< adapters without virtualisation
};
inline constexpr std::size_t channel_count = 7;
inline constexpr std::array<Channel, channel_count> all_channels = {
    Channel::shm,         Channel::cma,   Channel::ivshmem, Channel::sriov, Channel::sriov_loopback,
    Channel::passthrough, Channel::native};
std::string_view to_name(Channel channel);

/// LogGP costs of packets from `from_size` up to the next segment (Alexandrov, Ionescu, Schauser,
/// Scheiman, SPAA 1995).
struct TransportSegment {
  Bytes from_size;
  Duration latency;     ///< L: on the wire
  Duration overhead;    ///< o: processor time of the sender, and of the receiver
  Duration gap;         ///< g: least time between two packets of one sender
  Bandwidth bandwidth;  ///< 1/G

  bool operator==(const TransportSegment&) const = default;
};

/// What a channel costs by packet size. Segments ascend, the first starts at zero bytes.
struct TransportProfile {
  std::vector<TransportSegment> segments;
  /// Largest body of one packet: bounds eager messages, and cuts longer ones into fragments.
  Bytes largest_packet = Bytes::kibi(64);
  /// Of one copy between a buffer of the user and one of the channel, which eager packets make on
  /// either side; unlimited: the segments have it already.
  Bandwidth copy = Bandwidth::unlimited();
  /// Whether the receiver can read the sender's memory by itself (RDMA read, process_vm_readv).
  bool reads = false;
  /// Of memory that the other side reads, before it may: `registration` and the time for its bytes.
  Duration registration = {};
  Bandwidth registration_bandwidth = Bandwidth::unlimited();
  /// From the wish for a connection to the first packet on it.
  Duration connect = {};

  /// The segment that holds `size`.
  [[nodiscard]] const TransportSegment& segment_for(Bytes size) const;
  /// End-to-end time of one packet on an idle channel: o + L + size/bandwidth + o. Copies into and
  /// out of buffers are not in it.
  [[nodiscard]] Duration one_way(Bytes size) const;
};

/// The profiles of a world or test bed, by channel and locality class. Adapters' do not depend on
/// sockets unless they say so.
class ChannelProfiles {
 public:
  /// Between two ranks on the same socket or not; null: there is no such channel.
  [[nodiscard]] const TransportProfile* find(Channel channel, bool same_socket) const {
    const auto& profile = profiles_[index(channel, same_socket)];
    return profile ? &*profile : nullptr;
  }
  void set(Channel channel, bool same_socket, TransportProfile profile) {
    profiles_[index(channel, same_socket)] = std::move(profile);
  }
  /// For both classes.
  void set(Channel channel, const TransportProfile& profile) {
    set(channel, true, profile);
    set(channel, false, profile);
  }
  [[nodiscard]] bool empty() const {
    for (const auto& profile : profiles_) {
      if (profile) return false;
    }
    return true;
  }

 private:
  static std::size_t index(Channel channel, bool same_socket) {
    return 2 * static_cast<std::size_t>(channel) + (same_socket ? 0 : 1);
  }
  std::array<std::optional<TransportProfile>, 2 * channel_count> profiles_;
};

}  // namespace ferry
