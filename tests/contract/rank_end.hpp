// One rank's endpoint and what it waits on, as tests use them.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string_view>
#include <vector>

#include "core/ports/world.hpp"

namespace ferry {

inline RankPlace native_on(std::uint32_t host) {
  return {.vm = std::nullopt, .host = HostId{host}, .container = 0, .socket = 0};
}
inline RankPlace inside(VmId vm) {
  return {.vm = vm, .host = HostId{0}, .container = 0, .socket = 0};
}

/// `size` bytes that differ from message to message.
inline std::vector<std::byte> pattern(std::size_t size, std::size_t seed) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>((i * 31 + seed) & 0xffU);
  return bytes;
}

struct RankEnd {
  std::unique_ptr<WaitSet> set;
  std::unique_ptr<Endpoint> end;

  RankEnd(World& world, const RankPlace& place)
      : set(world.fabric.make_wait_set()), end(world.fabric.open(place, *set)) {}

  [[nodiscard]] EndpointAddress address() const { return end->address(); }

  /// Posts once; `tag` and the body's own bytes tell packets apart.
  [[nodiscard]] bool try_post(EndpointAddress to, Channel channel, std::int32_t tag,
                              const std::vector<std::byte>& body = {}) const {
    PacketHeader header;
    header.tag = tag;
    return try_post(to, channel, header, body);
  }
  [[nodiscard]] bool try_post(EndpointAddress to, Channel channel, const PacketHeader& header,
                              const std::vector<std::byte>& body) const {
    const ConstSlice slice{body.data(), body.size()};
    return end->post(to, channel, header, {&slice, 1});
  }
  /// The same, and waits for room as long as it takes.
  template <class TagOrHeader>
  void post(EndpointAddress to, Channel channel, const TagOrHeader& tag_or_header,
            const std::vector<std::byte>& body = {}) const {
    while (!try_post(to, channel, tag_or_header, body)) {
      ASSERT_EQ(set->wait(TimePoint::never()), Wake::ready);
    }
  }
  [[nodiscard]] bool post_phantom(EndpointAddress to, Channel channel, std::size_t size) const {
    const ConstSlice slice{nullptr, size};
    return end->post(to, channel, PacketHeader{}, {&slice, 1});
  }
  /// The next arrival; null if `deadline` or a cancellation comes first.
  [[nodiscard]] const Arrival* receive(TimePoint deadline = TimePoint::never()) const {
    for (;;) {
      if (const Arrival* const arrival = end->poll()) return arrival;
      if (set->wait(deadline) != Wake::ready) return end->poll();
    }
  }
};

inline std::vector<std::byte> body_of(const Arrival& arrival) {
  return {arrival.body.begin(), arrival.body.end()};
}

}  // namespace ferry
