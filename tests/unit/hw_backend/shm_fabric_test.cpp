// Ranks that share memory, as threads of one process and as processes.
#include "hw_backend/shm/shm_fabric.hpp"

#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <deque>
#include <numeric>
#include <random>
#include <span>
#include <thread>

#include "hw_backend/shm/processes.hpp"
#include "hw_backend/shm/ring.hpp"
#include "hw_backend/shm/shm_wait_set.hpp"

namespace ferry::shm {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

constexpr TimePoint never = TimePoint::never();
/// Small rings are full and wrap around often.
constexpr RegionSizes small_rings{.endpoints = 16, .ranks = 16, .cells = 8, .data = Bytes::kibi(4)};

std::vector<std::byte> pattern(std::size_t size, std::size_t seed) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>((i * 31 + seed) & 0xffU);
  return bytes;
}

std::vector<std::byte> body_of(const Arrival& arrival) {
  return {arrival.body.begin(), arrival.body.end()};
}

struct OneRank {
  explicit OneRank(ShmFabric& fabric)
      : set(fabric.make_wait_set()), end(fabric.open(RankPlace{}, *set)) {}
  std::unique_ptr<WaitSet> set;
  std::unique_ptr<Endpoint> end;

  [[nodiscard]] EndpointAddress address() const { return end->address(); }
  [[nodiscard]] bool try_post(EndpointAddress to, const PacketHeader& header,
                              const std::vector<std::byte>& body,
                              Channel channel = Channel::shm) const {
    const ConstSlice slice{body.data(), body.size()};
    return end->post(to, channel, header, {&slice, 1});
  }
  void post(EndpointAddress to, const PacketHeader& header,
            const std::vector<std::byte>& body) const {
    while (!try_post(to, header, body)) {
      const Wake wake = set->wait(never);
      if (wake != Wake::ready) throw std::runtime_error("a wait without deadline ended");
    }
  }
  [[nodiscard]] const Arrival& receive() const {
    for (;;) {
      if (const Arrival* const arrival = end->poll()) return *arrival;
      const Wake wake = set->wait(never);
      if (wake != Wake::ready) throw std::runtime_error("a wait without deadline ended");
    }
  }
};

class ShmFabricTest : public testing::Test {
 protected:
  explicit ShmFabricTest(RegionSizes sizes = small_rings, SpinLimits spin = {})
      : region(Region::make_anonymous(sizes)), fabric(region, clock, {}, spin) {}
  ThreadClock clock{1.0};
  std::shared_ptr<Region> region;
  ShmFabric fabric;
};

/// Waits sleep at once: every arrival needs its doorbell.
class ShmFabricAsleep : public ShmFabricTest {
 protected:
  ShmFabricAsleep()
      : ShmFabricTest(small_rings, {.shortest = Duration::zero(), .longest = Duration::zero()}) {}
};

PacketHeader header_of(std::uint64_t sequence, bool with_all_fields) {
  PacketHeader header;
  header.kind = 3;
  header.flags = 5;
  header.credits = 7;
  header.epoch = 11;
  header.source = 13;
  header.context = 17;
  header.tag = -19;
  header.sequence = sequence;
  header.size = sequence * 3;
  if (with_all_fields) {
    header.checksum = ~sequence;
    header.key = sequence + 1;
    header.more = sequence + 2;
  }
  return header;
}

void expect_equal(const PacketHeader& a, const PacketHeader& b) {
  EXPECT_EQ(std::memcmp(&a, &b, sizeof a), 0);
}

// --- Rings -----------------------------------------------------------------------------------

TEST_F(ShmFabricTest, packets_of_every_size_arrive_in_order_whole_and_around_the_rings_end) {
  const OneRank sender(fabric);
  const OneRank receiver(fabric);
  const std::size_t largest = sender.end->largest_body(Channel::shm);
  std::size_t packets = 0;
  for (std::size_t size = 0; size <= largest; size += size < 200 ? 1 : 37, ++packets) {
    const PacketHeader header = header_of(packets, packets % 3 == 0);
    ASSERT_TRUE(sender.try_post(receiver.address(), header, pattern(size, packets)));
    const Arrival* const got = receiver.end->poll();
    ASSERT_NE(got, nullptr);
    EXPECT_EQ(got->from, sender.address());
    EXPECT_EQ(got->channel, Channel::shm);
    EXPECT_EQ(got->body_size, size);
    expect_equal(got->header, header);
    ASSERT_EQ(body_of(*got), pattern(size, packets));
    EXPECT_EQ(receiver.end->poll(), nullptr);
  }
  EXPECT_GT(packets, 10 * small_rings.cells);
}

TEST_F(ShmFabricTest, a_full_ring_refuses_and_takes_packets_again_when_they_were_read) {
  const OneRank sender(fabric);
  const OneRank receiver(fabric);
  std::uint64_t posted = 0;
  std::uint64_t received = 0;
  for (int round = 0; round < 5; ++round) {
    while (sender.try_post(receiver.address(), header_of(posted, false), {})) ++posted;
    EXPECT_EQ(posted - received, small_rings.cells - 1);  // one is spare
    while (const Arrival* const got = receiver.end->poll()) {
      EXPECT_EQ(got->header.sequence, received++);
    }
    EXPECT_EQ(posted, received);
  }
}

