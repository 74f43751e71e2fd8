// Messages between endpoints. Rings, queue pairs and flows live in the worlds; what a message costs
// follows from the TransportProfile of its channel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/ports/result.hpp"
#include "core/ports/types.hpp"
#include "core/units/units.hpp"

namespace ferry {

/// LogGP costs of a channel for messages from `from_size` up to the next segment.
struct TransportSegment {
  Bytes from_size;
  Duration latency;     ///< L: on the wire
  Duration overhead;    ///< o: processor time of the sender, and of the receiver
  Duration gap;         ///< g: least time between two messages of one sender
  Bandwidth bandwidth;  ///< 1/G
};

/// What a channel costs by message size. Segments ascend, the first starts at zero bytes.
struct TransportProfile {
  std::vector<TransportSegment> segments;

  /// The segment that holds `size`.
  [[nodiscard]] const TransportSegment& segment_for(Bytes size) const;
  /// End-to-end time of one message on an idle channel: o + L + size/bandwidth + o.
  [[nodiscard]] Duration one_way(Bytes size) const;
};

/// Address of an endpoint within its fabric.
struct EndpointAddress {
  std::uint32_t value = 0;
  constexpr auto operator<=>(const EndpointAddress&) const = default;
};

/// A message: real bytes, or phantom ones (only a size) where a simulation should carry none.
struct Message {
  EndpointAddress from;
  std::uint64_t sequence = 0;  ///< per ordered pair of endpoints, from 0, set by the sender's endpoint
  Bytes size;
  std::vector<std::byte> payload;  ///< empty (phantom), or exactly `size` bytes
};

/// Destruction closes it: posts to it, waiting ones too, are `refused`; what is under way to or from it
/// may be lost; its address is not given again.
class Endpoint {
 public:
  virtual ~Endpoint() = default;
  [[nodiscard]] virtual EndpointAddress address() const = 0;
  /// Blocks while the receiver's queue is full (bounded), and for the sender's overhead. Messages
  /// of one sender to one receiver arrive in the order of posting. `refused`: no such endpoint.
  virtual Result<> post(EndpointAddress to, Bytes size, std::vector<std::byte> payload,
                        TimePoint deadline) = 0;
  /// Blocks until a message is there. `timed_out`, `cancelled`.
  virtual Result<Message> receive(TimePoint deadline) = 0;
};

class Fabric {
 public:
  virtual ~Fabric() = default;
  /// An endpoint of a rank on `host`.
  [[nodiscard]] virtual std::unique_ptr<Endpoint> open(HostId host,
                                                       const TransportProfile& profile) = 0;
};

}  // namespace ferry
