#include "core/channel/costs.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/unit/channel/profiles.hpp"

namespace ferry {
namespace {

TEST(Costs, a_packet_is_two_overheads_two_copies_and_the_wire) {
  const TransportProfile profile = profile_of(ns(700), ns(150), gigabytes(5), gigabytes(8));
  // 150 + 125 + 700 + 200 + 150 + 125
  EXPECT_EQ(packet_time(profile, Bytes(1000)), ns(1450));
  EXPECT_EQ(packet_time(profile, Bytes(0)), ns(1000));
}

TEST(Costs, a_packet_has_the_constants_of_its_segment) {
  TransportProfile profile = profile_of(ns(700), ns(150), gigabytes(5));
  profile.segments.push_back({Bytes(1000), ns(900), ns(200), ns(0), gigabytes(10)});
  EXPECT_EQ(packet_time(profile, Bytes(999)), ns(150 + 700 + 200 + 150));
  EXPECT_EQ(packet_time(profile, Bytes(1000)), ns(200 + 900 + 100 + 200));
}

TEST(Costs, a_read_goes_there_and_back_and_costs_its_reader_one_overhead) {
  TransportProfile profile = profile_of(ns(700), ns(150), gigabytes(5), gigabytes(8));
  EXPECT_EQ(read_time(profile, Bytes(10'000)), ns(150 + 700 + 700 + 2000));
  profile.segments.push_back({Bytes(5000), ns(900), ns(200), ns(0), gigabytes(10)});
  EXPECT_EQ(read_time(profile, Bytes(10'000)), ns(200 + 700 + 900 + 1000));
}

TEST(Costs, registration_has_a_fixed_part_and_one_by_size) {
  const TransportProfile profile =
      readable(profile_of(ns(700), ns(150), gigabytes(5)), ns(300), gigabytes(50));
  EXPECT_EQ(registration_time(profile, Bytes(10'000)), ns(500));
}

TEST(Costs, a_rendezvous_by_read_is_registration_announcement_and_read) {
  const TransportProfile control = profile_of(ns(100), ns(50), gigabytes(5));
  const TransportProfile data =
      readable(profile_of(ns(700), ns(150), gigabytes(5)), ns(300), gigabytes(50));
  const Choice choice{Protocol::rendezvous_read, Channel::shm, Channel::cma, 4096};
  EXPECT_EQ(message_time(choice, control, data, Bytes(10'000)),
            ns(300 + 200 + (50 + 100 + 50) + (150 + 700 + 700 + 2000) + 50));
}

TEST(Costs, a_rendezvous_by_fragments_asks_is_answered_and_may_have_to_say_that_it_is_done) {
  const TransportProfile control = profile_of(ns(100), ns(50), gigabytes(5));
  const TransportProfile data = profile_of(ns(700), ns(150), gigabytes(5));
  const Duration fragments = fragments_time(data, Bytes(10'000), Bytes(4096));
  Choice choice{Protocol::rendezvous_fragments, Channel::shm, Channel::shm, 4096};
  EXPECT_EQ(message_time(choice, control, data, Bytes(10'000)), ns(2 * 200) + fragments);
  choice.data = Channel::ivshmem;
  EXPECT_EQ(message_time(choice, control, data, Bytes(10'000)), ns(2 * 200 + 50) + fragments);
}

TEST(Costs, the_wire_is_taken_for_the_gap_or_the_bytes_of_each_packet) {
  TransportProfile profile = profile_of(ns(700), ns(150), gigabytes(1));
  profile.segments[0].gap = ns(500);
  Choice choice{Protocol::rendezvous_fragments, Channel::shm, Channel::shm, 1000};
  EXPECT_EQ(wire_time(choice, profile, Bytes(2100)), ns(1000 + 1000 + 500));
  choice.protocol = Protocol::eager;
  EXPECT_EQ(wire_time(choice, profile, Bytes(2100)), ns(2100));
  EXPECT_EQ(wire_time(choice, profile, Bytes(0)), ns(500));
}

/// Packet by packet, as the world does it.
Duration played(const TransportProfile& profile, std::uint64_t size, std::uint64_t fragment) {
  Duration sender;
  Duration wire;
  Duration receiver;
  do {
    const std::uint64_t body = std::min(size, fragment);
    size -= body;
    const TransportSegment& segment = profile.segment_for(Bytes(body));
    const Duration ends = segment.overhead + Bytes(body) / profile.copy;
    sender += ends;
    const Duration leaves = std::max(sender, wire);
    wire = leaves + std::max(segment.gap, Bytes(body) / segment.bandwidth);
    const Duration arrives = leaves + segment.latency + Bytes(body) / segment.bandwidth;
    receiver = std::max(receiver, arrives) + ends;
  } while (size > 0);
  return receiver;
}

TEST(Costs, fragments_take_what_playing_them_packet_by_packet_takes) {
  TransportProfile slow_copy = profile_of(ns(100), ns(50), gigabytes(40), gigabytes(6));
  TransportProfile slow_wire = profile_of(ns(900), ns(150), gigabytes(3), gigabytes(8));
  TransportProfile gap = profile_of(ns(20), ns(10), gigabytes(40));
  gap.segments[0].gap = ns(5000);
  TransportProfile last_is_dear = profile_of(ns(20), ns(3000), gigabytes(1));
  last_is_dear.segments.push_back({Bytes(4096), ns(20), ns(10), ns(0), gigabytes(40)});
  for (const TransportProfile& profile : {slow_copy, slow_wire, gap, last_is_dear}) {
    for (const std::uint64_t size :
         {0UL, 1UL, 4095UL, 4096UL, 4097UL, 8192UL, 8193UL, 12'000UL, 65'536UL, 1'000'001UL}) {
      // The world rounds every packet to nanoseconds.
      EXPECT_NEAR(fragments_time(profile, Bytes(size), Bytes(4096)).to_seconds(),
                  played(profile, size, 4096).to_seconds(),
                  1e-9 * static_cast<double>(size / 4096 + 1))
          << size;
    }
  }
}

}  // namespace
}  // namespace ferry