TEST_F(ShmFabricTest, bodies_that_fill_the_data_refuse_before_the_cells_do) {
  const OneRank sender(fabric);
  const OneRank receiver(fabric);
  const std::size_t largest = sender.end->largest_body(Channel::shm);
  std::size_t posted = 0;
  while (sender.try_post(receiver.address(), header_of(posted, false), pattern(largest, posted))) {
    ++posted;
  }
  EXPECT_EQ(posted, small_rings.data.count() / largest);
  for (std::size_t i = 0; i < posted; ++i) {
    ASSERT_EQ(body_of(*receiver.end->poll()), pattern(largest, i));
  }
}

/// Rings of 256 KiB at first, of 1 MiB when they have been full or had large bodies.
class ShmFabricThatGrows : public ShmFabricTest {
 protected:
  static constexpr RegionSizes sizes{
      .endpoints = 2, .ranks = 2, .cells = 1024, .data = Bytes::mebi(1)};
  ShmFabricThatGrows() : ShmFabricTest(sizes) {}
  [[nodiscard]] std::span<const std::byte> beyond_the_first() const {
    const std::span data(region->data(region->ring(0)), sizes.data.count());
    return data.subspan(sizes.data_at_first().count());
  }
};

TEST_F(ShmFabricThatGrows, a_ring_whose_receiver_keeps_up_stays_in_its_first_bytes) {
  const OneRank sender(fabric);
  const OneRank receiver(fabric);
  const auto is_untouched = [](std::byte byte) { return byte == std::byte{}; };
  for (std::size_t i = 0; i < 1000; ++i) {
    ASSERT_TRUE(sender.try_post(receiver.address(), header_of(i, true), pattern(1000, i)));
    ASSERT_EQ(body_of(*receiver.end->poll()), pattern(1000, i));
  }
  EXPECT_TRUE(std::ranges::all_of(beyond_the_first(), is_untouched));
  for (int round = 0; round < 3; ++round) {  // one of them ends where the part can double
    std::size_t posted = 0;
    while (sender.try_post(receiver.address(), header_of(posted, true), pattern(4000, posted))) {
      ++posted;
    }
    for (std::size_t i = 0; i < posted; ++i) {
      ASSERT_EQ(body_of(*receiver.end->poll()), pattern(4000, i));
    }
    ASSERT_EQ(receiver.end->poll(), nullptr);
  }
  EXPECT_FALSE(std::ranges::all_of(beyond_the_first(), is_untouched));
}

TEST_F(ShmFabricThatGrows, a_ring_of_large_bodies_takes_all_of_its_data) {
  const OneRank sender(fabric);
  const OneRank receiver(fabric);
  const std::size_t largest = sizes.largest_body().count();
  const std::size_t turn = sizes.data.count() / largest;
  for (std::size_t i = 0; i < 3 * turn; ++i) {
    ASSERT_TRUE(sender.try_post(receiver.address(), {}, pattern(largest, i)));
    const Arrival* const got = receiver.end->poll();
    ASSERT_EQ(body_of(*got), pattern(largest, i));
    EXPECT_EQ(static_cast<std::size_t>(got->body.data() - region->data(region->ring(0))),
              i % turn * largest);
  }
}

/// What a sender may do to a ring, drawn from a seed.
class RandomTraffic {
 public:
  RandomTraffic(ShmFabric& fabric, std::size_t largest, std::uint32_t seed)
      : random_(seed), sender_(fabric), receiver_(fabric), largest_(largest) {}

  /// Bodies of a kilobyte, each of which is read at once.
  void keep_up(std::size_t most) {
    for (std::size_t count = up_to(most); count != 0; --count) {
      ASSERT_TRUE(try_to_post(1000, false));
      receive();
    }
  }
  void turn(std::size_t most) {
    for (std::size_t more = up_to(most); more != 0 && try_to_post(); --more) {
    }
    for (std::size_t some = up_to(most); some != 0 && !under_way_.empty(); --some) receive();
  }
  void drop_all() {
    receiver_.end->disconnect(sender_.address(), Channel::shm);
    EXPECT_EQ(receiver_.end->poll(), nullptr);
    read_ += under_way_.size();
    under_way_.clear();
  }
  /// An empty ring has room for anything.
  void read_all_and_post_the_largest() {
    while (!under_way_.empty()) receive();
    ASSERT_EQ(receiver_.end->poll(), nullptr);  // all is given back
    ASSERT_TRUE(try_to_post(largest_, true));
  }

