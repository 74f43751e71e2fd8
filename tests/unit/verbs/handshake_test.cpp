// Connections are made, break and are made again; packets arrive in order and once whatever is
// lost on the way.
#include "hw_backend/verbs/handshake.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <random>

#include "hw_backend/verbs/streams.hpp"

namespace ferry::verbs {
namespace {

using State = Pairing::State;
using std::chrono::milliseconds;

constexpr std::uint32_t window = 8;

/// One rank: its pairing, and packets that are numbers.
class Side final : public Pairing::Host {
 public:
  explicit Side(bool active) : pairing(active, Channel::sriov, *this) {}

  void send(const HandshakeMessage& message) override { said.push_back(message); }
  [[nodiscard]] Result<QueuePairAddress> make_queue_pair() override {
    if (cannot_make) return failure(FailureKind::refused, "no queue pair is left");
    queue_pair = ++pairs_made;
    connected_to = 0;
    QueuePairAddress address;
    address.number = queue_pair;
    return address;
  }
  [[nodiscard]] Result<> connect_queue_pair(const QueuePairAddress& there) override {
    if (cannot_connect)
      return failure(FailureKind::failed, "the other side's address is not known");
    connected_to = there.number;
    return {};
  }
  void destroy_queue_pair() override {
    queue_pair = connected_to = 0;
    words = 0;
  }
  [[nodiscard]] StreamPosition received() const override { return incoming.position(); }
  [[nodiscard]] std::uint64_t closed_incarnation() const override {
    return incoming.closed_incarnation();
  }
  [[nodiscard]] std::uint64_t incarnation() const override { return outgoing.incarnation(); }
  void synchronise(std::uint64_t incarnation, StreamPosition received) override {
    incoming.synchronise(incarnation);
    sent_again += outgoing.synchronise(received);
  }
  void wants_room() override { incoming.is_full(); }
  void drop_packets() override {
    outgoing.begin_anew();
    posted.clear();
  }
  void link_up() override { ++words; }
  void note_problem(const std::string& problem) override { problems.push_back(problem); }

  [[nodiscard]] bool post(int value, Pairing::RealTime now) {
    if (!outgoing.has_room()) return false;
    if (posted.size() < window) posted.resize(window);
    posted[outgoing.place_of(outgoing.next())] = value;
    outgoing.add();
    if (!pairing.is_up()) pairing.want(now);
    return true;
  }

  Pairing pairing;
  OutgoingStream outgoing{window};
  IncomingStream incoming{window};
  std::deque<HandshakeMessage> said;
  std::vector<int> posted;   ///< by place
  std::vector<int> arrived;  ///< what was taken
  std::vector<std::string> problems;
  std::uint32_t queue_pair = 0;
  std::uint32_t connected_to = 0;
  std::uint32_t pairs_made = 0;
  std::uint64_t sent_again = 0;
  int words = 0;
  bool cannot_make = false;
  bool cannot_connect = false;
};

class Pair {
 public:
  Side active{true};
  Side passive{false};
  Pairing::RealTime now{};

