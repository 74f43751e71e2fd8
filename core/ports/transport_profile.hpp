// What the channels between ranks cost. One struct chooses the protocol, parameterises the
// simulated world and is what calibration fits.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
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
};

/// What a channel costs by packet size. Segments ascend, the first starts at zero bytes.
struct TransportProfile {
  std::vector<TransportSegment> segments;
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

}  // namespace ferry