 private:
  [[nodiscard]] std::size_t up_to(std::size_t most) { return random_() % (most + 1); }
  bool try_to_post() {
    return try_to_post(up_to(3) == 0 ? largest_ - up_to(16) : up_to(largest_), up_to(1) == 0);
  }
  bool try_to_post(std::size_t size, bool with_all_fields) {
    if (!sender_.try_post(receiver_.address(), header_of(posted_, with_all_fields),
                          pattern(size, posted_))) {
      return false;
    }
    under_way_.push_back(size);
    ++posted_;
    return true;
  }
  void receive() {
    const Arrival* const got = receiver_.end->poll();
    ASSERT_NE(got, nullptr);
    ASSERT_EQ(got->header.sequence, read_);
    ASSERT_EQ(body_of(*got), pattern(under_way_.front(), read_));
    under_way_.pop_front();
    ++read_;
  }

  std::mt19937 random_;
  OneRank sender_;
  OneRank receiver_;
  std::size_t largest_;
  std::deque<std::size_t> under_way_;
  std::size_t posted_ = 0;
  std::size_t read_ = 0;
};

TEST(ShmRing, whatever_it_has_seen_all_arrives_whole_and_an_empty_one_takes_the_largest_body) {
  const ThreadClock clock(1.0);
  for (const std::uint64_t kibi : {16, 512, 1024}) {
    const RegionSizes sizes{.endpoints = 2, .ranks = 2, .cells = 64, .data = Bytes::kibi(kibi)};
    const std::size_t largest = sizes.largest_body().count();
    const std::uint32_t seeds = kibi == 16 ? 40 : 12;
    ShmFabric fabric(Region::make_anonymous(sizes), clock, {});
    for (std::uint32_t seed = 0; seed < seeds; ++seed) {
      SCOPED_TRACE("data of " + std::to_string(kibi) + " KiB, seed " + std::to_string(seed));
      RandomTraffic traffic(fabric, largest, seed);
      traffic.keep_up(1000);  // a ring is full at another place each time
      for (int turn = 0; turn < 16 && !testing::Test::HasFatalFailure(); ++turn) {
        traffic.turn(20);
        if (turn % 5 == 4) traffic.read_all_and_post_the_largest();
        if ((turn + seed) % 4 == 0) traffic.drop_all();
      }
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(ShmRing, the_largest_body_with_all_words_fits_wherever_one_ends_that_was_read) {
  const ThreadClock clock(1.0);
  for (const std::uint64_t kibi : {4, 16, 256, 512}) {
    const RegionSizes sizes{.endpoints = 2, .ranks = 2, .cells = 1024, .data = Bytes::kibi(kibi)};
    const auto largest = pattern(sizes.largest_body().count(), 1);
    ShmFabric fabric(Region::make_anonymous(sizes), clock, {});
    for (std::size_t before = 0; before < 2 * kibi; before += std::max<std::size_t>(kibi / 16, 1)) {
      const OneRank sender(fabric);
      const OneRank receiver(fabric);
      for (std::size_t i = 0; i < before; ++i) {
        ASSERT_TRUE(sender.try_post(receiver.address(), {}, pattern(1024, i)));
        ASSERT_NE(receiver.end->poll(), nullptr);
      }
      ASSERT_EQ(receiver.end->poll(), nullptr);
      ASSERT_TRUE(sender.try_post(receiver.address(), header_of(before, true), largest)) << before;
      ASSERT_EQ(body_of(*receiver.end->poll()), largest);
    }
  }
}

TEST_F(ShmFabricThatGrows, it_does_so_too_where_what_it_grew_for_is_dropped) {
  const OneRank sender(fabric);
  const OneRank receiver(fabric);
  const std::size_t largest = sizes.largest_body().count();
  for (std::size_t i = 0; i < 10; ++i) {
    ASSERT_TRUE(sender.try_post(receiver.address(), {}, pattern(largest, i)));
  }
  receiver.end->disconnect(sender.address(), Channel::shm);
  for (std::size_t i = 0; i < 100; ++i) {
    ASSERT_TRUE(sender.try_post(receiver.address(), {}, pattern(largest - 100 * i, i)));
    ASSERT_EQ(body_of(*receiver.end->poll()), pattern(largest - 100 * i, i));
  }
}

TEST_F(ShmFabricThatGrows, a_packet_that_says_so_where_it_cannot_breaks_the_ring) {
  const OneRank sender(fabric);
  const OneRank receiver(fabric);
  ASSERT_TRUE(sender.try_post(receiver.address(), {}, pattern(1000, 1)));
  region->cells(region->ring(0))->mark |= Mark::grown;
  EXPECT_EQ(receiver.end->poll(), nullptr);
  ASSERT_TRUE(sender.try_post(receiver.address(), {}, pattern(1000, 2)));
  EXPECT_EQ(receiver.end->poll(), nullptr);
}

TEST_F(ShmFabricThatGrows, a_body_that_ends_beyond_the_data_breaks_the_ring_though_it_grows_there) {
  const OneRank sender(fabric);
  const OneRank receiver(fabric);
  const std::size_t first = sizes.data_at_first().count();
  sender.end->connect(receiver.address(), Channel::shm);
  region->cells(region->ring(0))->mark = Mark::make(0, Mark::grown, 2 * first);
  EXPECT_EQ(receiver.end->poll(), nullptr);
}

TEST_F(ShmFabricTest, an_arrival_stays_valid_until_the_next_poll_while_the_sender_goes_on) {
  const OneRank sender(fabric);
  const OneRank receiver(fabric);
  ASSERT_TRUE(sender.try_post(receiver.address(), {}, pattern(900, 1)));
  const Arrival* const got = receiver.end->poll();
  std::uint64_t more = 0;
  while (sender.try_post(receiver.address(), header_of(more, false), pattern(900, 2))) ++more;
  EXPECT_EQ(body_of(*got), pattern(900, 1));
}

TEST_F(ShmFabricTest, a_body_of_several_pieces_arrives_as_one) {
  const OneRank sender(fabric);
  const OneRank receiver(fabric);
  const std::vector<std::byte> all = pattern(700, 9);
  const std::vector<ConstSlice> pieces = {
      {all.data(), 1}, {nullptr, 0}, {all.data() + 1, 600}, {all.data() + 601, 99}};
  ASSERT_TRUE(sender.end->post(receiver.address(), Channel::shm, {}, pieces));
  EXPECT_EQ(body_of(*receiver.end->poll()), all);
}

TEST_F(ShmFabricTest, a_phantom_body_has_a_size_and_no_bytes) {
  const OneRank self(fabric);
  const ConstSlice phantom{nullptr, 1U << 20U};
  ASSERT_TRUE(self.end->post(self.address(), Channel::shm, {}, {&phantom, 1}));
  const Arrival* const got = self.end->poll();
  EXPECT_EQ(got->body_size, phantom.size);
  EXPECT_TRUE(got->body.empty());
}

TEST_F(ShmFabricTest, every_sender_gets_its_turn) {
  const OneRank receiver(fabric);
  const OneRank busy(fabric);
  const OneRank quiet(fabric);
  ASSERT_TRUE(busy.try_post(receiver.address(), {}, {}));
  ASSERT_TRUE(quiet.try_post(receiver.address(), {}, {}));
  bool quiet_came = false;
  for (int i = 0; i < 100 && !quiet_came; ++i) {
    static_cast<void>(busy.try_post(receiver.address(), {}, {}));
    quiet_came = receiver.end->poll()->from == quiet.address();
  }
  EXPECT_TRUE(quiet_came);
}

TEST_F(ShmFabricTest, disconnecting_drops_what_came_by_that_channel_from_that_sender) {
  const OneRank receiver(fabric);
  const OneRank sender(fabric);
  const OneRank other(fabric);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(sender.try_post(receiver.address(), header_of(1, true), pattern(500, 1)));
  }
  ASSERT_TRUE(sender.try_post(receiver.address(), header_of(2, false), {}, Channel::cma));
  ASSERT_TRUE(other.try_post(receiver.address(), header_of(3, false), {}));
  receiver.end->disconnect(sender.address(), Channel::shm);
  std::vector<std::uint64_t> got;
  while (const Arrival* const arrival = receiver.end->poll()) {
    got.push_back(arrival->header.sequence);
  }
  EXPECT_THAT(got, testing::UnorderedElementsAre(2, 3));
  ASSERT_TRUE(sender.try_post(receiver.address(), header_of(4, true), pattern(600, 4)));
  const Arrival* const later = receiver.end->poll();
  ASSERT_NE(later, nullptr);
  EXPECT_EQ(body_of(*later), pattern(600, 4));
}

// --- Closing -------------------------------------------------------------------------------------

TEST_F(ShmFabricTest,
       what_is_sent_to_a_closed_endpoint_is_lost_and_its_address_is_not_given_again) {
  const OneRank sender(fabric);
  EndpointAddress gone;
  {
    const OneRank receiver(fabric);
    gone = receiver.address();
    ASSERT_TRUE(sender.try_post(gone, {}, {}));
  }
  const OneRank next(fabric);
  EXPECT_NE(next.address(), gone);
  EXPECT_EQ(slot_of(next.address()), slot_of(gone));
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(sender.try_post(gone, {}, {}));
  EXPECT_EQ(next.end->poll(), nullptr);
  ASSERT_TRUE(sender.try_post(next.address(), header_of(6, false), {}));
  EXPECT_EQ(next.end->poll()->header.sequence, 6);
}

TEST_F(ShmFabricTest, what_was_sent_before_closing_arrives) {
  const OneRank receiver(fabric);
  {
    const OneRank sender(fabric);
    ASSERT_TRUE(sender.try_post(receiver.address(), header_of(8, true), pattern(100, 8)));
  }
  const Arrival* const got = receiver.end->poll();
  ASSERT_NE(got, nullptr);
  EXPECT_EQ(body_of(*got), pattern(100, 8));
}

TEST_F(ShmFabricTest, rings_are_used_again_when_both_sides_have_closed_them) {
  const OneRank receiver(fabric);
  for (std::uint64_t i = 0; i < 50; ++i) {
    const OneRank sender(fabric);
    for (std::uint64_t k = 0; k <= i % 5; ++k) {
      ASSERT_TRUE(sender.try_post(receiver.address(), header_of(i + k, k == 2), pattern(i * 3, k)));
    }
    for (std::uint64_t k = 0; k <= i % 5; ++k) {
      const Arrival* const got = receiver.end->poll();
      ASSERT_NE(got, nullptr);
      EXPECT_EQ(got->header.sequence, i + k);
      ASSERT_EQ(body_of(*got), pattern(i * 3, k));
    }
    EXPECT_EQ(receiver.end->poll(), nullptr);
  }
  EXPECT_LE(region->header().rings_made.load(), 3U);
}

TEST_F(ShmFabricAsleep, a_sender_that_waits_for_room_learns_that_the_receiver_has_closed) {
  const OneRank sender(fabric);
  auto receiver = std::make_unique<OneRank>(fabric);
  while (sender.try_post(receiver->address(), {}, {})) {
  }
  std::thread waiting([&, to = receiver->address()] { sender.post(to, {}, {}); });
  receiver.reset();
  waiting.join();
}

// --- Threads and waits ---------------------------------------------------------------------------

void ping_pong(ShmFabric& fabric, std::uint64_t rounds) {
  const OneRank here(fabric);
  const OneRank there(fabric);
  std::thread other([&] {
    for (std::uint64_t i = 0; i < rounds; ++i) {
      const Arrival& got = there.receive();
      there.post(here.address(), got.header, body_of(got));
    }
  });
  for (std::uint64_t i = 0; i < rounds; ++i) {
    here.post(there.address(), header_of(i, i % 2 == 0), pattern(i % 300, i));
    const Arrival& got = here.receive();
    EXPECT_EQ(got.header.sequence, i);
    ASSERT_EQ(body_of(got), pattern(i % 300, i));
  }
  other.join();
}

TEST_F(ShmFabricTest, threads_answer_each_other_spinning) { ping_pong(fabric, 2000); }
// A lost wake-up hangs here.
TEST_F(ShmFabricAsleep, threads_answer_each_other_through_doorbells) { ping_pong(fabric, 2000); }

/// Senders in threads, one receiver; packets of each in order, small and large mixed.
void many_to_one(ShmFabric& fabric) {
  constexpr std::uint64_t senders = 6;
  constexpr std::uint64_t packets = 1500;
  const OneRank receiver(fabric);
  std::vector<std::thread> threads;
  for (std::uint64_t number = 0; number < senders; ++number) {
    threads.emplace_back([&, number] {
      const OneRank sender(fabric);
      std::mt19937_64 random(number);
      for (std::uint64_t i = 0; i < packets; ++i) {
        PacketHeader header = header_of(i, i % 4 == 0);
        header.source = static_cast<std::uint32_t>(number);
        const std::size_t size = i % 5 == 0 ? random() % 1024 : random() % 24;
        sender.post(receiver.address(), header, pattern(size, i));
      }
    });
  }
  std::vector<std::uint64_t> next(senders);
  for (std::uint64_t i = 0; i < senders * packets; ++i) {
    const Arrival& got = receiver.receive();
    ASSERT_EQ(got.header.sequence, next[got.header.source]++);
    ASSERT_EQ(body_of(got), pattern(got.body_size, got.header.sequence));
  }
  for (std::thread& thread : threads) thread.join();
}

// The thread sanitizer sees what processors with a strict order of memory hide.
TEST_F(ShmFabricTest, memory_of_a_body_is_written_again_only_after_it_was_read) {
  constexpr std::uint64_t packets = 20'000;
  const OneRank sender(fabric);
  const OneRank receiver(fabric);
  const std::vector<std::byte> body = pattern(sender.end->largest_body(Channel::shm), 1);
  const auto until = [](const auto& succeeds) {
    for (int tries = 1; !succeeds(); ++tries) {
      if (tries % 64 == 0) std::this_thread::yield();
    }
  };
  std::thread sends([&] {
    for (std::uint64_t i = 0; i < packets; ++i) {
      until([&] { return sender.try_post(receiver.address(), header_of(i, false), body); });
    }
  });
  for (std::uint64_t i = 0; i < packets; ++i) {
    const Arrival* got = nullptr;
    until([&] { return (got = receiver.end->poll()) != nullptr; });
    EXPECT_TRUE(std::ranges::equal(got->body, body)) << i;
  }
  sends.join();
}

TEST_F(ShmFabricTest, many_threads_send_to_one) { many_to_one(fabric); }
TEST_F(ShmFabricAsleep, many_threads_send_to_one_through_doorbells) { many_to_one(fabric); }

TEST_F(ShmFabricAsleep, a_notification_wakes_all_who_wait_or_the_next) {
  const OneRank rank(fabric);
  rank.set->notify();
  EXPECT_EQ(rank.set->wait(never), Wake::ready);
  std::vector<std::thread> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.emplace_back([&] { EXPECT_EQ(rank.set->wait(never), Wake::ready); });
  }
  const auto asleep = [&] {
    return region->wait_slot(static_cast<ShmWaitSet&>(*rank.set).slot()).sleepers.load();
  };
  while (asleep() != 3) std::this_thread::yield();
  rank.set->notify();
  for (std::thread& thread : waiting) thread.join();
}

TEST_F(ShmFabricTest, a_wait_ends_at_its_deadline) {
  const OneRank rank(fabric);
  EXPECT_EQ(rank.set->wait(clock.now()), Wake::timed_out);
  const TimePoint deadline = clock.now() + Duration::milliseconds(5);
  EXPECT_EQ(rank.set->wait(deadline), Wake::timed_out);
  EXPECT_GE(clock.now(), deadline);
}

TEST_F(ShmFabricAsleep, cancellation_ends_a_wait) {
  ThreadExecutor executor(clock);
  const OneRank rank(fabric);
  std::atomic<int> cancelled = 0;
  const auto task = executor.spawn("waits", [&] {
    cancelled += rank.set->wait(never) == Wake::cancelled;
    cancelled += rank.set->wait(never) == Wake::cancelled;
  });
  task->cancel();
  task->join();
  EXPECT_EQ(cancelled, 2);
}

// --- Reading memory
// --------------------------------------------------------------------------------

TEST_F(ShmFabricTest, exposed_memory_is_read_from_any_offset_until_it_is_withdrawn) {
  const OneRank owner(fabric);
  const OneRank reader(fabric);
  const std::vector<std::byte> memory = pattern(10'000, 5);
  const std::vector<ConstSlice> pieces = {{memory.data(), 3000}, {memory.data() + 3000, 7000}};
  const MemoryKey key = owner.end->expose(Channel::cma, pieces);
  std::vector<std::byte> into(6000);
  const std::vector<Slice> slices = {{into.data(), 100}, {into.data() + 100, 5900}};
  reader.end->read(owner.address(), Channel::cma, key, 2500, slices, 42);
  const Arrival* const done = reader.end->poll();
  ASSERT_NE(done, nullptr);
  EXPECT_EQ(done->kind, Arrival::Kind::read_done);
  EXPECT_EQ(done->cookie, 42U);
  EXPECT_EQ(into, std::vector<std::byte>(memory.begin() + 2500, memory.begin() + 8500));

  owner.end->withdraw(key);
  const MemoryKey next = owner.end->expose(Channel::cma, {pieces.data(), 1});
  EXPECT_NE(next.value, key.value);
  reader.end->read(owner.address(), Channel::cma, key, 0, slices, 43);
  EXPECT_EQ(reader.end->poll()->kind, Arrival::Kind::read_failed);
  reader.end->read(owner.address(), Channel::cma, next, 0, slices, 44);  // 6000 of 3000
  EXPECT_EQ(reader.end->poll()->kind, Arrival::Kind::read_failed);
}

// --- Processes -----------------------------------------------------------------------------------

void expect_all_well(const std::vector<RankFailure>& failures) {
  for (const RankFailure& failure : failures) ADD_FAILURE() << failure.to_text();
}

/// A rank process with its fabric, and the others' addresses.
struct ProcessRank {
  ProcessRank(std::uint32_t number_, std::uint32_t count, const std::shared_ptr<Region>& region_)
      : number(number_), region(region_), fabric(region_, clock, {}), rank(fabric) {
    region->announce(number, rank.address());
    for (std::uint32_t other = 0; other < count; ++other) {
      peers.push_back(region->address_of(other, Duration::seconds(60)).value());
    }
  }
  ~ProcessRank() {
    if (testing::Test::HasFailure()) _exit(1);
  }
  ProcessRank(const ProcessRank&) = delete;
  ProcessRank& operator=(const ProcessRank&) = delete;

  std::uint32_t number;
  std::shared_ptr<Region> region;
  ThreadClock clock{1.0};
  ShmFabric fabric;
  OneRank rank;
  std::vector<EndpointAddress> peers;
};

std::uint64_t checksum(std::span<const std::byte> bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), std::uint64_t{14695981039346656037U},
                         [](std::uint64_t sum, std::byte byte) {
                           return (sum ^ static_cast<std::uint64_t>(byte)) * 1099511628211U;
                         });
}

