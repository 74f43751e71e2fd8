// Collectives of whole jobs over a wire that passes packets in random order.
#include <gtest/gtest.h>

#include <list>
#include <random>

#include "core/mpi/collectives/choose.hpp"
#include "core/mpi/engine.hpp"
#include "tests/unit/mpi/call_case.hpp"
#include "tests/unit/mpi/wire.hpp"

namespace ferry::mpi {
namespace {

/// Small messages are eager; larger ones are read, or come in fragments; some can be lost.
Route mixed_route() {
  return Route(
      {{40, {Protocol::eager, Channel::shm, Channel::shm, 256}},
       {100, {Protocol::eager, Channel::sriov, Channel::sriov, 1024}},
       {300, {Protocol::rendezvous_read, Channel::shm, Channel::sriov, 1024}},
       {~std::size_t{0}, {Protocol::rendezvous_fragments, Channel::shm, Channel::sriov, 128}}});
}

ProcessOptions few_credits() {
  ProcessOptions options;
  options.credits = 64;
  return options;
}

/// Any algorithms and groups, the same for all ranks.
ProcessOptions any_options(Rank ranks, std::mt19937_64& random) {
  ProcessOptions options = few_credits();
  auto settings = std::make_shared<CollectiveSettings>();
  for (const AlgorithmEntry& entry : all_algorithms())
    if (random() % 2 == 0)
      settings->algorithm[static_cast<std::size_t>(entry.collective)] = entry.algorithm;
  options.collectives = settings;
  std::vector<std::uint32_t> group_of;
  for (Rank rank = 0; rank < ranks; ++rank)
    group_of.push_back(static_cast<std::uint32_t>(random() % 4));
  if (random() % 2 == 0) options.locality = std::make_shared<JobLocality>(group_of);
  return options;
}

/// A communicator, and the collectives that its ranks make on it, several at a time.
class Program {
 public:
  Program(Wire& wire, std::vector<std::uint32_t> members, std::uint32_t context, int count,
          std::mt19937_64& random)
      : members_(std::move(members)) {
    const auto ranks = static_cast<Rank>(members_.size());
    for (std::size_t rank = 0; rank < members_.size(); ++rank) {
      Engine& engine = wire.processes[members_[rank]]->engine();
      const bool is_world = context == 0;
      Group group{static_cast<Rank>(rank), ranks, context, members_, "a part", {}};
      ranks_.push_back({is_world ? engine.world()
                                 : Communicator(engine.add_communicator(std::move(group),
                                                                        engine.world().state())),
                        0,
                        {}});
    }
    for (int i = 0; i < count; ++i) {
      const std::size_t largest = i % 8 == 0 ? 900 : 40;
      Collected collected;
      collected.test = random_case(ranks, largest, random);
      collected.before = random_memory(collected.test, random());
      collected.now = collected.before;
      collected_.push_back(std::move(collected));
    }
  }

  /// A rank starts its next collective, or looks at one that it has started.
  void step(std::mt19937_64& random) {
    Member& member = ranks_[random() % ranks_.size()];
    const auto rank = static_cast<std::size_t>(&member - ranks_.data());
    if (member.started < collected_.size() && random() % 3 == 0 && member.open.size() < 4) {
      Collected& next = collected_[member.started++];
      member.open.push_back(start_case(member.communicator, next.test, next.now[rank]));
    } else if (!member.open.empty()) {
      const std::size_t which = random() % member.open.size();
      if (member.communicator.test(member.open[which]))
        member.open.erase(member.open.begin() + static_cast<std::ptrdiff_t>(which));
    }
  }

  [[nodiscard]] bool done() const {
    return std::all_of(ranks_.begin(), ranks_.end(), [this](const Member& member) {
      return member.started == collected_.size() && member.open.empty();
    });
  }

  void expect_all_right() const {
    for (const Collected& collected : collected_)
      for (Rank rank = 0; rank < collected.test.ranks; ++rank)
        EXPECT_EQ(collected.now[static_cast<std::size_t>(rank)].output,
                  expected_output(collected.test, collected.before, rank))
            << collected.test.describe() << ", rank " << rank;
  }

