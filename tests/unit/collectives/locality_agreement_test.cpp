// Ranks agree from which collective on a new locality holds, over messages that are lost, doubled
// and late.
#include "core/mpi/collectives/locality_agreement.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace ferry::mpi {
namespace {

TEST(LocalityTurns, hold_collectives_until_the_generation_is_agreed) {
  LocalityTurns turns;
  turns.start();
  turns.start();
  EXPECT_EQ(turns.ask(1), (LocalityAnswer{2, false}));
  EXPECT_TRUE(turns.held());
  EXPECT_EQ(turns.ask(1), (LocalityAnswer{2, false}));  // asked again
  turns.agree(1, 4);
  for (const Generation expected : {0U, 0U, 1U, 1U}) {
    EXPECT_EQ(turns.next_generation(), expected);
    turns.start();
  }
  EXPECT_EQ(turns.ask(1), (LocalityAnswer{4, true}));  // by who does not know it yet
  EXPECT_EQ(turns.ask(0), std::nullopt);
}

TEST(LocalityTurns, keep_what_was_agreed_before_a_newer_generation) {
  LocalityTurns turns;
  EXPECT_EQ(turns.ask(1), (LocalityAnswer{0, false}));
  turns.agree(1, 3);
  turns.start();
  EXPECT_EQ(turns.ask(2), (LocalityAnswer{3, false}));
  turns.start();
  turns.start();
  EXPECT_TRUE(turns.held());
  turns.agree(1, 9);  // late and not asked for
  EXPECT_TRUE(turns.held());
  turns.agree(2, 3);
  EXPECT_EQ(turns.next_generation(), 2U);
}

TEST(LocalityTurns, go_on_as_before_if_a_generation_is_given_up) {
  LocalityTurns turns;
  ASSERT_TRUE(turns.ask(1));
  turns.give_up(1);
  EXPECT_EQ(turns.next_generation(), 0U);
  EXPECT_EQ(turns.ask(1), std::nullopt);
  turns.agree(1, 0);
  EXPECT_EQ(turns.next_generation(), 0U);
  EXPECT_EQ(turns.ask(2), (LocalityAnswer{0, false}));
}

TEST(LocalityVote, takes_the_highest_number_and_waits_for_all_to_have_heard) {
  LocalityVote vote(1, 3);
  vote.answer(0, 1, {4, false});
  vote.answer(2, 1, {7, false});
  vote.answer(2, 1, {9, false});  // again, and too late
  vote.answer(1, 5, {99, false});
  EXPECT_EQ(vote.agreed(), std::nullopt);
  EXPECT_EQ(vote.missing(), std::vector<Rank>{1});
  vote.answer(1, 1, {2, false});
  EXPECT_EQ(vote.agreed(), 7U);
  EXPECT_EQ(vote.missing().size(), 3U);
  vote.acknowledge(0, 1);
  vote.acknowledge(1, 1);
  vote.acknowledge(2, 0);
  EXPECT_FALSE(vote.done());
  vote.acknowledge(2, 1);
  EXPECT_TRUE(vote.done());
}

TEST(LocalityVote, of_a_new_coordinator_finds_what_the_old_one_settled) {
  LocalityVote vote(1, 3);
  vote.answer(0, 1, {4, false});
  vote.answer(1, 1, {7, true});
  EXPECT_EQ(vote.agreed(), 7U);
  EXPECT_EQ(vote.missing(), (std::vector<Rank>{0, 2}));
}

/// Ranks that start collectives, up to a few ahead of each other, while a coordinator changes the
/// locality again and again, and is sometimes replaced.
class Swarm {
 public:
  Swarm(std::uint64_t seed, Rank ranks) : random_(seed), ranks_(static_cast<std::size_t>(ranks)) {
    vote_.emplace(1, ranks);
  }

  void run() {
    constexpr CollectiveNumber wanted = 60;
    for (int step = 0; step < 1'000'000; ++step) {
      switch (random_() % 4) {
        case 0: start_one(); break;
        case 1: coordinate(); break;
        default: deliver();
      }
      if (testing::Test::HasFatalFailure()) return;
      const bool all = std::all_of(ranks_.begin(), ranks_.end(),
                                   [](const LocalityTurns& rank) { return rank.next() >= wanted; });
      if (all && vote_->generation() > 3) return;
    }
    FAIL() << "the ranks got stuck, in generation " << vote_->generation();
  }

 private:
  struct Message {
    enum class Kind { ask, answer, agree, acknowledge } kind;
    Rank rank;
    Generation generation;
    LocalityAnswer answer;
  };

  void start_one() {
    const std::size_t index = random_() % ranks_.size();
    LocalityTurns& rank = ranks_[index];
    if (rank.held()) return;
    // A blocking collective needs the others; a few may be under way at once.
    for (const LocalityTurns& other : ranks_)
      if (rank.next() > other.next() + 3) return;
    const auto [known, first] = used_.emplace(rank.next(), *rank.next_generation());
    ASSERT_EQ(known->second, *rank.next_generation()) << "in collective " << rank.next();
    if (rank.next() > 0) {
      ASSERT_GE(known->second, used_.at(rank.next() - 1)) << "an older locality came back";
    }
    rank.start();
  }

  void coordinate() {
    const auto ranks = static_cast<Rank>(ranks_.size());
    if (vote_->done()) {
      vote_.emplace(vote_->generation() + 1, ranks);
    } else if (random_() % 20 == 0) {
      vote_.emplace(vote_->generation(), ranks);  // the coordinator died; a new one asks again
    }
    for (const Rank rank : vote_->missing()) {
      const bool tells = vote_->agreed().has_value();
      send({tells ? Message::Kind::agree : Message::Kind::ask,
            rank,
            vote_->generation(),
            {vote_->agreed().value_or(0), false}});
    }
  }

  void send(const Message& message) {
    const std::uint64_t luck = random_() % 10;
    if (luck < 3) return;  // lost
    under_way_.push_back(message);
    if (luck == 9) under_way_.push_back(message);
  }

  void deliver() {
    if (under_way_.empty()) return;
    const std::size_t at = random_() % under_way_.size();
    const Message message = under_way_[at];
    under_way_[at] = under_way_.back();
    under_way_.pop_back();
    LocalityTurns& rank = ranks_[static_cast<std::size_t>(message.rank)];
    switch (message.kind) {
      case Message::Kind::ask:
        if (const auto answer = rank.ask(message.generation))
          send({Message::Kind::answer, message.rank, message.generation, *answer});
        break;
      case Message::Kind::answer:
        vote_->answer(message.rank, message.generation, message.answer);
        break;
      case Message::Kind::agree:
        rank.agree(message.generation, message.answer.number);
        send({Message::Kind::acknowledge, message.rank, message.generation, {}});
        break;
      case Message::Kind::acknowledge: vote_->acknowledge(message.rank, message.generation); break;
    }
  }

  std::mt19937_64 random_;
  std::vector<LocalityTurns> ranks_;
  std::optional<LocalityVote> vote_;
  std::vector<Message> under_way_;
  std::map<CollectiveNumber, Generation> used_;  ///< generation of each collective
};

TEST(LocalityAgreement, gives_each_collective_one_locality_on_all_ranks) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    Swarm(seed, 1 + static_cast<Rank>(seed % 6)).run();
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace ferry::mpi