TEST(ShmProcesses, random_traffic_between_processes_arrives_once_in_order_and_intact) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    constexpr std::uint32_t count = 4;
    constexpr std::uint64_t packets = 2000;
    LaunchSettings settings;
    settings.sizes = small_rings;
    expect_all_well(run_shm_processes(
        count,
        [seed](std::uint32_t number, std::shared_ptr<Region> region) {
          const ProcessRank self(number, count, region);
          std::mt19937_64 random(seed * 100 + number);
          std::array<std::uint64_t, count> sent{};
          std::array<std::uint64_t, count> received{};
          const auto receive = [&](const Arrival& got) {
            ASSERT_EQ(got.header.sequence, received[got.header.source]++);
            ASSERT_EQ(got.header.checksum, checksum(got.body));
          };
          // Each sends as many to each; while there is no room it receives.
          for (std::uint64_t left = packets * count; left != 0; --left) {
            std::uint32_t to = static_cast<std::uint32_t>(random() % count);
            while (sent[to] == packets) to = (to + 1) % count;
            const std::vector<std::byte> body =
                pattern(random() % 8 == 0 ? random() % 1025 : random() % 40, random());
            PacketHeader header = header_of(sent[to]++, false);
            header.source = number;
            header.checksum = checksum(body);
            while (!self.rank.try_post(self.peers[to], header, body)) {
              if (const Arrival* const got = self.rank.end->poll()) {
                receive(*got);
              } else {
                ASSERT_EQ(self.rank.set->wait(never), Wake::ready);
              }
            }
          }
          while (std::accumulate(received.begin(), received.end(), std::uint64_t{0}) !=
                 packets * count) {
            receive(self.rank.receive());
            if (testing::Test::HasFailure()) return;
          }
        },
        settings));
  }
}

