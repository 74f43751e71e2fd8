// Profiles with round numbers for tests.
#pragma once

#include "core/ports/transport_profile.hpp"

namespace ferry {

inline Duration ns(std::int64_t value) { return Duration::nanoseconds(value); }
inline Bandwidth gigabytes(double value) { return Bandwidth::bytes_per_second(value * 1e9); }

/// One segment: 1 byte at 1 GB/s takes 1 ns.
inline TransportProfile profile_of(Duration latency, Duration overhead, Bandwidth bandwidth,
                                   Bandwidth copy = Bandwidth::unlimited()) {
  TransportProfile profile;
  profile.segments = {{Bytes(0), latency, overhead, ns(0), bandwidth}};
  profile.copy = copy;
  return profile;
}

/// The same, and others may read.
inline TransportProfile readable(TransportProfile profile, Duration registration,
                                 Bandwidth bandwidth = Bandwidth::unlimited()) {
  profile.reads = true;
  profile.registration = registration;
  profile.registration_bandwidth = bandwidth;
  return profile;
}

}  // namespace ferry
