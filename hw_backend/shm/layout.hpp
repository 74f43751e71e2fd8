// What lies in a region of shared memory: everything that two ranks of one host both touch. Words
// that both write are atomic; no pointer of one process means anything to another, so places are
// numbers. All zeros is the state at the start.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/ports/fabric.hpp"

namespace ferry::shm {

inline constexpr std::size_t cache_line = 64;

/// What a region begins with: "Ferry", and the version of what is here.
inline constexpr std::uint64_t region_magic = 0x4665'7272'7900'0004;
constexpr bool is_region_of_any_version(std::uint64_t first) {
  return first >> 24U == region_magic >> 24U;
}

/// Where the tasks of one rank sleep.
struct alignas(cache_line) WaitSlot {
  std::atomic<std::uint32_t> taken;
  std::atomic<std::uint32_t> sleepers;  ///< read by every sender, written at a sleep only
  std::atomic<std::uint32_t> word;      ///< futex: changes when who sleeps must look again
};

/// What others need to know of an endpoint.
struct alignas(cache_line) EndpointSlot {
  std::atomic<std::uint32_t> taken;
  std::atomic<std::uint32_t> address;     ///< of who is here now; 0: nobody
  std::atomic<std::uint32_t> generation;  ///< how many were here
  std::atomic<std::uint32_t> wait_slot;
  std::atomic<std::uint32_t> name;  ///< + 1, of who has one; 0: none
  std::atomic<std::int32_t> process;
  /// Rings that senders have opened and the receiver has not seen: index + 1 of the first, each
  /// leads to the next; `closed_stack` when there is nobody to see them.
  alignas(cache_line) std::atomic<std::uint32_t> opened;
};
inline constexpr std::uint32_t closed_stack = 0xffff'ffff;

/// Memory that others may read. A key holds the record's index and what `generation` was.
struct Exposure {
  std::atomic<std::uint64_t> generation;  ///< odd while it may be read
  std::atomic<std::uint64_t> address;     ///< in its process: of the memory, or of its pieces
  std::atomic<std::uint64_t> size;        ///< of the memory, if it is one piece
  std::atomic<std::uint32_t> pieces;   ///< how many; `address` is of an array of ConstSlice if > 1
  std::atomic<std::uint32_t> readers;  ///< threads of its own process that read it now
};

/// One packet, but for what does not fit.
struct alignas(cache_line) Cell {
  /// Position + 1 (38 bits), size and kind of the body: see ring.hpp. Written last. A position
  /// never comes again, so what is left of earlier packets is never taken for a new one.
  std::atomic<std::uint64_t> mark;
  std::byte bytes[cache_line - sizeof(std::uint64_t)];
};
static_assert(sizeof(Cell) == cache_line);

/// From one endpoint to another by one channel. Cells and data follow it in memory.
struct alignas(cache_line) Ring {
  // Written at the opening and at the close, or when the ring is full: in both caches as a rule.
  std::uint32_t sender;    ///< address
  std::uint32_t receiver;  ///< address
  std::uint32_t sender_wait_slot;
  std::uint32_t channel;
  std::uint32_t sender_name;       ///< if it has one
  std::uint32_t next;              ///< of the stack it is in: index + 1
  std::uint64_t start;             ///< position of the first packet
  std::atomic<std::uint64_t> end;  ///< after the last packet, once the sender has closed it
  std::atomic<std::uint32_t> closed;
  std::atomic<std::uint32_t> room_wanted;  ///< by the sender, who also takes it back
  // Written by the receiver, read by a sender that believes the ring to be full.
  alignas(cache_line) std::atomic<std::uint64_t> cells_freed;
  std::atomic<std::uint64_t> data_freed;
};
inline constexpr std::uint32_t closed_by_sender = 1;
inline constexpr std::uint32_t closed_by_receiver = 2;

inline constexpr std::size_t longest_verdict = 1024;

/// At the start of the region.
struct alignas(cache_line) RegionHeader {
  std::uint64_t magic;
  std::uint32_t endpoints;  ///< at most, at a time
  std::uint32_t ranks;      ///< of the directory
  std::uint32_t cells;      ///< of each ring; a power of two
  std::uint32_t data;       ///< bytes of each ring
  std::uint64_t size;       ///< of the region
  std::uint64_t rings;      ///< at most
  std::uint32_t exposures;  ///< of each endpoint, at most
  /// Of a device: whose the region is, and whether it is laid out (`DeviceState`).
  std::atomic<std::uint64_t> owner;
  alignas(cache_line) std::atomic<std::uint64_t> rings_made;
  /// Index + 1 of the first ring that can be used again, below a count of changes (32 bits each).
  std::atomic<std::uint64_t> rings_free;
  std::atomic<std::uint32_t> open_endpoints;
  std::atomic<std::uint32_t> announcements;  ///< futex: changes with the directory
  /// Why the job has ended, and since when it says so.
  std::atomic<std::uint32_t> condemned;  ///< 0: not; 1: somebody writes `verdict`; 2: it is there
  std::atomic<std::uint32_t> verdicts;   ///< futex: changes when listeners must look again
  char verdict[longest_verdict];         ///< ends with a zero
};

}  // namespace ferry::shm