TEST(ShmProcesses, memory_of_another_process_is_read) {
  if (!run_shm_processes(1, [](std::uint32_t, std::shared_ptr<Region> region) {
         const ThreadClock clock(1.0);
         const ShmFabric fabric(region, clock, {.shm = {}, .cma = TransportProfile{}});
         if (fabric.profile(Channel::cma, true) == nullptr) _exit(1);
       }).empty()) {
    GTEST_SKIP() << "processes may not read each other's memory here";
  }
  expect_all_well(run_shm_processes(2, [](std::uint32_t number, std::shared_ptr<Region> region) {
    const ProcessRank self(number, 2, region);
    const std::size_t size = 300'000;
    if (number == 0) {
      const std::vector<std::byte> memory = pattern(size, 77);
      const std::vector<ConstSlice> pieces = {{memory.data(), 1000},
                                              {memory.data() + 1000, size - 1000}};
      for (const auto& exposed : {std::vector<ConstSlice>{{memory.data(), size}}, pieces}) {
        const MemoryKey key = self.rank.end->expose(Channel::cma, exposed);
        PacketHeader header;
        header.key = key.value;
        self.rank.post(self.peers[1], header, {});
        static_cast<void>(self.rank.receive());
        self.rank.end->withdraw(key);
        self.rank.post(self.peers[1], {}, {});
        static_cast<void>(self.rank.receive());
      }
      return;
    }
    for (int i = 0; i < 2; ++i) {
      const MemoryKey key{self.rank.receive().header.key};
      std::vector<std::byte> into(size - 10);
      const Slice slice{into.data(), into.size()};
      self.rank.end->read(self.peers[0], Channel::cma, key, 10, {&slice, 1}, 1);
      EXPECT_EQ(self.rank.receive().kind, Arrival::Kind::read_done);
      const std::vector<std::byte> all = pattern(size, 77);
      EXPECT_TRUE(std::equal(into.begin(), into.end(), all.begin() + 10));
      self.rank.post(self.peers[0], {}, {});
      static_cast<void>(self.rank.receive());
      self.rank.end->read(self.peers[0], Channel::cma, key, 10, {&slice, 1}, 1);
      EXPECT_EQ(self.rank.receive().kind, Arrival::Kind::read_failed);
      self.rank.post(self.peers[0], {}, {});
    }
  }));
}

