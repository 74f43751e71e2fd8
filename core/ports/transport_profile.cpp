#include "core/ports/transport_profile.hpp"

#include <algorithm>

#include "core/units/check.hpp"

namespace ferry {

const TransportSegment& TransportProfile::segment_for(Bytes size) const {
  check(!segments.empty() && segments.front().from_size == Bytes(0),
        "a transport profile's first segment starts at zero bytes");
  const auto above = std::upper_bound(
      segments.begin(), segments.end(), size,
      [](Bytes wanted, const TransportSegment& segment) { return wanted < segment.from_size; });
  return *std::prev(above);
}

Duration TransportProfile::one_way(Bytes size) const {
  const TransportSegment& segment = segment_for(size);
  return segment.overhead + segment.latency + size / segment.bandwidth + segment.overhead;
}

std::string_view to_name(Channel channel) {
  switch (channel) {
    case Channel::shm: return "shm";
    case Channel::cma: return "cma";
    case Channel::ivshmem: return "ivshmem";
    case Channel::sriov: return "sriov";
    case Channel::sriov_loopback: return "sriov_loopback";
    case Channel::passthrough: return "passthrough";
    case Channel::native: return "native";
  }
  return "?";
}

}  // namespace ferry
