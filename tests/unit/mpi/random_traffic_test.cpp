// Random programs over a wire that passes packets in random order, against MPI's order.
#include <gtest/gtest.h>

#include <cstring>
#include <list>
#include <map>
#include <random>

#include "core/mpi/engine.hpp"
#include "tests/unit/mpi/wire.hpp"

namespace ferry::mpi {
namespace {

/// Eager by two channels, so that packets overtake each other; one of them can lose.
Route mixed_route() {
  return Route({{64, {Protocol::eager, Channel::ivshmem, Channel::ivshmem, 256}},
                {1000, {Protocol::eager, Channel::sriov, Channel::sriov, 1024}},
                {5000, {Protocol::rendezvous_read, Channel::ivshmem, Channel::sriov, 1024}},
                {~std::size_t{0},
                 {Protocol::rendezvous_fragments, Channel::ivshmem, Channel::sriov, 1024}}});
}

ProcessOptions few_credits() {
  ProcessOptions options;
  options.credits = 64;
  return options;
}

/// A message says who sent it, and its number among those of its sender, receiver and tag.
struct Content {
  std::uint32_t source;
  std::uint32_t number;
};

struct Sent {
  Request request;
  std::vector<std::byte> bytes;
};
struct Received {
  Request request;
  std::vector<std::byte> bytes;
  Rank from;
  Tag tag;
};

class Traffic {
 public:
  explicit Traffic(std::uint64_t seed)
      : random_(seed), wire_(ranks, mixed_route(), few_credits()) {}

  void run() {
    for (int step = 0; step < 3000; ++step) random_step();
    drain();
    for (std::uint32_t i = 0; i < ranks; ++i) {
      EXPECT_EQ(wire_.processes[i]->engine().open_requests(), 0);
      EXPECT_EQ(wire_.processes[i]->engine().unexpected_count(), 0);
    }
    EXPECT_TRUE(wire_.exposed.empty());
    EXPECT_GT(messages_, 100);
  }

 private:
  static constexpr std::uint32_t ranks = 3;
  static constexpr Tag tags = 2;

  std::uint32_t below(std::uint32_t end) { return static_cast<std::uint32_t>(random_() % end); }

  void random_step() {
    switch (below(8)) {
      case 0: return send(below(ranks), below(ranks));
      case 1: return receive(below(ranks));
      case 2: return look(below(ranks));
      case 3: wire_.refuses = below(4) == 0; return;
      default: return move_something();
    }
  }

  std::size_t random_size() {
    static constexpr std::uint32_t ends[] = {1, 64, 1000, 5000, 9000};
    return sizeof(Content) + below(ends[below(5)]);
  }

  void send(std::uint32_t from, std::uint32_t to) {
    const Tag tag = static_cast<Tag>(below(tags));
    Sent sent;
    sent.bytes.resize(random_size(), std::byte(below(256)));
    const Content content{from, numbers_[{from, to, tag}]++};
    std::memcpy(sent.bytes.data(), &content, sizeof(content));
    sends_[from].push_back(std::move(sent));
    Sent& kept = sends_[from].back();
    Communicator world = wire_.world(from);
    const ConstBuffer buffer(kept.bytes.data(), kept.bytes.size());
    kept.request = below(4) == 0 ? world.issend(buffer, static_cast<Rank>(to), tag)
                                 : world.isend(buffer, static_cast<Rank>(to), tag);
    ++messages_;
    ++open_[to];
  }

  /// Only as many as there are messages: so all of them end.
  void receive(std::uint32_t to) {
    if (open_[to] == 0) return;
    --open_[to];
    receives_[to].push_back({{}, std::vector<std::byte>(10'000), any_source, any_tag});
    Received& kept = receives_[to].back();
    kept.request =
        wire_.world(to).irecv({kept.bytes.data(), kept.bytes.size()}, kept.from, kept.tag);
  }

  /// Completions of receives, in the order of posting: with wildcards alone, of one rank, messages
  /// of one sender and tag come in the order of sending.
  void look(std::uint32_t rank) {
    Communicator world = wire_.world(rank);
    for (Received& received : receives_[rank]) {
      Status status;
      if (received.request.empty() || !world.test(received.request, &status)) continue;
      Content content;
      std::memcpy(&content, received.bytes.data(), sizeof(content));
      EXPECT_EQ(content.source, status.source);
      EXPECT_EQ(status.error, Error::none);
      arrived_[rank].emplace(&received, std::pair{status, content});
    }
    std::erase_if(sends_[rank], [&](Sent& sent) { return world.test(sent.request); });
  }

  void move_something() {
    if (below(4) == 0 && !wire_.reads.empty()) {
      const std::size_t which = below(static_cast<std::uint32_t>(wire_.reads.size()));
      wire_.finish_read(wire_.reads[which]);
      wire_.reads.erase(wire_.reads.begin() + static_cast<long>(which));
      return;
    }
    std::vector<Wire::Way> busy;
    for (const auto& [way, packets] : wire_.ways) {
      if (!packets.empty()) busy.push_back(way);
    }
    if (busy.empty()) return;
    const Wire::Way way = busy[below(static_cast<std::uint32_t>(busy.size()))];
    auto& packets = wire_.ways.at(way);
    if (below(10) == 0) packets.push_front(packets.front());  // a double
    wire_.deliver(packets, std::get<1>(way));
    if (below(2) == 0) wire_.processes[std::get<1>(way)]->engine().progress();
  }

  void drain() {
    wire_.refuses = false;
    for (std::uint32_t i = 0; i < ranks; ++i) {
      while (open_[i] != 0) receive(i);
    }
    for (int i = 0; i < 5; ++i) {
      wire_.settle();
      for (std::uint32_t rank = 0; rank < ranks; ++rank) look(rank);
    }
    for (std::uint32_t rank = 0; rank < ranks; ++rank) {
      EXPECT_TRUE(sends_[rank].empty());
      std::map<std::pair<Rank, Tag>, std::uint32_t> next;
      for (const Received& received : receives_[rank]) {
        const auto found = arrived_[rank].find(&received);
        ASSERT_NE(found, arrived_[rank].end()) << "a receive of rank " << rank << " has not ended";
        const auto& [status, content] = found->second;
        ASSERT_EQ(content.number, (next[{status.source, status.tag}]++))
            << "order at rank " << rank;
      }
    }
  }

  std::mt19937_64 random_;
  Wire wire_;
  std::map<std::tuple<std::uint32_t, std::uint32_t, Tag>, std::uint32_t> numbers_;
  std::list<Sent> sends_[ranks];
  std::list<Received> receives_[ranks];
  std::map<const Received*, std::pair<Status, Content>> arrived_[ranks];
  std::uint32_t open_[ranks] = {};
  int messages_ = 0;
};

TEST(RandomTraffic, every_message_arrives_once_and_in_order_however_packets_travel) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Traffic(seed).run();
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace ferry::mpi