TEST(ShmProcesses, ranks_that_crash_are_named_with_their_signal_and_others_go_on) {
  LaunchSettings settings;
  settings.sizes = small_rings;
  settings.others_survive = true;
  const std::vector<RankFailure> failures = run_shm_processes(
      3,
      [](std::uint32_t number, std::shared_ptr<Region> region) {
        const ProcessRank self(number, 3, region);
        if (number == 1) {  // dies in mid-traffic, having read little
          for (int i = 0; i < 5; ++i) static_cast<void>(self.rank.receive());
          kill(getpid(), SIGKILL);
        }
        // More than the dead one's ring holds: the rest is lost, and nobody waits for ever.
        for (std::uint64_t i = 0; i < 200; ++i) {
          self.rank.post(self.peers[1], header_of(i, false), pattern(i, i));
        }
        // The living still reach each other.
        const EndpointAddress other = self.peers[2 - number];
        self.rank.post(other, header_of(5, false), {});
        EXPECT_EQ(self.rank.receive().header.sequence, 5U);
      },
      settings);
  ASSERT_THAT(failures, SizeIs(1));
  EXPECT_EQ(failures.front().to_text(), "rank 1 was killed by signal 9 (Killed)");
}

TEST(ShmProcesses, ranks_that_throw_or_wait_for_ever_are_told_apart) {
  const std::vector<RankFailure> failures =
      run_shm_processes(2, [](std::uint32_t number, std::shared_ptr<Region> region) {
        const ProcessRank self(number, 2, region);
        if (number == 0) throw std::runtime_error("as this test wants it");
        static_cast<void>(self.rank.receive());
      });
  ASSERT_THAT(failures, SizeIs(2));
  EXPECT_EQ(failures[0].to_text(), "rank 0 exited with status 70");
  EXPECT_EQ(failures[1].to_text(), "rank 1 was ended by the launcher");
}

