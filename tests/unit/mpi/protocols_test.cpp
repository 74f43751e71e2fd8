// Each protocol, packet by packet.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "core/mpi/engine.hpp"
#include "tests/unit/mpi/wire.hpp"

namespace ferry::mpi {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// Eager up to 1 KiB, then by reading up to 64 KiB, then by fragments of 4 KiB over another
/// channel.
Route three_protocols() {
  return Route(
      {{1024, {Protocol::eager, Channel::shm, Channel::shm, 4096}},
       {65'536, {Protocol::rendezvous_read, Channel::shm, Channel::cma, 4096}},
       {~std::size_t{0}, {Protocol::rendezvous_fragments, Channel::shm, Channel::ivshmem, 4096}}});
}

std::vector<std::byte> pattern(std::size_t size, int seed) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = std::byte((i * 7 + i / 251 + static_cast<std::size_t>(seed)) & 0xff);
  return bytes;
}

class Protocols : public testing::Test {
 protected:
  Wire wire{3, three_protocols()};
  Communicator a = wire.world(0);
  Communicator b = wire.world(1);

  bool ends(Communicator& of, Request& request, Status* status = nullptr) {
    for (int i = 0; i < 3; ++i) {
      wire.settle();
      if (of.test(request, status)) return true;
    }
    return false;
  }
  void nothing_is_left() {
    wire.settle();
    for (const auto& process : wire.processes) {
      EXPECT_EQ(process->engine().open_requests(), 0) << "rank " << process->rank().index;
      EXPECT_EQ(process->engine().unexpected_count(), 0);
    }
    EXPECT_THAT(wire.exposed, IsEmpty());
    EXPECT_THAT(wire.aborts, IsEmpty());
  }
};

TEST_F(Protocols, messages_of_every_size_arrive_whether_their_receives_come_before_or_after) {
  for (const std::size_t size : {0, 1, 255, 256, 1024, 1025, 65'536, 65'537, 200'001}) {
    for (const bool before : {true, false}) {
      for (const bool synchronous : {true, false}) {
        SCOPED_TRACE(size);
        const std::vector<std::byte> sent = pattern(size, 3);
        std::vector<std::byte> got(size);
        Request receive;
        if (before) receive = b.irecv({got.data(), size}, 0, 5);
        Request send =
            synchronous ? a.issend({sent.data(), size}, 1, 5) : a.isend({sent.data(), size}, 1, 5);
        if (!before) {
          wire.settle();
          if (synchronous) {
            EXPECT_FALSE(a.test(send));
          }
          receive = b.irecv({got.data(), size}, 0, 5);
        }
        Status status;
        ASSERT_TRUE(ends(b, receive, &status));
        ASSERT_TRUE(ends(a, send));
        EXPECT_EQ(got, sent);
        EXPECT_EQ(status.source, 0);
        EXPECT_EQ(status.tag, 5);
        EXPECT_EQ(status.size, size);
        EXPECT_EQ(status.error, Error::none);
      }
    }
  }
  nothing_is_left();
}

TEST_F(Protocols, phantom_messages_of_every_size_arrive) {
  for (const std::size_t size : {0, 1, 1024, 65'536, 200'001}) {
    Request send = a.isend(ConstBuffer::phantom(size), 1, 5);
    Request receive = b.irecv(Buffer::phantom(size), 0, 5);
    Status status;
    ASSERT_TRUE(ends(b, receive, &status));
    ASSERT_TRUE(ends(a, send));
    EXPECT_EQ(status.size, size);
  }
  nothing_is_left();
}

TEST_F(Protocols, a_message_that_is_too_long_fills_the_buffer_and_says_so) {
  for (const std::size_t size : {100, 2000, 100'000}) {
    for (const std::size_t room : {std::size_t{0}, size / 2}) {
      const std::vector<std::byte> sent = pattern(size, 1);
      std::vector<std::byte> got(room + 1);
      Request send = a.isend({sent.data(), size}, 1, 9);
      Request receive = b.irecv({got.data(), room}, any_source, any_tag);
      Status status;
      ASSERT_TRUE(ends(b, receive, &status));
      ASSERT_TRUE(ends(a, send));
      EXPECT_EQ(status.error, Error::truncated);
      EXPECT_EQ(status.size, size);
      EXPECT_TRUE(std::equal(got.begin(), got.end() - 1, sent.begin()));
      EXPECT_EQ(got.back(), std::byte{0});
    }
  }
  EXPECT_EQ(
      wire.complaints.at(0),
      "rank 1 receives 100 bytes from rank 0, tag 9, communicator world, into a buffer of 0 bytes");
  nothing_is_left();
}

TEST_F(Protocols, buffers_in_pieces_are_like_whole_ones) {
  for (const std::size_t size : {200, 3000, 100'000}) {
    const std::vector<std::byte> sent = pattern(size, 2);
    std::vector<std::byte> got(size);
    const std::vector<ConstSlice> from = {
        {sent.data(), 50}, {sent.data() + 50, 0}, {sent.data() + 50, size - 50}};
    const std::vector<Slice> into = {{got.data(), 99}, {got.data() + 99, size - 99}};
    Request send = a.isend(ConstBuffer(std::span<const ConstSlice>(from)), 1, 5);
    Request receive = b.irecv(Buffer(std::span<const Slice>(into)), 0, 5);
    ASSERT_TRUE(ends(b, receive));
    ASSERT_TRUE(ends(a, send));
    EXPECT_EQ(got, sent);
  }
  nothing_is_left();
}

TEST_F(Protocols, a_rank_talks_to_itself_without_packets) {
  for (const std::size_t size : {0, 100, 500'000}) {
    for (const bool before : {true, false}) {
      const std::vector<std::byte> sent = pattern(size, 2);
      std::vector<std::byte> got(size);
      Request receive;
      if (before) receive = a.irecv({got.data(), size}, any_source, 5);
      Request send = a.isend({sent.data(), size}, 0, 5);
      if (!before) receive = a.irecv({got.data(), size}, 0, any_tag);
      Status status;
      EXPECT_TRUE(a.test(receive, &status));
      EXPECT_TRUE(a.test(send));
      EXPECT_EQ(got, sent);
      EXPECT_EQ(status.source, 0);
      EXPECT_EQ(status.size, size);
    }
  }
  EXPECT_TRUE(wire.is_idle());
  nothing_is_left();
}

TEST_F(Protocols, sends_beyond_the_credits_are_announced_and_none_is_lost) {
  std::vector<Request> sends;
  std::vector<std::uint32_t> values(3000);
  std::iota(values.begin(), values.end(), 0);
  for (std::uint32_t& value : values) sends.push_back(a.isend({&value, sizeof(value)}, 1, 5));
  wire.settle();
  EXPECT_FALSE(a.test(sends.back()));
  EXPECT_EQ(wire.processes[1]->engine().unexpected_count(), 3000);
  // The last first, by a tag that only it has: an announcement is not held back either.
  const std::uint32_t last = 77;
  sends.push_back(a.isend({&last, sizeof(last)}, 1, 6));
  std::uint32_t got = 0;
  Request receive = b.irecv({&got, sizeof(got)}, 0, 6);
  ASSERT_TRUE(ends(b, receive));
  EXPECT_EQ(got, 77);
  for (const std::uint32_t value : values) {
    receive = b.irecv({&got, sizeof(got)}, 0, 5);
    ASSERT_TRUE(ends(b, receive));
    ASSERT_EQ(got, value);
  }
  for (Request& send : sends) ASSERT_TRUE(ends(a, send));
  nothing_is_left();
}

TEST_F(Protocols, a_way_without_room_keeps_sends_in_order_until_there_is_some) {
  wire.refuses = true;
  std::vector<Request> sends;
  std::vector<std::vector<std::byte>> sent;
  for (const std::size_t size : {4, 2000, 100'000, 5}) sent.push_back(pattern(size, 4));
  for (const auto& bytes : sent) sends.push_back(a.isend({bytes.data(), bytes.size()}, 1, 5));
  EXPECT_TRUE(wire.is_idle());
  EXPECT_FALSE(a.test(sends[0]));
  wire.refuses = false;
  for (const auto& bytes : sent) {
    std::vector<std::byte> got(bytes.size());
    Request receive = b.irecv({got.data(), got.size()}, 0, 5);
    ASSERT_TRUE(ends(b, receive));
    EXPECT_EQ(got, bytes);
  }
  for (Request& send : sends) ASSERT_TRUE(ends(a, send));
  nothing_is_left();
}

// Room that comes between two tries changes nothing: an announcement would wait for the receive.
TEST_F(Protocols,
       a_message_within_the_credits_does_not_wait_for_its_receive_whenever_there_is_room) {
  for (const int refused : {1, 2, 3}) {
    wire.refuses_next = refused;
    const int value = 100 + refused;
    Request send = a.isend({&value, sizeof(value)}, 1, 5);
    ASSERT_TRUE(ends(a, send)) << refused << " refused";
    int got = 0;
    Request receive = b.irecv({&got, sizeof(got)}, 0, 5);
    ASSERT_TRUE(ends(b, receive));
    EXPECT_EQ(got, value);
  }
  nothing_is_left();
}

// What is left over waits to be told of room: so there must have been none.
TEST_F(Protocols, messages_in_fragments_leave_in_turns_as_far_as_there_is_room) {
  const std::vector<std::byte> longer = pattern(400'000, 1);
  const std::vector<std::byte> shorter = pattern(70'000, 2);
  std::vector<std::byte> got[2] = {std::vector<std::byte>(400'000), std::vector<std::byte>(70'000)};
  std::vector<Request> requests;
  for (std::vector<std::byte>& each : got) {
    requests.push_back(b.irecv({each.data(), each.size()}, 0, 5));
  }
  requests.push_back(a.isend({longer.data(), longer.size()}, 1, 5));
  requests.push_back(a.isend({shorter.data(), shorter.size()}, 1, 5));
  const auto pass = [&](std::uint32_t from, std::uint32_t to) {
    auto& packets = wire.ways[{from, to, Channel::shm}];
    while (!packets.empty()) wire.deliver(packets, to);
    wire.processes[to]->engine().progress();
  };
  pass(0, 1);  // announcements
  wire.refuses_after = 10;
  pass(1, 0);  // both may leave now
  auto& fragments = wire.ways[{0, 1, Channel::ivshmem}];
  EXPECT_EQ(fragments.size(), 10);
  wire.refuses_after = -1;
  a.test(requests[2]);
  ASSERT_EQ(fragments.size(), 98 + 18);
  std::vector<bool> of_shorter;
  for (const auto& each : fragments) {
    of_shorter.push_back(each.arrival.header.more != fragments.front().arrival.header.more);
  }
  const auto last = std::find(of_shorter.rbegin(), of_shorter.rend(), true);
  EXPECT_LE(of_shorter.rend() - last, 10 + 2 * 18 + 4) << "it waited for the longer one";
  for (int i = 0; i < 4; ++i)
    ASSERT_TRUE(ends(i < 2 ? b : a, requests[static_cast<std::size_t>(i)]));
  EXPECT_EQ(got[0], longer);
  EXPECT_EQ(got[1], shorter);
  nothing_is_left();
}

TEST_F(Protocols, a_receive_can_be_cancelled_until_it_is_matched) {
  int got = 0;
  Request receive = b.irecv({&got, sizeof(got)}, 0, 5);
  b.cancel(receive);
  Status status;
  EXPECT_TRUE(b.test(receive, &status));
  EXPECT_TRUE(status.cancelled);
  Request matched = b.irecv({&got, sizeof(got)}, 0, 5);
  const int sent = 3;
  Request send = a.isend({&sent, sizeof(sent)}, 1, 5);
  wire.settle();
  b.cancel(matched);
  EXPECT_TRUE(b.test(matched, &status));
  EXPECT_FALSE(status.cancelled);
  EXPECT_EQ(got, 3);
  EXPECT_TRUE(a.test(send));
  nothing_is_left();
}

TEST_F(Protocols, a_probe_sees_what_a_receive_would_get) {
  EXPECT_EQ(b.iprobe(any_source, any_tag), std::nullopt);
  const std::vector<std::byte> sent = pattern(5000, 0);
  Request first = a.isend({sent.data(), 5000}, 1, 8);
  Request second = a.isend({sent.data(), 10}, 1, 7);
  wire.settle();
  EXPECT_EQ(b.iprobe(any_source, any_tag)->size, 5000);
  EXPECT_EQ(b.iprobe(0, 7)->size, 10);
  EXPECT_EQ(b.iprobe(2, any_tag), std::nullopt);
  std::vector<std::byte> got(5000);
  Request receive = b.irecv({got.data(), 5000}, any_source, 7);
  EXPECT_TRUE(ends(b, receive));
  receive = b.irecv({got.data(), 5000}, 0, any_tag);
  EXPECT_TRUE(ends(b, receive));
  EXPECT_TRUE(ends(a, first));
  EXPECT_TRUE(ends(a, second));
  nothing_is_left();
}

TEST_F(Protocols, packets_that_overtake_or_come_twice_change_nothing) {
  // Envelopes of two channels: what was sent second comes first, and each comes twice.
  const int one = 1;
  const int two = 2;
  Request first = a.isend({&one, sizeof(one)}, 1, 5);
  Request second = a.isend({&two, sizeof(two)}, 1, 5);
  auto& packets = wire.ways.at({0, 1, Channel::shm});
  ASSERT_EQ(packets.size(), 2);
  std::swap(packets[0], packets[1]);
  packets.push_back(packets[0]);
  packets.push_back(packets[1]);
  packets.push_front(packets[0]);
  wire.settle();
  int got = 0;
  Request receive = b.irecv({&got, sizeof(got)}, 0, 5);
  ASSERT_TRUE(ends(b, receive));
  EXPECT_EQ(got, 1);
  receive = b.irecv({&got, sizeof(got)}, 0, 5);
  ASSERT_TRUE(ends(b, receive));
  EXPECT_EQ(got, 2);
  EXPECT_EQ(b.iprobe(any_source, any_tag), std::nullopt);
  EXPECT_TRUE(ends(a, first));
  EXPECT_TRUE(ends(a, second));
  nothing_is_left();
}

TEST_F(Protocols, memory_that_cannot_be_read_is_announced_afresh) {
  const std::vector<std::byte> sent = pattern(5000, 6);
  std::vector<std::byte> got(5000);
  Request send = a.isend({sent.data(), 5000}, 1, 5);
  Request receive = b.irecv({got.data(), 5000}, 0, 5);
  wire.deliver(wire.ways.at({0, 1, Channel::shm}), 1);
  wire.processes[1]->engine().progress();
  ASSERT_EQ(wire.reads.size(), 1);
  wire.reads.front().key = 12'345;  // nobody knows it
  ASSERT_TRUE(ends(b, receive));
  EXPECT_EQ(got, sent);
  ASSERT_TRUE(ends(a, send));
  nothing_is_left();
}

TEST_F(Protocols, memory_that_cannot_be_exposed_goes_in_fragments) {
  wire.unreadable = true;
  for (const bool before : {true, false}) {
    const std::vector<std::byte> sent = pattern(20'000, 6);
    std::vector<std::byte> got(20'000);
    Request receive;
    if (before) receive = b.irecv({got.data(), 20'000}, 0, 5);
    Request send = a.isend({sent.data(), 20'000}, 1, 5);
    if (!before) {
      wire.settle();
      EXPECT_FALSE(a.test(send));
      receive = b.irecv({got.data(), 20'000}, 0, 5);
    }
    ASSERT_TRUE(ends(b, receive));
    EXPECT_EQ(got, sent);
    ASSERT_TRUE(ends(a, send));
  }
  EXPECT_THAT(wire.reads, IsEmpty());
  nothing_is_left();
}

TEST_F(Protocols, memory_that_cannot_be_exposed_once_more_goes_in_fragments) {
  const std::vector<std::byte> sent = pattern(20'000, 6);
  std::vector<std::byte> got(20'000);
  Request send = a.isend({sent.data(), 20'000}, 1, 5);
  Request receive = b.irecv({got.data(), 20'000}, 0, 5);
  wire.deliver(wire.ways.at({0, 1, Channel::shm}), 1);
  wire.processes[1]->engine().progress();
  ASSERT_EQ(wire.reads.size(), 1);
  wire.reads.front().key = 12'345;  // nobody knows it
  wire.unreadable = true;
  ASSERT_TRUE(ends(b, receive));
  EXPECT_EQ(got, sent);
  ASSERT_TRUE(ends(a, send));
  nothing_is_left();
}

using ProtocolsDeathTest = Protocols;

TEST_F(ProtocolsDeathTest, bytes_that_changed_on_the_way_are_noticed) {
  const std::vector<std::byte> sent = pattern(100, 6);
  [[maybe_unused]] const Request send = a.isend({sent.data(), 100}, 1, 5);
  wire.ways.at({0, 1, Channel::shm}).front().body[50] ^= std::byte{1};
  EXPECT_DEATH(wire.settle(), "packet 1 from rank 0 to rank 1 is not what was sent");
}

TEST_F(ProtocolsDeathTest, half_of_a_checksum_is_looked_at_where_no_more_has_travelled) {
  const std::vector<std::byte> sent = pattern(100, 6);
  std::vector<std::byte> got(100);
  constexpr std::uint64_t half = 0xffff'ffffU;
  const auto leave_half = [&] {
    WireEndpoint::Held& packet = wire.ways.at({0, 1, Channel::shm}).front();
    packet.arrival.header.checksum &= half;
    packet.arrival.checksum_bits = half;
    return &packet;
  };
  Request receive = b.irecv({got.data(), 100}, 0, 5);
  Request send = a.isend({sent.data(), 100}, 1, 5);
  leave_half();
  wire.settle();
  ASSERT_TRUE(ends(b, receive));
  EXPECT_EQ(got, sent);
  ASSERT_TRUE(ends(a, send));

  [[maybe_unused]] const Request another = a.isend({sent.data(), 100}, 1, 5);
  leave_half()->body[50] ^= std::byte{1};
  EXPECT_DEATH(wire.settle(), "packet 2 from rank 0 to rank 1 is not what was sent");
}

TEST_F(ProtocolsDeathTest, a_header_that_changed_on_the_way_is_noticed) {
  [[maybe_unused]] const Request send = a.isend(ConstBuffer::phantom(100), 1, 5);
  wire.ways.at({0, 1, Channel::shm}).front().arrival.header.tag = 6;
  EXPECT_DEATH(wire.settle(), "packet 1 from rank 0 to rank 1 is not what was sent");
}

TEST_F(ProtocolsDeathTest, memory_that_changed_while_it_was_announced_is_noticed) {
  std::vector<std::byte> sent = pattern(5000, 6);
  std::vector<std::byte> got(5000);
  [[maybe_unused]] const Request send = a.isend({sent.data(), 5000}, 1, 5);
  sent[4000] ^= std::byte{1};
  [[maybe_unused]] const Request receive = b.irecv({got.data(), 5000}, 0, 5);
  EXPECT_DEATH(wire.settle(), "what was read is what was announced");
}

/// The job may hear of it and end its ranks later, as between processes.
TEST(Unreachable, ranks_leave_their_calls_with_the_reason_before_their_job_has_ended) {
  Wire wire(2, Route("no channel joins them"));
  Communicator a = wire.world(0);
  const std::vector<std::byte> sent = pattern(8, 1);
  try {
    static_cast<void>(a.isend({sent.data(), sent.size()}, 1, 5));
    FAIL() << "the message is under way";
  } catch (const JobAborted& aborted) {
    EXPECT_STREQ(aborted.what(), "rank 0 cannot reach rank 1: no channel joins them");
  }
  EXPECT_THAT(wire.aborts,
              testing::ElementsAre("rank 0 cannot reach rank 1: no channel joins them"));
}

}  // namespace
}  // namespace ferry::mpi
