// What packets of the engine say, and where in a `PacketHeader` they say it.
#pragma once

#include <cstdint>

#include "core/mpi/collectives/call.hpp"
#include "core/ports/fabric.hpp"

namespace ferry::mpi {

/// `size`, `tag` and `context` are the message's; `more` names a request unless it says otherwise.
/// All but `returns` and `fragment` are numbered by the ordered pair of ranks, and are taken in
/// that order, once.
enum class PacketKind : std::uint8_t {
  returns,   ///< only credits
  eager,     ///< envelope and body; `key`: the sender's request if it is synchronous, `more`: below
  announce,  ///< envelope; `more`: the sender's request, `key`: its memory where it can be read
  matched,   ///< to the sender of a synchronous eager message
  clear,     ///< to the sender: `size` bytes, from where it stands, to the request `key`
  fragment,  ///< to the receiver's request: bytes from `key` on
  done,      ///< to the sender: all bytes that were wanted are there
  lost,      ///< to the sender: its memory cannot be read
  renewed,   ///< to the receiver: what was announced as request `more` is now in memory `key`, or
             ///< is to be cleared
  flush,     ///< the last one before the connection closes, in the hold `more`; `key`: fragments
             ///< that were ever sent
};

/// A request of one rank, as another one names it. With the kind of collective in the highest byte
/// where it is announced.
struct RequestName {
  std::uint32_t index = 0;  ///< below 2^24
  std::uint32_t generation = 0;
  [[nodiscard]] std::uint64_t packed() const { return std::uint64_t{generation} << 24U | index; }
  static RequestName unpack(std::uint64_t packed) {
    return {static_cast<std::uint32_t>(packed & 0xff'ffffU),
            static_cast<std::uint32_t>(packed >> 24U)};
  }
};
inline constexpr std::uint32_t most_requests = 1U << 24U;

/// In the highest byte of `more`, of eager packets and announcements: the collective that they
/// belong to. Below, eager ones have the root and the size that it was called with, as far as there
/// is room.
inline constexpr unsigned collective_shift = 56;
inline constexpr std::uint64_t below_collective = (std::uint64_t{1} << collective_shift) - 1;
inline constexpr unsigned root_shift = 40;
[[nodiscard]] inline std::uint64_t mark_of(const CollectiveCall& call) {
  constexpr std::uint64_t sizes = (std::uint64_t{1} << root_shift) - 1;
  return static_cast<std::uint64_t>(call.kind) << collective_shift |
         static_cast<std::uint64_t>(static_cast<std::uint16_t>(call.root)) << root_shift |
         (call.size & sizes);
}
[[nodiscard]] inline Collective collective_of(const PacketHeader& header) {
  return static_cast<Collective>(header.more >> collective_shift);
}

// Flags.
inline constexpr std::uint8_t flag_phantom = 1;      ///< no bytes travel, only their size
inline constexpr std::uint8_t flag_synchronous = 2;  ///< the sender waits to be matched
inline constexpr std::uint8_t flag_reads = 4;        ///< announcement: `key` can be read
inline constexpr unsigned flag_channel_shift = 3;    ///< announcement: by this channel

[[nodiscard]] inline Channel data_channel_of(const PacketHeader& header) {
  return static_cast<Channel>(header.flags >> flag_channel_shift);
}

/// What a message costs of the receiver's buffers: one for the packet, and one for each so many
/// bytes of it.
inline constexpr std::size_t bytes_per_credit = 256;
[[nodiscard]] inline std::uint32_t credits_for(std::size_t size) {
  return 1 + static_cast<std::uint32_t>(size / bytes_per_credit);
}

}  // namespace ferry::mpi