// --- Named regions -------------------------------------------------------------------------------

std::string name_of_this_test() { return "test-" + std::to_string(getpid()); }

bool is_left_behind() {
  DIR* const folder = opendir("/dev/shm");
  if (folder == nullptr) return false;
  bool found = false;
  while (const dirent* const entry = readdir(folder)) {
    found = found || std::string(entry->d_name).ends_with(name_of_this_test());
  }
  closedir(folder);
  return found;
}

TEST(ShmRegion, processes_that_join_by_name_share_it_and_the_last_one_removes_it) {
  {
    const auto first = Region::join(name_of_this_test(), small_rings);
    ASSERT_TRUE(first) << first.error().reason;
    const auto second = Region::join(name_of_this_test(), small_rings);
    ASSERT_TRUE(second) << second.error().reason;
    (*first)->announce(3, EndpointAddress{99});
    EXPECT_EQ((*second)->address_of(3, Duration::zero()).value(), EndpointAddress{99});
    EXPECT_TRUE(is_left_behind());
  }
  EXPECT_FALSE(is_left_behind());
}

TEST(ShmRegion, a_region_whose_processes_have_crashed_is_replaced) {
  const pid_t child = fork();
  if (child == 0) {
    const auto region = Region::join("test-" + std::to_string(getppid()), small_rings);
    if (region) (*region)->announce(0, EndpointAddress{77});
    kill(getpid(), SIGKILL);
  }
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(is_left_behind());
  const auto fresh = Region::join(name_of_this_test(), small_rings);
  ASSERT_TRUE(fresh) << fresh.error().reason;
  EXPECT_EQ((*fresh)->address_of(0, Duration::zero()).error().reason,
            "rank 0 has not announced its address within 0s");
}

