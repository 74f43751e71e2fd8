#include "core/ports/fabric.hpp"

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

}  // namespace ferry
