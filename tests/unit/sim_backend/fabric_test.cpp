#include "core/ports/fabric.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "sim_backend/sim_fabric.hpp"
#include "tests/unit/sim_backend/child.hpp"

namespace ferry {
namespace {

constexpr TimePoint never = TimePoint::never();

Duration us(std::int64_t value) { return Duration::microseconds(value); }

/// o 1 us, L 5 us, 500 MB/s; from 64 KiB on L 20 us.
TransportProfile profile(Duration gap = Duration::zero()) {
  const Bandwidth bandwidth = Bandwidth::bytes_per_second(5e8);
  return {
      {{Bytes(0), us(5), us(1), gap, bandwidth}, {Bytes::kibi(64), us(20), us(1), gap, bandwidth}}};
}

void in_world(const std::function<void(World&)>& body) {
  text_from_child([&] {
    PlainWorld(3).simulate(body);
    return "";
  });
}

TEST(TransportProfileTest, a_size_belongs_to_the_last_segment_that_starts_at_or_below_it) {
  const TransportProfile of = profile();
  EXPECT_EQ(of.segment_for(Bytes(0)).latency, us(5));
  EXPECT_EQ(of.segment_for(Bytes(65535)).latency, us(5));
  EXPECT_EQ(of.segment_for(Bytes(65536)).latency, us(20));
  EXPECT_EQ(of.segment_for(Bytes::gibi(4)).latency, us(20));
  EXPECT_EQ(of.one_way(Bytes(1000)), us(1 + 5 + 2 + 1));
}

TEST(TransportProfileDeathTest, a_profile_begins_at_zero_bytes) {
  const TransportProfile gap{{{Bytes(8), us(1), us(1), us(1), Bandwidth::unlimited()}}};
  EXPECT_DEATH(static_cast<void>(gap.segment_for(Bytes(9))), "starts at zero bytes");
}

TEST(SimFabricTest, a_message_takes_what_its_profile_says) {
  struct Case {
    std::uint64_t bytes;
    HostId to;
    double expected_us;  // of the receiver's clock
  };
  for (const Case& c : {Case{8, HostId{1}, 1 + 5 + 0.016 + 1}, Case{50'000, HostId{1}, 107},
                        Case{50'000, HostId{0}, 107},
                        // Large: a flow on a link of 1 GB/s, of which the profile takes half.
                        Case{1'000'000, HostId{1}, 1 + 2000 + 20 + 1},
                        // Large, but within a host: no link.
                        Case{1'000'000, HostId{0}, 1 + 2000 + 20 + 1}}) {
    in_world([&](World& world) {
      const auto receiver = world.fabric.open(c.to, profile());
      const auto sender = world.fabric.open(HostId{0}, profile());
      ASSERT_TRUE(sender->post(receiver->address(), Bytes(c.bytes), {}, never));
      EXPECT_EQ(world.clock.now(), TimePoint::at(us(1)));  // the sender goes on after its overhead
      const auto message = receiver->receive(never);
      ASSERT_TRUE(message);
      EXPECT_EQ(message->size, Bytes(c.bytes));
      EXPECT_NEAR(seconds_at(world) * 1e6, c.expected_us, 1e-3) << c.bytes << " bytes";
    });
  }
}

TEST(SimFabricTest, a_senders_messages_follow_each_other_at_the_gap_or_the_time_on_the_wire) {
  in_world([](World& world) {
    const auto receiver = world.fabric.open(HostId{1}, profile());
    const auto sender = world.fabric.open(HostId{0}, profile(us(10)));
    for (const std::uint64_t bytes : {8, 8, 50'000, 8}) {
      ASSERT_TRUE(sender->post(receiver->address(), Bytes(bytes), {}, never));
    }
    std::vector<double> arrived;
    for (std::uint64_t i = 0; i < 4; ++i) {
      const auto message = receiver->receive(never);
      ASSERT_TRUE(message);
      EXPECT_EQ(message->sequence, i);
      arrived.push_back(seconds_at(world) * 1e6 - 1);  // less the receiver's overhead
    }
    EXPECT_NEAR(arrived[0], 1 + 5 + 0.016, 1e-3);
    EXPECT_NEAR(arrived[1], 1 + 10 + 5 + 0.016, 1e-3);
    EXPECT_NEAR(arrived[2], 1 + 20 + 100 + 5, 1e-3);
    EXPECT_NEAR(arrived[3], 1 + 20 + 100 + 5 + 1, 1e-3);  // the receiver was still busy with [2]
  });
}

TEST(SimFabricTest, a_small_message_does_not_overtake_a_large_one_of_more_latency) {
  in_world([](World& world) {
    const auto receiver = world.fabric.open(HostId{1}, profile());
    const auto sender = world.fabric.open(HostId{0}, profile());
    ASSERT_TRUE(sender->post(receiver->address(), Bytes::kibi(64), {}, never));
    ASSERT_TRUE(sender->post(receiver->address(), Bytes(8), {}, never));
    EXPECT_EQ(receiver->receive(never)->size, Bytes::kibi(64));
    EXPECT_EQ(receiver->receive(never)->size, Bytes(8));
  });
}

TEST(SimFabricTest, large_messages_share_their_links_with_migrations) {
  text_from_child([] {
    PlainWorld plain(2);
    plain.add_vm(HostId{0}, Bytes::gibi(1)).virtual_function = false;
    plain.simulate([](World& world) {
      class Silent final : public TransferObserver {
        void round_done(VmId, const RoundReport&) override {}
      } silent;
      const auto migration = world.executor.spawn("migration", [&] {
        ASSERT_TRUE(world.hypervisor.migrate(VmId{0}, HostId{1}, {}, silent, never));
      });
      TransportProfile fast = profile();
      for (TransportSegment& segment : fast.segments) segment.bandwidth = Bandwidth::unlimited();
      const auto receiver = world.fabric.open(HostId{1}, fast);
      const auto sender = world.fabric.open(HostId{0}, fast);
      ASSERT_TRUE(sender->post(receiver->address(), Bytes(100'000'000), {}, never));
      ASSERT_TRUE(receiver->receive(never));
      EXPECT_NEAR(seconds_at(world), 0.2, 1e-4);  // half of the link
      migration->join();
      EXPECT_NEAR(seconds_at(world), (1073741824.0 + 1e8) / 1e9, 1e-4);
    });
    return "";
  });
}

TEST(SimFabricTest, a_full_receiver_makes_senders_wait_and_a_deadline_ends_that) {
  in_world([](World& world) {
    const auto receiver = world.fabric.open(HostId{1}, profile());
    const auto sender = world.fabric.open(HostId{0}, profile());
    for (std::size_t i = 0; i < SimFabric::queue_capacity; ++i) {
      ASSERT_TRUE(sender->post(receiver->address(), Bytes(8), {}, never));
    }
    const TimePoint deadline = world.clock.now() + us(50);
    const auto full = sender->post(receiver->address(), Bytes(8), {}, deadline);
    ASSERT_FALSE(full);
    EXPECT_EQ(full.error().kind, FailureKind::timed_out);
    EXPECT_EQ(world.clock.now(), deadline);
    const auto drain = world.executor.spawn("drain", [&] {
      world.clock.sleep_until(deadline + us(100));
      ASSERT_TRUE(receiver->receive(never));
    });
    ASSERT_TRUE(sender->post(receiver->address(), Bytes(8), {}, never));
    EXPECT_EQ(world.clock.now(), deadline + us(101));
    drain->join();
  });
}

TEST(SimFabricTest,
     what_was_posted_arrives_though_the_sender_is_closed_and_not_at_a_closed_receiver) {
  in_world([](World& world) {
    auto receiver = world.fabric.open(HostId{1}, profile());
    const EndpointAddress address = receiver->address();
    {
      const auto sender = world.fabric.open(HostId{0}, profile());
      ASSERT_TRUE(sender->post(address, Bytes::mebi(1), {}, never));
      ASSERT_TRUE(sender->post(address, Bytes(8), {}, never));
    }
    EXPECT_EQ(receiver->receive(never)->size, Bytes::mebi(1));
    EXPECT_EQ(receiver->receive(never)->size, Bytes(8));
    const auto sender = world.fabric.open(HostId{0}, profile());
    ASSERT_TRUE(sender->post(address, Bytes(8), {}, never));
    receiver = nullptr;
    const auto gone = sender->post(address, Bytes(8), {}, never);
    ASSERT_FALSE(gone);
    EXPECT_EQ(gone.error().kind, FailureKind::refused);
    EXPECT_EQ(gone.error().reason, "there is no endpoint 0");
  });
}

}  // namespace
}  // namespace ferry
