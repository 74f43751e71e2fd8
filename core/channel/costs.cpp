#include "core/channel/costs.hpp"

#include <algorithm>
#include <initializer_list>

#include "core/units/check.hpp"

namespace ferry {
namespace {

/// Of one packet in each stage.
struct Stages {
  Duration ends;     ///< o + size/copy: sender and receiver alike
  Duration arrives;  ///< from leaving until it is there
};

Stages stages_of(const TransportProfile& profile, Bytes size) {
  const TransportSegment& segment = profile.segment_for(size);
  const Duration bytes = size / segment.bandwidth;
  return {segment.overhead + size / profile.copy, segment.latency + bytes};
}

Duration times(Duration duration, std::uint64_t count) {
  return Duration::nanoseconds(duration.count_nanoseconds() * static_cast<std::int64_t>(count));
}

}  // namespace

Duration packet_time(const TransportProfile& profile, Bytes size) {
  const Stages stages = stages_of(profile, size);
  return stages.ends + stages.arrives + stages.ends;
}

Duration registration_time(const TransportProfile& profile, Bytes size) {
  return profile.registration + size / profile.registration_bandwidth;
}

Duration read_time(const TransportProfile& profile, Bytes size) {
  const TransportSegment& segment = profile.segment_for(size);
  const Duration asks = profile.segment_for(Bytes()).latency;
  return segment.overhead + asks + segment.latency + size / segment.bandwidth;
}

Duration fragments_time(const TransportProfile& profile, Bytes size, Bytes fragment) {
  check(fragment > Bytes(), "a fragment has bytes");
  const std::uint64_t whole = size == Bytes() ? 0 : (size.count() - 1) / fragment.count();
  const TransportSegment& whole_segment = profile.segment_for(fragment);
  const Stages each = stages_of(profile, fragment);
  const Stages last = stages_of(profile, Bytes(size.count() - whole * fragment.count()));
  if (whole == 0) return last.ends + last.arrives + last.ends;
  // The longest chain of packets that wait for each other: packets 1 to i at the sender, i to j on
  // the wire, j to the last at the receiver. All but the last are alike, so i and j are the first,
  // the last, or the one before it. Packet j's time on the wire ends with its arrival.
  const auto ends = [&](std::uint64_t packets) {
    return times(whole_segment.overhead, packets) +
           Bytes(fragment.count() * packets) / profile.copy;
  };
  Duration longest;
  const std::initializer_list<std::uint64_t> places = {0, whole - 1, whole};
  for (const std::uint64_t i : places) {
    for (const std::uint64_t j : places) {
      if (j < i) continue;
      const Duration sent = ends(i) + (i == whole ? last.ends : each.ends);
      // Those before j, all of them whole; their bytes together, so that nothing is rounded twice.
      const Duration wire = std::max(times(whole_segment.gap, j - i),
                                     Bytes(fragment.count() * (j - i)) / whole_segment.bandwidth);
      const Duration arrives = j == whole ? last.arrives : each.arrives;
      const Duration received = ends(whole - j) + last.ends;
      longest = std::max(longest, sent + wire + arrives + received);
    }
  }
  return longest;
}

Duration wire_time(const Choice& choice, const TransportProfile& data, Bytes size) {
  const auto of_packet = [&](Bytes body) {
    const TransportSegment& segment = data.segment_for(body);
    return std::max(segment.gap, body / segment.bandwidth);
  };
  if (choice.protocol != Protocol::rendezvous_fragments || size == Bytes()) return of_packet(size);
  const std::uint64_t whole = (size.count() - 1) / choice.fragment;
  return times(of_packet(Bytes(choice.fragment)), whole) +
         of_packet(Bytes(size.count() - whole * choice.fragment));
}

Duration message_time(const Choice& choice, const TransportProfile& control,
                      const TransportProfile& data, Bytes size) {
  const Duration signal = packet_time(control, Bytes());
  const Duration says_done = control.segment_for(Bytes()).overhead;
  switch (choice.protocol) {
    case Protocol::eager: return packet_time(data, size);
    case Protocol::rendezvous_read:
      return registration_time(data, size) + signal + read_time(data, size) + says_done;
    case Protocol::rendezvous_fragments:
      return signal + signal + fragments_time(data, size, Bytes(choice.fragment)) +
             (can_lose(choice.data) ? says_done : Duration::zero());
  }
  return Duration::max();
}

}  // namespace ferry
