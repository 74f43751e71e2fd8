#include "hw_backend/agent/job_board.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "tests/scratch_folder.hpp"

namespace ferry::agent {
namespace {

namespace fs = std::filesystem;

Bytes8 bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

class JobBoards : public testing::Test {
 protected:
  JobBoards() {
    job_.name = "job";
    job_.vms = {0, 0, 1, native};
    job_.ranks = {0, 1};
    job_.migration_thread = true;
    job_.close_channel_nanoseconds = 77;
  }
  std::unique_ptr<JobBoard> create() {
    auto made = JobBoard::create(folder_, job_);
    EXPECT_TRUE(made.has_value()) << made.error().reason;
    return std::move(*made);
  }
  std::unique_ptr<RankAnswers> rank(std::uint32_t number) {
    auto opened = RankAnswers::open(folder_, number);
    EXPECT_TRUE(opened.has_value()) << opened.error().reason;
    return std::move(*opened);
  }
  ScratchFolder scratch_;
  const fs::path folder_ = scratch_.path();
  StartJob job_;
};

TEST_F(JobBoards, tell_ranks_what_the_job_is) {
  const auto board = create();
  const StartJob read = rank(1)->description();
  EXPECT_EQ(read.name, "job");
  EXPECT_EQ(read.vms, job_.vms);
  EXPECT_EQ(read.ranks, job_.ranks);
  EXPECT_TRUE(read.migration_thread);
  EXPECT_FALSE(read.whole_job);
  EXPECT_EQ(read.close_channel_nanoseconds, 77);
  EXPECT_FALSE(RankAnswers::open(folder_, 2));  // of another VM
}

TEST_F(JobBoards, keep_their_posts_for_ranks_that_have_not_read_them) {
  const auto board = create();
  const auto one = rank(0);
  const auto other = rank(1);
  const std::vector<bool> both = {true, true};
  for (std::size_t i = 0; i < most_kept_posts; ++i) {
    ASSERT_TRUE(board->append(bytes_of("post " + std::to_string(i)), both));
  }
  EXPECT_FALSE(board->append(bytes_of("more"), both));
  one->slot().seen.store(1);
  EXPECT_FALSE(board->append(bytes_of("more"), both));
  EXPECT_EQ(other->post(0), bytes_of("post 0"));
  EXPECT_TRUE(board->append(bytes_of("more"), {true, false}));  // who is dead reads nothing
  EXPECT_EQ(board->kept_from(), 1U);
  EXPECT_EQ(one->posted().load(), most_kept_posts + 1);
  EXPECT_EQ(one->post(most_kept_posts), bytes_of("more"));
}

TEST_F(JobBoards, hold_large_posts_as_long_as_there_is_room) {
  const auto board = create();
  const auto reader = rank(0);
  const std::vector<bool> lives = {true, false};
  EXPECT_FALSE(board->append(Bytes8(post_bytes), lives));
  const Bytes8 large(700'000, std::byte{7});
  std::uint64_t number = 0;
  while (board->append(large, lives)) ++number;
  EXPECT_EQ(number, post_bytes / large.size());
  for (int i = 0; i < 30; ++i) {
    reader->slot().seen.store(number - 1);
    ASSERT_TRUE(board->append(large, lives));
    EXPECT_EQ(reader->post(number), large);
    ++number;
  }
}

TEST_F(JobBoards, are_found_by_the_next_agent_as_they_were) {
  auto board = create();
  ASSERT_TRUE(board->append(bytes_of("one"), {true, true}));
  const auto reader = rank(0);
  board.reset();
  auto again = JobBoard::open(folder_);
  ASSERT_TRUE(again.has_value()) << again.error().reason;
  EXPECT_EQ((*again)->posted(), 1U);
  EXPECT_EQ((*again)->post(0), bytes_of("one"));
  EXPECT_EQ((*again)->ranks(), job_.ranks);
  ASSERT_TRUE((*again)->append(bytes_of("two"), {true, true}));
  EXPECT_EQ(reader->posted().load(), 2U);
}

TEST_F(JobBoards, that_are_damaged_are_refused) {
  create();
  const auto size = fs::file_size(folder_ / "board");
  fs::resize_file(folder_ / "board", size - 1);
  EXPECT_FALSE(JobBoard::open(folder_));
  EXPECT_FALSE(RankAnswers::open(folder_, 0));
  fs::resize_file(folder_ / "board", size);
  EXPECT_TRUE(JobBoard::open(folder_).has_value());
  fs::resize_file(folder_ / "answers", 100);
  EXPECT_FALSE(JobBoard::open(folder_));
}

TEST_F(JobBoards, see_what_ranks_answer) {
  const auto board = create();
  const auto answers = rank(1);
  {
    const RankAnswers::Change change(*answers);
    EXPECT_FALSE(board->look(1));  // in the midst of it
    EXPECT_TRUE(board->look(0).has_value());
    answers->slot().seen.store(4);
    RankSlot::Epoch* const epoch = answers->place_of(6);
    epoch->flags.store(epoch_flags::concerned | epoch_flags::drained);
    epoch->changes.store(3);
  }
  ASSERT_TRUE(answers->publish(bytes_of("card")));
  answers->condemn("why");
  answers->condemn("a later word does not count");
  const std::optional<RankState> state = board->look(1);
  ASSERT_TRUE(state.has_value());
  EXPECT_EQ(state->seen, 4U);
  ASSERT_EQ(state->epochs.size(), 1U);
  EXPECT_EQ(state->epochs[0].epoch, 6U);
  EXPECT_TRUE(state->epochs[0].drained && state->epochs[0].concerned);
  EXPECT_EQ(state->epochs[0].changes, 3U);
  EXPECT_EQ(state->card, bytes_of("card"));
  EXPECT_EQ(state->verdict, "why");
  EXPECT_NE(state->process, 0U);
  EXPECT_FALSE(answers->publish(Bytes8(largest_card + 1)));
}

TEST_F(JobBoards, have_places_for_sixteen_open_epochs) {
  const auto board = create();
  const auto answers = rank(0);
  for (std::uint64_t epoch = 1; epoch <= most_epochs; ++epoch) {
    ASSERT_NE(answers->place_of(epoch), nullptr);
  }
  EXPECT_EQ(answers->place_of(most_epochs + 1), nullptr);
  answers->place_of(3)->flags.store(epoch_flags::noted_end);
  answers->place_of(5)->flags.store(epoch_flags::noted_end);
  ASSERT_NE(answers->place_of(most_epochs + 1), nullptr);  // in place of the older one
  EXPECT_EQ(answers->find(3), nullptr);
  EXPECT_NE(answers->find(5), nullptr);
}

/// A rank that closes, and an agent that revokes, at once: exactly one of them prevails.
TEST_F(JobBoards, never_let_a_rank_close_after_that_was_revoked) {
  const auto board = create();
  const auto answers = rank(0);
  int closed_first = 0;
  for (std::uint64_t epoch = 1; epoch <= 20'000; ++epoch) {
    RankSlot::Epoch* const place = answers->place_of(epoch);
    std::atomic<int> ready = 0;
    bool closed = false;
    std::thread closer([&] {
      ++ready;
      while (ready != 2) {
      }
      place->closing.store(static_cast<std::uint32_t>(Closing::closing));
      closed = !answers->is_revoked(epoch);
      place->closing.store(static_cast<std::uint32_t>(closed ? Closing::closed : Closing::refused));
    });
    ++ready;
    while (ready != 2) {
    }
    board->revoke(epoch);
    std::uint32_t connections = 0;
    Closing closing = Closing::closing;
    while (closing == Closing::closing) closing = board->closing_of(0, epoch, &connections);
    closer.join();
    ASSERT_EQ(closing == Closing::closed, closed) << epoch;
    closed_first += closed ? 1 : 0;
    place->flags.store(epoch_flags::noted_end);
    if (epoch >= 300 && closed_first > 0 && closed_first < static_cast<int>(epoch)) break;
  }
}

TEST_F(JobBoards, wake_ranks_that_sleep_on_their_bell) {
  const auto board = create();
  const auto answers = rank(0);
  const std::uint32_t before = answers->bell();
  std::thread agent([&] { ASSERT_TRUE(board->append(bytes_of("post"), {true, true})); });
  std::uint32_t now = before;
  while (now == before) now = answers->await_bell(before, Duration::milliseconds(10'000));
  agent.join();
  EXPECT_EQ(answers->posted().load(), 1U);
}

}  // namespace
}  // namespace ferry::agent