  /// Messages reach the other side, all that there are now and what follows from them.
  void exchange() {
    while (!active.said.empty() || !passive.said.empty()) {
      deliver(active, passive);
      deliver(passive, active);
    }
  }
  void deliver(Side& from, Side& to) {
    if (from.said.empty()) return;
    const auto bytes = encode(from.said.front());
    from.said.pop_front();
    const auto message = decode_handshake(bytes);
    ASSERT_TRUE(message);
    to.pairing.hear(*message, now);
  }
  void pass(milliseconds time) {
    now += time;
    active.pairing.look(now);
    passive.pairing.look(now);
  }
  [[nodiscard]] bool linked() const {
    return active.queue_pair != 0 && passive.queue_pair != 0 &&
           active.connected_to == passive.queue_pair && passive.connected_to == active.queue_pair;
  }
  /// What the queue pairs carry: words, then packets, and how many were taken.
  void carry() {
    carry(active, passive);
    carry(passive, active);
    carry(active, passive);
  }
  void carry(Side& from, Side& to) {
    if (!linked() || !from.pairing.is_up()) return;
    if (from.words != 0) to.pairing.hear_word();
    to.outgoing.taken(from.incoming.tell());
    while (from.outgoing.has_to_send()) {
      const std::uint64_t number = from.outgoing.to_send();
      const int value = from.posted[from.outgoing.place_of(number)];
      from.outgoing.sent();
      to.pairing.hear_word();
      if (!to.incoming.accept(static_cast<std::uint32_t>(number))) continue;
      to.arrived.push_back(value);
      to.incoming.take(to.incoming.incarnation());
    }
    from.outgoing.taken(to.incoming.tell());
  }
  void settle() {
    for (int i = 0; i < 20; ++i) {
      exchange();
      carry();
      pass(milliseconds(500));
    }
  }
};

void disconnect(Side& side) {
  side.destroy_queue_pair();
  side.incoming.close();
  side.drop_packets();
  side.pairing.disconnect();
}

TEST(Handshake, a_message_survives_its_encoding) {
  HandshakeMessage message;
  message.kind = HandshakeMessage::Kind::answer;
  message.channel = Channel::native;
  message.attempt = 0x1234'5678'9abc;
  message.incarnation = 3;
  message.received = {7, 0xffff'ffff'ffff};
  message.address.number = 17;
  message.address.first_packet = 0xab'cdef;
  message.address.lid = 0xc001;
  message.address.gid[15] = 9;
  message.address.path_mtu = 4;
  message.address.reads = 16;
  message.address.table_address = ~0ULL;
  message.address.table_key = 5;
  message.address.device_generation = 2;
  EXPECT_EQ(decode_handshake(encode(message)), message);
}

TEST(Handshake, bytes_that_are_no_message_are_none) {
  const std::vector<std::byte> good = encode(HandshakeMessage{});
  ASSERT_TRUE(decode_handshake(good));
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(decode_handshake(std::span(good).first(size))) << size;
  }
  std::vector<std::byte> bad = good;
  bad.push_back({});
  EXPECT_FALSE(decode_handshake(bad));            // too long
  for (const std::size_t field : {0U, 1U, 2U}) {  // version, kind, channel
    bad = good;
    bad[field] = std::byte{200};
    EXPECT_FALSE(decode_handshake(bad)) << field;
  }
}

TEST(Handshake, either_side_may_begin_or_both) {
  for (const int who : {1, 2, 3}) {
    Pair pair;
    if ((who & 1) != 0) pair.active.pairing.want(pair.now);
    if ((who & 2) != 0) pair.passive.pairing.want(pair.now);
    pair.exchange();
    EXPECT_EQ(pair.active.pairing.state(), State::up);
    EXPECT_EQ(pair.passive.pairing.state(), State::answered) << "it has not heard the other side";
    pair.carry();
    EXPECT_EQ(pair.passive.pairing.state(), State::up);
    EXPECT_TRUE(pair.linked());
    EXPECT_EQ(pair.active.pairs_made, 1U);
  }
}

TEST(Handshake, lost_messages_are_said_again) {
  for (const int lost : {0, 1, 2}) {  // wish, offer, answer
    Pair pair;
    pair.passive.pairing.want(pair.now);
    for (int i = 0; i < lost; ++i) {
      pair.deliver(i % 2 == 0 ? pair.passive : pair.active,
                   i % 2 == 0 ? pair.active : pair.passive);
    }
    (lost % 2 == 0 ? pair.passive : pair.active).said.clear();
    pair.settle();
    EXPECT_TRUE(pair.linked()) << lost;
    EXPECT_TRUE(pair.passive.pairing.is_up()) << lost;
  }
}

TEST(Handshake, what_had_not_arrived_when_the_link_broke_is_sent_again_and_only_that) {
  Pair pair;
  ASSERT_TRUE(pair.active.post(1, pair.now));
  pair.settle();
  ASSERT_TRUE(pair.active.post(2, pair.now));
  ASSERT_TRUE(pair.active.post(3, pair.now));
  // Both left; the first has arrived, its acknowledgement has not, the other is lost.
  pair.active.outgoing.sent();
  pair.active.outgoing.sent();
  ASSERT_TRUE(pair.passive.incoming.accept(1));
  pair.passive.arrived.push_back(2);
  pair.passive.incoming.take(pair.passive.incoming.incarnation());
  pair.active.pairing.break_down(pair.now);
  pair.settle();
  EXPECT_THAT(pair.passive.arrived, testing::ElementsAre(1, 2, 3));
  EXPECT_EQ(pair.active.sent_again, 1U);
}

TEST(Handshake, a_rank_without_its_device_is_connected_when_it_has_one) {
  for (const bool active : {true, false}) {
    Pair pair;
    Side& without = active ? pair.active : pair.passive;
    Side& with = active ? pair.passive : pair.active;
    without.pairing.suspend();
    ASSERT_TRUE(with.post(5, pair.now));
    pair.settle();
    EXPECT_EQ(without.queue_pair, 0U);
    without.pairing.resume(pair.now);
    pair.settle();
    EXPECT_THAT(without.arrived, testing::ElementsAre(5));
  }
}

TEST(Handshake, a_device_that_goes_and_comes_back_loses_nothing) {
  Pair pair;
  for (const int round : {0, 1, 2}) {
    ASSERT_TRUE(pair.active.post(round, pair.now));
    ASSERT_TRUE(pair.passive.post(10 + round, pair.now));
    pair.settle();
    pair.passive.pairing.suspend();
    pair.exchange();
    EXPECT_FALSE(pair.active.pairing.is_up()) << "the other side is told";
    pair.passive.pairing.resume(pair.now);
    pair.settle();
  }
  EXPECT_THAT(pair.passive.arrived, testing::ElementsAre(0, 1, 2));
  EXPECT_THAT(pair.active.arrived, testing::ElementsAre(10, 11, 12));
}

TEST(Handshake, a_device_that_has_no_queue_pair_is_asked_again) {
  for (const bool active : {true, false}) {
    Pair pair;
    Side& without = active ? pair.active : pair.passive;
    without.cannot_make = true;
    ASSERT_TRUE(pair.active.post(1, pair.now));
    pair.settle();
    EXPECT_THAT(without.problems, testing::Contains("no queue pair is left"));
    without.cannot_make = false;
    pair.settle();
    EXPECT_THAT(pair.passive.arrived, testing::ElementsAre(1)) << active;
  }
}

TEST(Handshake, a_queue_pair_that_could_not_be_connected_is_made_anew) {
  for (const bool active : {true, false}) {
    Pair pair;
    Side& without = active ? pair.active : pair.passive;
    without.cannot_connect = true;
    ASSERT_TRUE(pair.passive.post(1, pair.now));
    pair.settle();
    EXPECT_THAT(without.problems, testing::Contains("the other side's address is not known"));
    without.cannot_connect = false;
    pair.settle();
    EXPECT_THAT(pair.active.arrived, testing::ElementsAre(1)) << active;
  }
}

TEST(Handshake, an_answer_that_never_came_is_not_waited_for_when_its_queue_pair_is_gone) {
  Pair pair;
  ASSERT_TRUE(pair.active.post(1, pair.now));
  pair.deliver(pair.active, pair.passive);
  pair.passive.said.clear();  // the answer
  pair.passive.pairing.break_down(pair.now);
  pair.settle();
  EXPECT_THAT(pair.passive.arrived, testing::ElementsAre(1));
}

TEST(Handshake, who_has_not_heard_of_a_disconnection_is_connected_after_it_all_the_same) {
  Pair pair;
  ASSERT_TRUE(pair.passive.post(1, pair.now));
  pair.settle();
  disconnect(pair.active);
  pair.active.said.clear();  // the word of it is lost
  ASSERT_TRUE(pair.active.post(2, pair.now));
  pair.settle();
  EXPECT_THAT(pair.passive.arrived, testing::ElementsAre(2));
  ASSERT_TRUE(pair.passive.post(3, pair.now));
  pair.settle();
  EXPECT_THAT(pair.active.arrived, testing::ElementsAre(1, 3));
}

TEST(Handshake, a_disconnection_drops_what_was_posted_before_it_is_heard_and_nothing_later) {
  for (const bool active : {true, false}) {
    for (const bool lost : {true, false}) {
      Pair pair;
      Side& sender = active ? pair.active : pair.passive;
      Side& receiver = active ? pair.passive : pair.active;
      ASSERT_TRUE(sender.post(1, pair.now));
      pair.settle();
      disconnect(receiver);
      if (lost) receiver.said.clear();
      ASSERT_TRUE(sender.post(2, pair.now));
      if (lost) sender.pairing.break_down(pair.now);  // as its queue pair leads nowhere
      pair.settle();
      ASSERT_TRUE(sender.post(3, pair.now));
      pair.settle();
      EXPECT_THAT(receiver.arrived, testing::ElementsAre(1, 3)) << active << lost;
    }
  }
}

TEST(Handshake, who_waits_for_room_is_told_of_the_next_that_there_is) {
  Pair pair;
  ASSERT_TRUE(pair.active.post(1, pair.now));
  pair.settle();
  pair.passive.incoming.take(pair.passive.incoming.incarnation());
  ASSERT_FALSE(pair.passive.incoming.must_tell()) << "one of eight is not worth a word";
  pair.active.pairing.ask_for_room();
  pair.exchange();
  EXPECT_TRUE(pair.passive.incoming.must_tell());
}

TEST(Handshake, a_late_disconnection_harms_no_later_connection) {
  for (const bool active : {true, false}) {
    Pair pair;
    Side& one = active ? pair.active : pair.passive;
    Side& other = active ? pair.passive : pair.active;
    ASSERT_TRUE(one.post(1, pair.now));
    pair.settle();
    disconnect(one);
    const HandshakeMessage late = one.said.back();
    one.said.clear();
    disconnect(other);
    pair.settle();
    ASSERT_TRUE(other.post(2, pair.now));
    pair.settle();
    ASSERT_TRUE(pair.linked());
    other.pairing.hear(late, pair.now);
    EXPECT_TRUE(pair.linked());
    ASSERT_TRUE(other.post(3, pair.now));
    pair.settle();
    EXPECT_THAT(one.arrived, testing::ElementsAre(2, 3));
  }
}

/// Anything may happen to links, devices and messages; then nothing any more.
class HandshakeSwarm : public testing::TestWithParam<std::uint64_t> {};

TEST_P(HandshakeSwarm, packets_arrive_in_order_and_once) {
  std::mt19937_64 random(GetParam());
  const auto draw = [&random](int below) { return static_cast<int>(random() % below); };
  Pair pair;
  std::array<std::vector<int>, 2> posted;
  std::array<bool, 2> suspended{};
  const std::array<Side*, 2> sides = {&pair.active, &pair.passive};
  for (int step = 0; step < 20'000; ++step) {
    const auto who = static_cast<std::size_t>(draw(2));
    Side& side = *sides[who];
    Side& other = *sides[1 - who];
    switch (draw(12)) {
      case 0:
      case 1:
        if (side.post(step, pair.now)) posted[who].push_back(step);
        break;
      case 2:
        if (!side.said.empty() && draw(5) == 0) side.said.pop_front();  // lost
        break;
      case 3:
        if (!side.said.empty() && draw(4) == 0) side.said.push_back(side.said.front());  // late
        break;
      case 4:
        if (draw(60) == 0) side.pairing.break_down(pair.now);
        break;
      case 5:
        if (draw(40) != 0) break;
        suspended[who] ? side.pairing.resume(pair.now) : side.pairing.suspend();
        suspended[who] = !suspended[who];
        break;
      case 6: pair.pass(milliseconds(draw(400))); break;
      case 7:
        if (draw(30) != 0) break;
        // A packet leaves and is lost with its link.
        if (side.pairing.is_up() && side.outgoing.has_to_send()) side.outgoing.sent();
        side.pairing.break_down(pair.now);
        break;
      case 8: pair.carry(side, other); break;
      default: pair.deliver(side, other);
    }
  }
  for (std::size_t who : {0U, 1U}) {
    if (suspended[who]) sides[who]->pairing.resume(pair.now);
  }
  pair.settle();
  pair.settle();
  EXPECT_EQ(pair.passive.arrived, posted[0]);
  EXPECT_EQ(pair.active.arrived, posted[1]);
  EXPECT_GT(posted[0].size(), 50U);
}
INSTANTIATE_TEST_SUITE_P(Seeds, HandshakeSwarm, testing::Range<std::uint64_t>(1, 41));

TEST(Streams, a_full_window_is_told_of_at_once_and_others_by_halves) {
  OutgoingStream out(window);
  IncomingStream in(window);
  in.synchronise(1);
  for (std::uint32_t i = 0; i < window; ++i) {
    EXPECT_TRUE(out.has_room());
    out.add();
    ASSERT_TRUE(in.accept(i));
  }
  EXPECT_FALSE(out.has_room());
  in.look_whether_full();
  EXPECT_FALSE(in.must_tell()) << "nothing was taken";
  in.take(1);
  EXPECT_TRUE(in.must_tell());
  out.taken(in.tell());
  EXPECT_TRUE(out.has_room());
  EXPECT_FALSE(in.must_tell());
  in.take(1);
  EXPECT_FALSE(in.must_tell());
  for (std::uint32_t i = 0; i < window / 2 - 1; ++i) in.take(1);
  EXPECT_TRUE(in.must_tell());
}

TEST(Streams, nonsense_about_what_was_taken_changes_nothing) {
  OutgoingStream out(window);
  out.add();
  out.sent();
  out.taken(5);
  EXPECT_FALSE(out.is_empty());
  out.taken(1);
  EXPECT_TRUE(out.is_empty());
  out.taken(0);
  EXPECT_TRUE(out.is_empty());
}

}  // namespace
}  // namespace ferry::verbs
