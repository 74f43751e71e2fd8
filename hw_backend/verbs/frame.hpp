// What goes by a queue pair: a frame's head, then of a packet a description of memory (if
// `describes`), its header and its body. A packet whose head is expected (`head_cache`) is its body
// alone, with the low 32 bits of its checksum as immediate data.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/ports/fabric.hpp"

namespace ferry::verbs {

enum class FrameKind : std::uint8_t {
  word = 1,  ///< nothing but how far the sender has got
  packet,
};
inline constexpr std::uint8_t frame_phantom = 1;    ///< the body is not there
inline constexpr std::uint8_t frame_describes = 2;  ///< the header's key is of memory, here it is

struct FrameHead {
  std::uint32_t number = 0;  ///< of a packet; low bits
  std::uint32_t taken = 0;   ///< of the other direction: packets that were taken; low bits
  FrameKind kind = FrameKind::word;
  std::uint8_t flags = 0;
  std::uint16_t unused = 0;
  std::uint32_t version = 1;
  std::uint64_t body_size = 0;
};
static_assert(sizeof(FrameHead) == 24 && std::is_trivially_copyable_v<FrameHead>);

/// One piece of memory that may be read by RDMA.
struct MemoryDescription {
  std::uint64_t address = 0;
  std::uint64_t size = 0;
  std::uint32_t key = 0;                ///< of its registration
  std::uint32_t device_generation = 0;  ///< for which that is right
};
static_assert(sizeof(MemoryDescription) == 24);

inline constexpr std::size_t largest_frame_head =
    sizeof(FrameHead) + sizeof(MemoryDescription) + sizeof(PacketHeader);

}  // namespace ferry::verbs