TEST(ShmRegion, what_does_not_fit_is_refused_with_what_would) {
  EXPECT_EQ(Region::join("a/b", small_rings).error().reason,
            "'a/b' is no name for a region: it may not be empty or have a slash");
  const auto region = Region::join(name_of_this_test(), small_rings);
  ASSERT_TRUE(region) << region.error().reason;
  RegionSizes others = small_rings;
  others.cells = 16;
  EXPECT_EQ(Region::join(name_of_this_test(), others).error().reason,
            "/dev/shm/ferry-" + std::to_string(geteuid()) + "-" + name_of_this_test() +
                " was made for 16 endpoints, 16 ranks, 8 cells and 4096 bytes of data, not for 16, "
                "16, 16 and 4096: all ranks of a job must ask for the same");
}

TEST(ShmRegion, few_ranks_have_larger_rings_than_many) {
  const auto data_of = [](std::uint32_t ranks) {
    return RegionSizes::of_job(ranks, 100, Bytes::gibi(24)).data;
  };
  EXPECT_EQ(data_of(1), Bytes::mebi(1));
  EXPECT_EQ(data_of(16), Bytes::mebi(1));  // 240 pairs, whose cells also count
  EXPECT_EQ(data_of(17), Bytes::kibi(512));
  EXPECT_EQ(data_of(21), Bytes::kibi(512));  // 420 pairs
  EXPECT_EQ(data_of(22), Bytes::kibi(256));
  EXPECT_EQ(data_of(100), Bytes::kibi(256));
  const RegionSizes of_two = RegionSizes::of_job(2, 100, Bytes::gibi(24));
  EXPECT_EQ(of_two.largest_body(), Bytes::kibi(64));
  EXPECT_EQ(of_two.data_at_first(), Bytes::kibi(256));
}

/// Containers often have 64 MiB: what is beyond that ends a process by a signal.
TEST(ShmRegion, rings_of_all_pairs_take_at_most_half_of_the_memory_that_there_is) {
  for (const std::uint32_t ranks : {2, 9, 16, 32}) {
    const RegionSizes sizes = RegionSizes::of_job(ranks, ranks, Bytes::mebi(64));
    const std::uint64_t pairs = std::uint64_t{ranks} * (ranks - 1);
    EXPECT_LE(pairs * (sizes.data.count() + sizes.cells * sizeof(Cell)), Bytes::mebi(32).count());
    EXPECT_GE(sizes.data, Bytes::kibi(16));
    EXPECT_TRUE(std::has_single_bit(sizes.cells));
  }
  EXPECT_EQ(RegionSizes::of_job(100, 100, Bytes::mebi(64)).data, Bytes::kibi(16));
  EXPECT_GE(Region::memory_for_names(), Bytes::mebi(1));
}

TEST(ShmRegion, many_processes_that_join_at_once_get_the_same_one) {
  for (int round = 0; round < 5; ++round) {
    const std::string name = name_of_this_test() + "-" + std::to_string(round);
    expect_all_well(run_shm_processes(6, [name](std::uint32_t number, std::shared_ptr<Region>) {
      const auto region = Region::join(name, small_rings);
      if (!region) throw std::runtime_error(region.error().reason);
      (*region)->announce(number, EndpointAddress{number + 1});
      for (std::uint32_t other = 0; other < 6; ++other) {
        const auto address = (*region)->address_of(other, Duration::seconds(60));
        if (!address) throw std::runtime_error(address.error().reason);
      }
    }));
  }
}

}  // namespace
}  // namespace ferry::shm
