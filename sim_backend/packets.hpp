// Packets of the simulated fabric and what keeps them: a pool, and the queue of one receiver.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "core/ports/fabric.hpp"

namespace ferry {

struct SimConnection;

/// A packet, or the end of a read, on its way to an endpoint or waiting there.
struct SimPacket {
  Arrival arrival;
  TimePoint at;  ///< it arrives
  SimPacket* previous = nullptr;
  SimPacket* next = nullptr;
  /// Of a packet: whose place it takes; null: none.
  SimConnection* connection = nullptr;
  Duration cost;                       ///< to the receiver's processor
  std::uint32_t version = 0;           ///< of the fabric, when it was posted; 0: of a read
  std::uint32_t times_attached = 0;    ///< of the receiver's device, when it was posted
  std::unique_ptr<std::byte[]> large;  ///< the body, where it does not fit below
  std::array<std::byte, 128> small = {};
  MemoryKey key;            ///< of a read
  std::size_t offset = 0;   ///< of a read
  std::vector<Slice> into;  ///< of a read

  /// Copies the body, unless a part of it is phantom: then all of it is.
  void set_body(std::span<const ConstSlice> body, std::size_t size) {
    arrival.body_size = size;
    if (body.size() == 1 && size <= small.size()) [[likely]] {
      const std::byte* const from = body.front().data;
      if (from == nullptr) {
        arrival.body = {};
        return;
      }
      arrival.body = {small.data(), size};
      if (size == 8) {  // a number
        std::memcpy(small.data(), from, 8);
      } else {
        std::memcpy(small.data(), from, size);
      }
      return;
    }
    set_large_body(body, size);
  }
  void set_large_body(std::span<const ConstSlice> body, std::size_t size);
};

/// Packets that are reused, so that a message allocates nothing.
class PacketPool {
 public:
  PacketPool() = default;
  PacketPool(const PacketPool&) = delete;
  PacketPool& operator=(const PacketPool&) = delete;
  [[nodiscard]] SimPacket* take() {
    if (free_ == nullptr) grow();
    SimPacket* const packet = free_;
    free_ = packet->next;
    return packet;
  }
  void give_back(SimPacket* packet) {
    packet->large.reset();
    packet->next = free_;
    free_ = packet;
  }

 private:
  void grow();
  std::vector<std::unique_ptr<SimPacket[]>> chunks_;
  SimPacket* free_ = nullptr;
};

/// In the order of arrival; what arrives at the same time, in the order of posting.
class PacketQueue {
 public:
  [[nodiscard]] SimPacket* first() const { return first_; }
  void insert(SimPacket* packet) {
    SimPacket* before = last_;
    while (before != nullptr && before->at > packet->at) before = before->previous;
    packet->previous = before;
    packet->next = before == nullptr ? first_ : before->next;
    (packet->previous == nullptr ? first_ : packet->previous->next) = packet;
    (packet->next == nullptr ? last_ : packet->next->previous) = packet;
  }
  void remove(SimPacket* packet) {
    (packet->previous == nullptr ? first_ : packet->previous->next) = packet->next;
    (packet->next == nullptr ? last_ : packet->next->previous) = packet->previous;
  }

 private:
  SimPacket* first_ = nullptr;
  SimPacket* last_ = nullptr;
};

}  // namespace ferry
