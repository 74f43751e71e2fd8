#include "core/channel/coordinator.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "core/channel/costs.hpp"
#include "tests/unit/channel/profiles.hpp"

namespace ferry {
namespace {

using testing::HasSubstr;

constexpr std::size_t no_end = std::numeric_limits<std::size_t>::max();

/// Everything is there. In one VM 100 ns and 10 GB/s; IVShmem 200 ns, between sockets 4 GB/s; the
/// adapter 1 us, 6 GB/s.
ChannelProfiles test_bed() {
  ChannelProfiles profiles;
  TransportProfile shm = profile_of(ns(100), ns(50), gigabytes(40), gigabytes(10));
  shm.largest_packet = Bytes::kibi(8);
  profiles.set(Channel::shm, shm);
  profiles.set(Channel::cma, readable(profile_of(ns(0), ns(600), gigabytes(12)), ns(0)));
  TransportProfile ivshmem = profile_of(ns(200), ns(50), gigabytes(40), gigabytes(10));
  ivshmem.largest_packet = Bytes::kibi(8);
  profiles.set(Channel::ivshmem, true, ivshmem);
  ivshmem.copy = gigabytes(4);
  profiles.set(Channel::ivshmem, false, ivshmem);
  const TransportProfile adapter =
      readable(profile_of(ns(700), ns(150), gigabytes(6), gigabytes(8)), ns(400));
  for (const Channel channel :
       {Channel::sriov, Channel::sriov_loopback, Channel::passthrough, Channel::native}) {
    profiles.set(channel, adapter);
  }
  return profiles;
}

ChannelPolicy policy(ChannelMode mode, ChannelDevice device = ChannelDevice::sriov) {
  ChannelPolicy policy;
  policy.mode = mode;
  policy.device = device;
  policy.ivshmem_part = Bytes::mebi(16);
  return policy;
}

PairClass pairs(Nearness nearness, bool same_socket = true) {
  return {nearness, same_socket, true, true};
}

/// The channels of the data, by rising size, each once in a row: "shm cma".
std::string channels_of(const Route& route) {
  std::string text;
  std::string_view last;
  for (const Route::Range& range : route.ranges()) {
    if (to_name(range.choice.data) == last) continue;
    last = to_name(range.choice.data);
    if (!text.empty()) text += ' ';
    text += last;
  }
  return text;
}

const std::string& refusal(const Decision& decision, Channel channel) {
  return decision.refusals[static_cast<std::size_t>(channel)];
}

TEST(Coordinator, modes_use_the_channels_that_the_seeds_compare) {
  struct Case {
    ChannelMode mode;
    Nearness nearness;
    bool same_socket;
    std::string channels;
  };
  using enum ChannelMode;
  using enum Nearness;
  const std::vector<Case> cases = {
      {isolated, same_container, true, "shm cma"},
      {isolated, same_vm, true, "sriov_loopback"},
      {isolated, same_host, true, "sriov_loopback"},
      {isolated, other_host, true, "sriov"},
      {one_layer, same_container, false, "shm cma"},
      {one_layer, same_vm, true, "shm cma"},
      {one_layer, same_host, true, "sriov_loopback"},
      {one_layer, other_host, true, "sriov"},
      {two_layer, same_vm, false, "shm cma"},
      {two_layer, same_host, true, "ivshmem"},
      {two_layer, same_host, false, "ivshmem"},
      {two_layer, other_host, true, "sriov"},
      {hybrid, same_vm, false, "shm cma"},
      {hybrid, same_host, true, "ivshmem"},
      {hybrid, same_host, false, "ivshmem sriov_loopback"},
      {hybrid, other_host, true, "sriov"},
  };
  for (const Case& c : cases) {
    const Decision decision = decide(pairs(c.nearness, c.same_socket), policy(c.mode), test_bed());
    EXPECT_EQ(channels_of(decision.route), c.channels)
        << static_cast<int>(c.mode) << ' ' << to_name(c.nearness) << ' ' << c.same_socket;
  }
}

TEST(Coordinator, the_device_of_the_job_joins_what_shares_no_memory) {
  for (const auto& [device, channel] :
       {std::pair{ChannelDevice::passthrough, "passthrough"}, {ChannelDevice::native, "native"}}) {
    const ChannelPolicy wanted = policy(ChannelMode::one_layer, device);
    EXPECT_EQ(channels_of(decide(pairs(Nearness::same_host), wanted, test_bed()).route), channel);
    PairClass no_functions = pairs(Nearness::other_host);
    no_functions.virtual_functions = false;
    const Decision decision = decide(no_functions, wanted, test_bed());
    EXPECT_EQ(channels_of(decision.route), channel);
    EXPECT_EQ(refusal(decision, Channel::sriov), "the job's device is " + std::string(channel));
  }
}

TEST(Coordinator, what_is_missing_falls_to_the_next_channel_with_the_reason) {
  PairClass no_ivshmem = pairs(Nearness::same_host);
  no_ivshmem.ivshmem = false;
  Decision decision = decide(no_ivshmem, policy(ChannelMode::two_layer), test_bed());
  EXPECT_EQ(channels_of(decision.route), "sriov_loopback");
  EXPECT_EQ(refusal(decision, Channel::ivshmem), "not both VMs have an IVShmem device");

  ChannelPolicy no_region = policy(ChannelMode::two_layer);
  no_region.ivshmem_part = Bytes();
  decision = decide(pairs(Nearness::same_host), no_region, test_bed());
  EXPECT_EQ(channels_of(decision.route), "sriov_loopback");
  EXPECT_EQ(refusal(decision, Channel::ivshmem), "the job has no IVShmem region");

  no_region.ivshmem_part = Bytes(4095);
  decision = decide(pairs(Nearness::same_host), no_region, test_bed());
  EXPECT_EQ(channels_of(decision.route), "sriov_loopback");
  EXPECT_EQ(refusal(decision, Channel::ivshmem),
            "a rank's part of the job's region, 4095B, is too small for packets of 1KiB");

  ChannelProfiles no_shm = test_bed();
  ChannelProfiles few;
  for (const Channel channel : {Channel::cma, Channel::ivshmem, Channel::sriov_loopback}) {
    few.set(channel, *no_shm.find(channel, true));
  }
  decision = decide(pairs(Nearness::same_container), policy(ChannelMode::hybrid), few);
  EXPECT_EQ(channels_of(decision.route), "ivshmem");
  EXPECT_EQ(refusal(decision, Channel::shm), "nothing says what it costs here");
  EXPECT_EQ(refusal(decision, Channel::cma),
            "it carries no packets, and there is no shm beside it");
}

TEST(Coordinator, pairs_that_nothing_joins_get_every_reason) {
  PairClass alone = pairs(Nearness::other_host);
  alone.virtual_functions = false;
  const Decision decision = decide(alone, policy(ChannelMode::hybrid), test_bed());
  EXPECT_FALSE(decision.route.reaches());
  EXPECT_EQ(decision.route.unreachable(),
            "shm: the ranks are on two hosts; cma: the ranks are on two hosts; ivshmem: the ranks "
            "are on two hosts; sriov: not both VMs have a virtual function; sriov_loopback: the "
            "ranks are on two hosts; passthrough: the job's device is sriov; native: the job's "
            "device is sriov");
}

TEST(Coordinator, every_channel_is_used_or_refused_in_every_class_and_mode) {
  for (const ChannelMode mode : {ChannelMode::isolated, ChannelMode::one_layer,
                                 ChannelMode::two_layer, ChannelMode::hybrid}) {
    for (const Nearness nearness :
         {Nearness::same_container, Nearness::same_vm, Nearness::same_host, Nearness::other_host}) {
      for (const unsigned bits : {0U, 1U, 2U, 3U, 4U, 5U, 6U, 7U}) {
        const PairClass each{nearness, (bits & 1U) != 0, (bits & 2U) != 0, (bits & 4U) != 0};
        const Decision decision = decide(each, policy(mode), test_bed());
        for (const Channel channel : all_channels) {
          const bool used = std::any_of(
              decision.candidates.begin(), decision.candidates.end(),
              [&](const Candidate& candidate) { return candidate.choice.data == channel; });
          EXPECT_EQ(used, refusal(decision, channel).empty())
              << to_name(channel) << ' ' << to_name(nearness) << ' ' << bits;
        }
      }
    }
  }
}

TEST(Coordinator, eager_ends_where_its_copies_cost_what_reading_does) {
  // eager: 2 x 150 + 700 + 2 s/8 + s/6; read: 400 + (2 x 150 + 700) + 150 + 1400 + s/6 + 150.
  // Equal at s/4 = 2100 ns: 8400 bytes, which then still goes eagerly.
  const Decision decision =
      decide(pairs(Nearness::other_host), policy(ChannelMode::hybrid), test_bed());
  ASSERT_EQ(decision.route.ranges().size(), 2U);
  EXPECT_NEAR(static_cast<double>(decision.route.ranges()[0].last), 8400, 6);
  EXPECT_EQ(decision.route.choose(0).protocol, Protocol::eager);
  EXPECT_EQ(decision.route.choose(10'000).protocol, Protocol::rendezvous_read);
}

TEST(Coordinator, fragments_take_over_where_nobody_reads) {
  ChannelProfiles profiles;
  // The wire is free: copies of 1 ns a byte on either side.
  TransportProfile shm = profile_of(ns(100), ns(50), gigabytes(1e6), gigabytes(1));
  shm.largest_packet = Bytes(1000);
  profiles.set(Channel::shm, shm);
  const Decision decision =
      decide(pairs(Nearness::same_container), policy(ChannelMode::hybrid), profiles);
  ASSERT_EQ(decision.route.ranges().size(), 2U);
  EXPECT_EQ(decision.route.ranges()[0].last, 1000U);  // no packet is larger
  EXPECT_EQ(decision.route.choose(1001).protocol, Protocol::rendezvous_fragments);
  EXPECT_EQ(decision.route.choose(1001).fragment, 1000U);
}

TEST(Coordinator, between_sockets_hybrid_changes_to_the_adapter_where_that_is_faster) {
  const ChannelProfiles profiles = test_bed();
  const Decision decision =
      decide(pairs(Nearness::same_host, false), policy(ChannelMode::hybrid), profiles);
  std::size_t change = 0;
  for (const Route::Range& range : decision.route.ranges()) {
    if (range.choice.data == Channel::ivshmem) change = range.last;
  }
  ASSERT_GT(change, 0U);
  const TransportProfile& ivshmem = *profiles.find(Channel::ivshmem, false);
  const TransportProfile& loopback = *profiles.find(Channel::sriov_loopback, false);
  const auto least = [&](const TransportProfile& data, Channel channel, Bytes size) {
    Duration time = size <= data.largest_packet ? packet_time(data, size) : Duration::max();
    for (const Protocol protocol : {Protocol::rendezvous_read, Protocol::rendezvous_fragments}) {
      if (protocol == Protocol::rendezvous_read && !data.reads) continue;
      const Choice choice{protocol, Channel::ivshmem, channel,
                          static_cast<std::uint32_t>(data.largest_packet.count())};
      time = std::min(time, message_time(choice, ivshmem, data, size));
    }
    return time;
  };
  EXPECT_LE(least(ivshmem, Channel::ivshmem, Bytes(change)),
            least(loopback, Channel::sriov_loopback, Bytes(change)));
  EXPECT_GT(least(ivshmem, Channel::ivshmem, Bytes(change + 1)),
            least(loopback, Channel::sriov_loopback, Bytes(change + 1)));
  EXPECT_EQ(decision.route.control(), Channel::ivshmem);
  EXPECT_EQ(decision.route.choose(no_end).data, Channel::sriov_loopback);
}

TEST(Coordinator, a_threshold_of_the_job_goes_before_the_platforms_and_both_before_the_costs) {
  ChannelPolicy wanted = policy(ChannelMode::hybrid);
  const auto last_eager = [&] {
    return decide(pairs(Nearness::other_host), wanted, test_bed()).route.ranges()[0].last;
  };
  wanted.eager_thresholds[static_cast<std::size_t>(Channel::sriov)] = Bytes(3000);
  EXPECT_EQ(last_eager(), 3000U);
  wanted.eager_threshold = Bytes(20'000);
  EXPECT_EQ(last_eager(), 20'000U);
  wanted.eager_threshold = Bytes(0);
  EXPECT_EQ(last_eager(), 0U);
}

TEST(Coordinator, a_threshold_above_a_packet_ends_at_the_packet) {
  ChannelPolicy wanted = policy(ChannelMode::hybrid);
  wanted.eager_threshold = Bytes::mebi(1);
  const Decision decision = decide(pairs(Nearness::same_container), wanted, test_bed());
  EXPECT_EQ(decision.route.ranges()[0].last, Bytes::kibi(8).count());
  EXPECT_THAT(decision.candidates[0].bound, HasSubstr("a packet of shm is at most 8KiB"));
}

TEST(Coordinator, a_packet_over_ivshmem_is_at_most_a_quarter_of_a_ranks_part) {
  ChannelPolicy wanted = policy(ChannelMode::two_layer);
  wanted.ivshmem_part = Bytes::kibi(16);
  const Decision decision = decide(pairs(Nearness::same_host), wanted, test_bed());
  EXPECT_EQ(decision.route.choose(no_end).fragment, Bytes::kibi(4).count());
}

TEST(Coordinator, no_size_has_a_cheaper_candidate_than_the_one_chosen) {
  const ChannelProfiles profiles = test_bed();
  for (const bool same_socket : {true, false}) {
    for (const Nearness nearness :
         {Nearness::same_container, Nearness::same_host, Nearness::other_host}) {
      const Decision decision =
          decide(pairs(nearness, same_socket), policy(ChannelMode::hybrid), profiles);
      for (std::size_t size = 0; size < 10'000'000; size = size * 5 / 4 + 13) {
        const Duration chosen =
            choice_time(decision.route.choose(size), decision.pairs, profiles, Bytes(size));
        for (const Candidate& candidate : decision.candidates) {
          if (size < candidate.smallest || size > candidate.largest) continue;
          // Fragments cost in steps; between two sizes that were compared they may win briefly.
          EXPECT_LE(
              chosen.to_seconds(),
              1.02 *
                  choice_time(candidate.choice, decision.pairs, profiles, Bytes(size)).to_seconds())
              << size << ' ' << to_name(nearness);
        }
      }
    }
  }
}

}  // namespace
}  // namespace ferry
