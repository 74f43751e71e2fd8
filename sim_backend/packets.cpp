#include "sim_backend/packets.hpp"

#include <cstring>

namespace ferry {

void SimPacket::set_large_body(std::span<const ConstSlice> body, std::size_t size) {
  arrival.body = {};
  if (size == 0) return;
  for (const ConstSlice& slice : body) {
    if (slice.data == nullptr && slice.size > 0) return;
  }
  std::byte* to = small.data();
  if (size > small.size()) {
    large.reset(new std::byte[size]);  // not set to zero first
    to = large.get();
  }
  arrival.body = {to, size};
  for (const ConstSlice& slice : body) {
    if (slice.size == 0) continue;
    std::memcpy(to, slice.data, slice.size);
    to += slice.size;
  }
}

void PacketPool::grow() {
  constexpr std::size_t chunk = 256;
  chunks_.push_back(std::make_unique<SimPacket[]>(chunk));
  for (std::size_t i = chunk; i > 0; --i) {
    SimPacket& packet = chunks_.back()[i - 1];
    packet.next = free_;
    free_ = &packet;
  }
}

}  // namespace ferry
