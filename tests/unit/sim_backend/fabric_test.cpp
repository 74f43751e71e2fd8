#include "core/ports/fabric.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "tests/contract/rank_end.hpp"
#include "tests/unit/sim_backend/child.hpp"

namespace ferry {
namespace {

constexpr TimePoint never = TimePoint::never();

Duration us(std::int64_t value) { return Duration::microseconds(value); }

/// o 1 us, L 5 us, 500 MB/s; from 64 KiB on L 20 us.
TransportProfile profile(Duration gap = Duration::zero()) {
  const Bandwidth bandwidth = Bandwidth::bytes_per_second(5e8);
  TransportProfile made;
  made.segments = {{Bytes(0), us(5), us(1), gap, bandwidth},
                   {Bytes::kibi(64), us(20), us(1), gap, bandwidth}};
  made.largest_packet = Bytes::mebi(1);
  return made;
}

/// A world of three hosts in which `native` costs what is given.
void in_world(const TransportProfile& native, const std::function<void(World&)>& body) {
  text_from_child([&] {
    PlainWorld plain(3);
    plain.platform.channels.set(Channel::native, native);
    plain.simulate(body);
    return "";
  });
}

double microseconds_at(const World& world) { return seconds_at(world) * 1e6; }

TEST(TransportProfileTest, a_size_belongs_to_the_last_segment_that_starts_at_or_below_it) {
  const TransportProfile of = profile();
  EXPECT_EQ(of.segment_for(Bytes(0)).latency, us(5));
  EXPECT_EQ(of.segment_for(Bytes(65535)).latency, us(5));
  EXPECT_EQ(of.segment_for(Bytes(65536)).latency, us(20));
  EXPECT_EQ(of.segment_for(Bytes::gibi(4)).latency, us(20));
  EXPECT_EQ(of.one_way(Bytes(1000)), us(1 + 5 + 2 + 1));
}

TEST(TransportProfileDeathTest, a_profile_begins_at_zero_bytes) {
  TransportProfile gap;
  gap.segments = {{Bytes(8), us(1), us(1), us(1), Bandwidth::unlimited()}};
  EXPECT_DEATH(static_cast<void>(gap.segment_for(Bytes(9))), "starts at zero bytes");
}

TEST(SimFabricTest, a_packet_takes_what_its_profile_says) {
  struct Case {
    std::size_t bytes;
    std::uint32_t to;
    double expected_us;  // of the receiver's clock
  };
  for (const Case& c : {Case{8, 1, 1 + 5 + 0.016 + 1}, Case{50'000, 1, 107}, Case{50'000, 0, 107},
                        // Large: a flow on a link of 1 GB/s, of which the profile takes half.
                        Case{1'000'000, 1, 1 + 2000 + 20 + 1},
                        // Large, but within a host: no link.
                        Case{1'000'000, 0, 1 + 2000 + 20 + 1}}) {
    in_world(profile(), [&](World& world) {
      const RankEnd receiver(world, native_on(c.to));
      const RankEnd sender(world, native_on(0));
      ASSERT_TRUE(sender.post_phantom(receiver.address(), Channel::native, c.bytes));
      EXPECT_EQ(world.clock.now(), TimePoint::at(us(1)));  // the sender goes on after its overhead
      ASSERT_NE(receiver.receive(), nullptr);
      EXPECT_NEAR(microseconds_at(world), c.expected_us, 1e-3) << c.bytes << " bytes";
    });
  }
}

TEST(SimFabricTest, copies_keep_both_processors_busy) {
  TransportProfile copying = profile();
  copying.copy = Bandwidth::bytes_per_second(1e9);
  in_world(copying, [](World& world) {
    const RankEnd receiver(world, native_on(1));
    const RankEnd sender(world, native_on(0));
    ASSERT_TRUE(sender.post_phantom(receiver.address(), Channel::native, 10'000));
    EXPECT_EQ(world.clock.now(), TimePoint::at(us(1 + 10)));
    ASSERT_NE(receiver.receive(), nullptr);
    EXPECT_NEAR(microseconds_at(world), 1 + 10 + 20 + 5 + 1 + 10, 1e-3);
  });
}

TEST(SimFabricTest, a_senders_packets_follow_each_other_at_the_gap_or_the_time_on_the_wire) {
  in_world(profile(us(10)), [](World& world) {
    const RankEnd receiver(world, native_on(1));
    const RankEnd sender(world, native_on(0));
    for (const std::size_t bytes : {8, 8, 50'000, 8}) {
      ASSERT_TRUE(sender.post_phantom(receiver.address(), Channel::native, bytes));
    }
    EXPECT_EQ(world.clock.now(), TimePoint::at(us(4)));
    std::vector<double> arrived;
    for (int i = 0; i < 4; ++i) {
      ASSERT_NE(receiver.receive(), nullptr);
      arrived.push_back(microseconds_at(world) - 1);  // less the receiver's overhead
    }
    EXPECT_NEAR(arrived[0], 1 + 5 + 0.016, 1e-3);
    EXPECT_NEAR(arrived[1], 1 + 10 + 5 + 0.016, 1e-3);
    EXPECT_NEAR(arrived[2], 1 + 20 + 100 + 5, 1e-3);
    EXPECT_NEAR(arrived[3], 1 + 20 + 100 + 5 + 1, 1e-3);  // the receiver was still busy with [2]
  });
}

TEST(SimFabricTest, a_receiver_that_waits_ahead_of_the_world_is_not_woken_before_its_own_time) {
  in_world(profile(), [](World& world) {
    const RankEnd receiver(world, native_on(1));
    const RankEnd sender(world, native_on(0));
    const auto rank = world.executor.spawn("receiver", [&] {
      world.processor.spend(us(50));
      EXPECT_EQ(world.clock.now(), TimePoint::at(us(50)));
      ASSERT_NE(receiver.receive(), nullptr);
      EXPECT_NEAR(microseconds_at(world), 50 + 1, 1e-3);
    });
    ASSERT_TRUE(sender.post_phantom(receiver.address(), Channel::native, 8));
    rank->join();
  });
}

TEST(SimFabricTest, the_first_packet_waits_for_its_connection_and_keeps_the_wire_from_nobody) {
  TransportProfile connecting = profile();
  connecting.connect = us(100);
  in_world(connecting, [](World& world) {
    const RankEnd a(world, native_on(1));
    const RankEnd b(world, native_on(2));
    const RankEnd sender(world, native_on(0));
    sender.end->connect(b.address(), Channel::native);
    world.clock.sleep_until(TimePoint::at(us(200)));
    ASSERT_TRUE(sender.post_phantom(a.address(), Channel::native, 0));
    ASSERT_TRUE(sender.post_phantom(b.address(), Channel::native, 0));
    ASSERT_NE(b.receive(), nullptr);
    EXPECT_NEAR(microseconds_at(world), 200 + 2 + 5 + 1, 1e-3);
    ASSERT_NE(a.receive(), nullptr);
    EXPECT_NEAR(microseconds_at(world), 200 + 1 + 100 + 5 + 1, 1e-3);
    ASSERT_TRUE(sender.post_phantom(a.address(), Channel::native, 0));
    ASSERT_NE(a.receive(), nullptr);
    EXPECT_NEAR(microseconds_at(world), 307 + 1 + 5 + 1, 1e-3);
  });
}

TEST(SimFabricTest, a_read_takes_the_way_there_and_back) {
  struct Case {
    std::size_t bytes;
    std::uint32_t owner;
    double expected_us;
  };
  TransportProfile reading = profile();
  reading.reads = true;
  reading.registration = us(3);
  for (const Case& c : {Case{50'000, 1, 1 + 5 + 100 + 5}, Case{50'000, 0, 1 + 5 + 100 + 5},
                        Case{1'000'000, 1, 1 + 5 + 2000 + 20}}) {
    in_world(reading, [&](World& world) {
      const RankEnd owner(world, native_on(c.owner));
      const RankEnd reader(world, native_on(0));
      const ConstSlice memory{nullptr, c.bytes};
      const MemoryKey key = owner.end->expose(Channel::native, {&memory, 1});
      EXPECT_EQ(world.clock.now(), TimePoint::at(us(3)));
      const Slice into{nullptr, c.bytes};
      reader.end->read(owner.address(), Channel::native, key, 0, {&into, 1}, 9);
      const Arrival* const end = reader.receive();
      ASSERT_EQ(end->kind, Arrival::Kind::read_done);
      EXPECT_NEAR(microseconds_at(world) - 3, c.expected_us, 1e-3) << c.bytes << " bytes";
    });
  }
}

TEST(SimFabricTest, what_is_withdrawn_or_disconnected_in_the_middle_of_a_read_makes_it_fail) {
  TransportProfile reading = profile();
  reading.reads = true;
  for (const bool large : {false, true}) {
    for (const int who : {0, 1, 2}) {
      in_world(reading, [&](World& world) {
        const RankEnd owner(world, native_on(1));
        const RankEnd reader(world, native_on(0));
        const std::size_t size = large ? 1'000'000 : 50'000;
        const ConstSlice memory{nullptr, size};
        const MemoryKey key = owner.end->expose(Channel::native, {&memory, 1});
        const Slice into{nullptr, size};
        reader.end->read(owner.address(), Channel::native, key, 0, {&into, 1}, 9);
        world.clock.sleep_until(TimePoint::at(us(50)));
        if (who == 0) owner.end->withdraw(key);
        if (who == 1) owner.end->disconnect(reader.address(), Channel::native);
        if (who == 2) reader.end->disconnect(owner.address(), Channel::native);
        EXPECT_EQ(reader.receive()->kind, Arrival::Kind::read_failed);
      });
    }
  }
}

TEST(SimFabricTest, a_small_packet_does_not_overtake_a_large_one_of_more_latency) {
  in_world(profile(), [](World& world) {
    const RankEnd receiver(world, native_on(1));
    const RankEnd sender(world, native_on(0));
    ASSERT_TRUE(sender.post_phantom(receiver.address(), Channel::native, 65'536));
    ASSERT_TRUE(sender.post_phantom(receiver.address(), Channel::native, 8));
    EXPECT_EQ(receiver.receive()->body_size, 65'536U);
    EXPECT_EQ(receiver.receive()->body_size, 8U);
  });
}

TEST(SimFabricTest, what_arrives_at_the_same_time_is_seen_in_the_order_of_posting) {
  in_world(profile(), [](World& world) {
    const RankEnd receiver(world, native_on(1));
    const RankEnd late(world, native_on(0));
    const RankEnd early(world, native_on(2));
    early.post(receiver.address(), Channel::native, 1);
    const auto other = world.executor.spawn("other", [&] {
      late.post(receiver.address(), Channel::native, 2);
      late.post(receiver.address(), Channel::native, 3);
    });
    other->join();
    for (std::int32_t i = 1; i <= 3; ++i) EXPECT_EQ(receiver.receive()->header.tag, i);
  });
}

TEST(SimFabricTest, large_packets_share_their_links_with_migrations) {
  text_from_child([] {
    PlainWorld plain(2);
    plain.add_vm(HostId{0}, Bytes::gibi(1)).virtual_function = false;
    TransportProfile fast = profile();
    for (TransportSegment& segment : fast.segments) segment.bandwidth = Bandwidth::unlimited();
    fast.largest_packet = Bytes::gibi(1);
    plain.platform.channels.set(Channel::native, fast);
    plain.simulate([](World& world) {
      class Silent final : public TransferObserver {
        void round_done(VmId, const RoundReport&) override {}
      } silent;
      const auto migration = world.executor.spawn("migration", [&] {
        ASSERT_TRUE(world.hypervisor.migrate(VmId{0}, HostId{1}, {}, silent, never));
      });
      const RankEnd receiver(world, native_on(1));
      const RankEnd sender(world, native_on(0));
      ASSERT_TRUE(sender.post_phantom(receiver.address(), Channel::native, 100'000'000));
      ASSERT_NE(receiver.receive(), nullptr);
      EXPECT_NEAR(seconds_at(world), 0.2, 1e-4);  // half of the link
      migration->join();
      EXPECT_NEAR(seconds_at(world), (1073741824.0 + 1e8) / 1e9, 1e-4);
    });
    return "";
  });
}

TEST(SimFabricTest,
     what_was_posted_arrives_though_the_sender_is_closed_and_not_at_a_closed_receiver) {
  in_world(profile(), [](World& world) {
    auto receiver = std::make_unique<RankEnd>(world, native_on(1));
    const EndpointAddress address = receiver->address();
    {
      const RankEnd sender(world, native_on(0));
      ASSERT_TRUE(sender.post_phantom(address, Channel::native, 1'000'000));
      ASSERT_TRUE(sender.post_phantom(address, Channel::native, 8));
    }
    EXPECT_EQ(receiver->receive()->body_size, 1'000'000U);
    EXPECT_EQ(receiver->receive()->body_size, 8U);
    const RankEnd sender(world, native_on(0));
    ASSERT_TRUE(sender.post_phantom(address, Channel::native, 8));
    ASSERT_TRUE(sender.post_phantom(address, Channel::native, 1'000'000));
    receiver = nullptr;
    world.clock.sleep_until(world.clock.now() + us(10'000));
  });
}

TEST(SimFabricTest, packets_wait_while_their_path_is_down) {
  text_from_child([] {
    PlainWorld plain(2);
    plain.platform.channels.set(Channel::native, profile());
    plain.instance.cluster_faults.push_back({.kind = ClusterFaultSpec::Kind::link_down,
                                             .host = HostId{1},
                                             .from = TimePoint::at(us(10)),
                                             .until = TimePoint::at(us(500))});
    plain.simulate([](World& world) {
      const RankEnd receiver(world, native_on(1));
      const RankEnd sender(world, native_on(0));
      world.clock.sleep_until(TimePoint::at(us(20)));
      ASSERT_TRUE(sender.post_phantom(receiver.address(), Channel::native, 0));
      ASSERT_NE(receiver.receive(), nullptr);
      EXPECT_NEAR(microseconds_at(world), 500 + 5 + 1, 1e-3);
    });
    return "";
  });
}

TEST(SimFabricTest, a_rank_whose_guest_is_paused_sees_its_packet_when_it_runs_again) {
  text_from_child([] {
    PlainWorld plain(2);
    plain.add_vm(HostId{0}, Bytes::gibi(1)).virtual_function = false;
    plain.platform.channels.set(Channel::shm, profile());
    plain.simulate([](World& world) {
      class Silent final : public TransferObserver {
        void round_done(VmId, const RoundReport&) override {}
      } silent;
      const RankEnd rank(world, inside(VmId{0}));
      const RankEnd peer(world, inside(VmId{0}));
      bool received = false;
      const auto receiver = world.executor.spawn("receiver", [&] {
        ASSERT_NE(rank.receive(), nullptr);
        received = true;
        EXPECT_TRUE(world.hypervisor.inspect(VmId{0}).running);
      });
      const auto migration = world.executor.spawn("migration", [&] {
        const TransferOptions offline{.mode = MemoryMode::offline};
        ASSERT_TRUE(world.hypervisor.migrate(VmId{0}, HostId{1}, offline, silent, never));
      });
      world.clock.sleep_until(TimePoint::at(us(1000)));
      ASSERT_FALSE(world.hypervisor.inspect(VmId{0}).running);
      ASSERT_TRUE(peer.post_phantom(rank.address(), Channel::shm, 8));
      world.clock.sleep_until(TimePoint::at(us(100'000)));
      EXPECT_FALSE(received);
      migration->join();
      receiver->join();
      EXPECT_TRUE(received);
    });
    return "";
  });
}

/// Notes the steps in which it is fetched.
class NotedMemory final : public Fetchable {
 public:
  void fetch(int step) const override { steps_.push_back(step); }
  /// Since the last call.
  std::vector<int> take_steps() { return std::exchange(steps_, {}); }

 private:
  mutable std::vector<int> steps_;
};

/// Looks until a packet has come.
class PacketLook final : public Look {
 public:
  explicit PacketLook(const RankEnd& end) : end_(end) {}
  bool look() override { return end_.end->poll() != nullptr; }

 private:
  const RankEnd& end_;
};

/// Ranks sleep, each to another time, and then wait for a packet: how many of them went on from the
/// one and from the other before all of their memory was fetched.
std::vector<double> ranks_that_were_not_fetched(int ranks) {
  return numbers_from_child([&] {
    std::vector<double> missed(2);
    PlainWorld plain(2);
    plain.platform.channels.set(Channel::native, profile());
    plain.simulate([&](World& world) {
      std::vector<int> all_steps(Fetchable::last_step + 1);
      std::iota(all_steps.begin(), all_steps.end(), 0);
      std::vector<std::unique_ptr<RankEnd>> ends;
      std::vector<std::unique_ptr<Task>> tasks;
      int over = 0;  // a task that has ended is one less of many
      for (int i = 0; i < ranks; ++i) {
        ends.push_back(std::make_unique<RankEnd>(world, native_on(1)));
        tasks.push_back(world.executor.spawn("rank", [&, i, own = ends.back().get()] {
          NotedMemory memory;
          world.executor.will_touch(&memory);
          world.clock.sleep_until(TimePoint::at(us(100) + Duration::nanoseconds(7) * i));
          if (memory.take_steps() != all_steps) ++missed[0];
          PacketLook look(*own);
          EXPECT_EQ(own->set->wait_until(look), Wake::ready);
          if (memory.take_steps() != all_steps) ++missed[1];
          ++over;
          while (over < ranks) world.clock.sleep_until(world.clock.now() + us(100));
          world.executor.will_touch(nullptr);
        }));
      }
      const RankEnd sender(world, native_on(0));
      world.clock.sleep_until(TimePoint::at(us(200)));
      for (const auto& end : ends) {
        ASSERT_TRUE(sender.post_phantom(end->address(), Channel::native, 8));
      }
      for (const auto& task : tasks) task->join();
    });
    return missed;
  });
}

TEST(SimFabricTest, memory_of_many_tasks_is_fetched_before_their_turns) {
  for (const double missed : ranks_that_were_not_fetched(400)) {
    EXPECT_LE(missed, 1) << "only who comes first may go on before there was a look ahead";
  }
}

TEST(SimFabricTest, memory_of_few_tasks_is_left_where_it_is) {
  EXPECT_EQ(ranks_that_were_not_fetched(50), (std::vector<double>{50, 50}));
}

TEST(SimFabricTest, lost_packets_are_counted) {
  const std::vector<double> lost = numbers_from_child([] {
    PlainWorld plain(2);
    plain.add_vm(HostId{0}, Bytes::gibi(1)).virtual_function = false;
    plain.platform.channels.set(Channel::sriov, profile());
    const SimStatistics statistics =
        run_simulated(plain.instance, plain.platform, {}, [](World& world) {
          const RankEnd sender(world, native_on(1));
          const RankEnd receiver(world, inside(VmId{0}));
          ASSERT_TRUE(sender.post_phantom(receiver.address(), Channel::sriov, 8));
          ASSERT_TRUE(sender.post_phantom(EndpointAddress{99}, Channel::sriov, 8));
          ASSERT_TRUE(sender.post_phantom(sender.address(), Channel::sriov, 8));
        });
    return std::vector<double>{static_cast<double>(statistics.packets),
                               static_cast<double>(statistics.packets_lost)};
  });
  EXPECT_EQ(lost, (std::vector<double>{3, 2}));
}

TEST(SimFabricTest, the_same_run_twice_is_the_same) {
  const auto run = [] {
    return numbers_from_child([] {
      PlainWorld plain(4);
      TransportProfile reading = profile(us(1));
      reading.largest_packet = Bytes::mebi(1);
      plain.platform.channels.set(Channel::native, reading);
      std::vector<double> seen;
      plain.simulate([&](World& world) {
        std::vector<std::unique_ptr<RankEnd>> ranks;
        for (std::uint32_t i = 0; i < 8; ++i) {
          ranks.push_back(std::make_unique<RankEnd>(world, native_on(i % 4)));
        }
        std::vector<std::unique_ptr<Task>> tasks;
        for (std::size_t me = 0; me < ranks.size(); ++me) {
          tasks.push_back(world.executor.spawn("rank", [&, me] {
            for (std::size_t step = 0; step < 20; ++step) {
              const std::size_t to = (me + 1 + step % 7) % ranks.size();
              const std::size_t size = step % 5 == 4 ? 100'000 : 100 * step;
              ASSERT_TRUE(ranks[me]->post_phantom(ranks[to]->address(), Channel::native, size));
              const Arrival* const got = ranks[me]->receive();
              seen.push_back(got->from.value + 0.5 * static_cast<double>(got->body_size));
              seen.push_back(seconds_at(world));
            }
          }));
        }
        for (const auto& task : tasks) task->join();
      });
      return seen;
    });
  };
  const std::vector<double> first = run();
  EXPECT_EQ(first.size(), 320U);
  EXPECT_EQ(first, run());
}

}  // namespace
}  // namespace ferry