 private:
  struct Collected {
    CollectiveCase test;
    std::vector<RankMemory> before;
    std::vector<RankMemory> now;
  };
  struct Member {
    Communicator communicator;
    std::size_t started = 0;
    std::vector<Request> open;
  };
  std::vector<std::uint32_t> members_;
  std::vector<Member> ranks_;
  std::vector<Collected> collected_;
};

/// Something that is under way arrives.
void move_something(Wire& wire, std::mt19937_64& random) {
  if (!wire.reads.empty() && random() % 4 == 0) {
    const std::size_t which = random() % wire.reads.size();
    wire.finish_read(wire.reads[which]);
    wire.reads.erase(wire.reads.begin() + static_cast<std::ptrdiff_t>(which));
    return;
  }
  std::vector<Wire::Way> busy;
  for (const auto& [way, packets] : wire.ways)
    if (!packets.empty()) busy.push_back(way);
  if (busy.empty()) return;
  const Wire::Way way = busy[random() % busy.size()];
  wire.deliver(wire.ways.at(way), std::get<1>(way));
  if (random() % 2 == 0) wire.processes[std::get<1>(way)]->engine().progress();
}

TEST(Collectives, of_a_job_and_of_its_parts_at_once_give_what_they_mean) {
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    const auto ranks = static_cast<Rank>(1 + random() % 17);
    Wire wire(static_cast<std::uint32_t>(ranks), mixed_route(), any_options(ranks, random));
    std::vector<std::uint32_t> all;
    std::vector<std::uint32_t> parts[2];
    for (std::uint32_t rank = 0; rank < static_cast<std::uint32_t>(ranks); ++rank) {
      all.push_back(rank);
    }
    for (std::uint32_t rank : all) parts[(rank * 7 + seed) % 2].push_back(rank);
    std::shuffle(parts[0].begin(), parts[0].end(), random);
    std::list<Program> programs;
    programs.emplace_back(wire, all, 0, 12, random);
    for (const auto& part : parts)
      if (!part.empty()) programs.emplace_back(wire, part, 2, 8, random);
    bool done = false;
    for (int step = 0; step < 400'000 && !done; ++step) {
      const auto which = static_cast<std::ptrdiff_t>(random() % programs.size());
      if (random() % 3 == 0) std::next(programs.begin(), which)->step(random);
      move_something(wire, random);
      done = std::all_of(programs.begin(), programs.end(),
                         [](const Program& program) { return program.done(); });
    }
    ASSERT_TRUE(wire.aborts.empty()) << wire.aborts.front();
    ASSERT_TRUE(done) << "collectives have not ended";
    for (const Program& program : programs) program.expect_all_right();
    wire.settle();
    for (const auto& process : wire.processes) {
      EXPECT_EQ(process->engine().open_requests(), 0U);
      EXPECT_EQ(process->engine().unexpected_count(), 0U);
    }
    if (HasFailure()) return;
  }
}

struct Mismatch {
  CollectiveCase first;   ///< of rank 0
  CollectiveCase second;  ///< of rank 1
  std::string why;
};

CollectiveCase case_of(Collective kind, std::size_t size, Rank root = 0) {
  CollectiveCase test;
  test.kind = kind;
  test.ranks = 2;
  test.root = root;
  test.size = size;
  return test;
}

TEST(Collectives, that_differ_between_ranks_end_the_job_with_ranks_and_sizes) {
  const std::vector<Mismatch> mismatches = {
      {case_of(Collective::barrier, 0), case_of(Collective::allreduce, 8),
       "collective 0 of communicator world: rank 1 calls allreduce of 8 bytes, rank 0 calls "
       "barrier "
       "of 0 bytes"},
      {case_of(Collective::allreduce, 8), case_of(Collective::allreduce, 16),
       "collective 0 of communicator world: rank 1 calls allreduce of 16 bytes, rank 0 calls "
       "allreduce of 8 bytes"},
      {case_of(Collective::bcast, 8, 0), case_of(Collective::bcast, 8, 1),
       "collective 0 of communicator world: rank 1 calls bcast of 8 bytes, root 1, rank 0 calls "
       "bcast of 8 bytes, root 0"},
      {case_of(Collective::allreduce, 200), case_of(Collective::allgather, 200),
       "collective 0 of communicator world: rank 1 calls allgather of 200 bytes, rank 0 calls "
       "allreduce"},
  };
  for (const Mismatch& mismatch : mismatches) {
    Wire wire(2, mixed_route(), few_credits());
    std::vector<RankMemory> first = random_memory(mismatch.first, 1);
    std::vector<RankMemory> second = random_memory(mismatch.second, 1);
    (void)start_case(wire.world(0), mismatch.first, first[0]);
    wire.settle();
    (void)start_case(wire.world(1), mismatch.second, second[1]);
    ASSERT_FALSE(wire.aborts.empty()) << mismatch.why;
    EXPECT_EQ(wire.aborts.front(), mismatch.why);
  }
}

TEST(Collectives, go_by_new_places_of_ranks_from_the_agreed_number_on) {
  constexpr Rank ranks = 4;
  Wire wire(ranks, mixed_route(), few_credits());
  const auto pairs = std::make_shared<const JobLocality>(std::vector<std::uint32_t>{0, 0, 1, 1});
  const CollectiveCase test = [] {
    CollectiveCase allreduce = case_of(Collective::allreduce, 8);
    allreduce.ranks = ranks;
    return allreduce;
  }();
  std::vector<std::vector<RankMemory>> memory;
  for (std::uint64_t i = 0; i < 4; ++i) memory.push_back(random_memory(test, i));
  const auto before = memory;
  const auto start = [&](std::uint32_t rank, std::size_t number) {
    return start_case(wire.world(rank), test, memory[number][rank]);
  };
  std::vector<Request> requests[ranks];
  // Rank 0 is two collectives ahead, rank 1 one.
  requests[0] = {start(0, 0), start(0, 1)};
  requests[1] = {start(1, 0)};
  LocalityVote vote(1, ranks);
  for (std::uint32_t rank = 0; rank < ranks; ++rank) {
    Engine& engine = wire.processes[rank]->engine();
    const std::vector<LocalityReply> replies = engine.ask_locality(1, pairs);
    ASSERT_EQ(replies.size(), 1U);
    EXPECT_EQ(replies[0].of, (CommunicatorName{0, 0}));
    EXPECT_EQ(replies[0].ranks, ranks);
    vote.answer(replies[0].rank, 1, replies[0].answer);
    EXPECT_TRUE(engine.ask_locality(1, pairs).empty()) << "once";
  }
  ASSERT_EQ(vote.agreed(), 2U);
  // What is started now waits.
  for (std::uint32_t rank = 0; rank < ranks; ++rank)
    for (std::size_t number = requests[rank].size(); number < 4; ++number)
      requests[rank].push_back(start(rank, number));
  wire.settle();
  EXPECT_FALSE(wire.world(0).test(requests[0][0]));
  for (std::uint32_t rank = 0; rank < ranks; ++rank)
    wire.processes[rank]->engine().agree_locality({{0, 0}, 1, *vote.agreed()});
  wire.settle();
  for (std::uint32_t rank = 0; rank < ranks; ++rank) {
    for (std::size_t number = 0; number < 4; ++number) {
      EXPECT_TRUE(wire.world(rank).test(requests[rank][number])) << "collective " << number;
      EXPECT_EQ(memory[number][rank].output,
                expected_output(test, before[number], static_cast<Rank>(rank)));
    }
    const CollectivePlanner& planner = *wire.world(rank).state().planner;
    CollectiveShape shape;
    shape.kind = Collective::allreduce;
    shape.size = 8;
    EXPECT_EQ(planner.choose(shape).algorithm, Algorithm::two_level);
  }
  EXPECT_TRUE(wire.aborts.empty());
}

TEST(Collectives, of_phantom_bytes_end_and_touch_nothing) {
  constexpr std::uint32_t ranks = 5;
  Wire wire(ranks, mixed_route(), few_credits());
  constexpr std::size_t size = 400;
  std::vector<Request> requests[ranks];
  for (std::uint32_t rank = 0; rank < ranks; ++rank) {
    Communicator world = wire.world(rank);
    const ConstBuffer from = ConstBuffer::phantom(size);
    const Buffer into = Buffer::phantom(size);
    requests[rank].push_back(world.ibcast(into, 2));
    requests[rank].push_back(world.iallreduce(from, into, ElementType::float64, Reduction::sum));
    requests[rank].push_back(world.ireduce(from, into, ElementType::float64, Reduction::sum, 3));
    requests[rank].push_back(world.ialltoall(from, into));
    requests[rank].push_back(world.iallgather(from, Buffer::phantom(size * ranks)));
    requests[rank].push_back(world.igather(from, Buffer::phantom(size * ranks), 1));
  }
  for (int i = 0; i < 10; ++i) wire.settle();
  for (std::uint32_t rank = 0; rank < ranks; ++rank)
    for (Request& request : requests[rank]) EXPECT_TRUE(wire.world(rank).test(request));
  EXPECT_TRUE(wire.aborts.empty());
}

}  // namespace
}  // namespace ferry::mpi
