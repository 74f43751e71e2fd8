// The coordinator of suspensions where its ranks are elsewhere: what it asks, and what it does with
// answers that come late.
#include "core/mpi/board.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "core/mpi/collectives/groups.hpp"
#include "hw_backend/threads/thread_executor.hpp"

namespace ferry::mpi {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr RankId first{0};
constexpr RankId second{1};

/// Notes what it is asked.
class Elsewhere final : public BoardMember {
 public:
  void wake() override { ++wakes; }
  void spawn_helper() override { ++helpers; }
  [[nodiscard]] bool is_remote() const override { return true; }
  void confirm(std::uint64_t epoch, std::uint64_t round) override {
    asked_epoch = epoch;
    asked_round = round;
  }
  void revoke_close(std::uint64_t epoch) override { revoked = epoch; }
  std::atomic<int> wakes = 0;
  std::atomic<int> helpers = 0;
  std::atomic<std::uint64_t> asked_epoch = 0;
  std::atomic<std::uint64_t> asked_round = 0;
  std::atomic<std::uint64_t> revoked = 0;
};

BoardOptions options() {
  BoardOptions options;
  options.job = "job";
  options.vms = {VmId{0}, VmId{1}};
  return options;
}

class RemoteRanksOfABoard : public testing::Test {
 protected:
  void run(const std::function<void()>& body) {
    executor_.adopt([&] {
      board_.enlist(first, one_);
      board_.enlist(second, other_);
      body();
      board_.delist(first);
      board_.delist(second);
    });
  }
  /// Runs a call of a coordinator while `body` plays the ranks.
  template <class Call>
  auto beside(const Call& call, const std::function<void()>& body) {
    decltype(call()) result{};
    const std::unique_ptr<Task> task = executor_.spawn("coordinator", [&] { result = call(); });
    body();
    task->join();
    return result;
  }
  Result<> suspend(const std::function<void()>& body,
                   Duration patience = Duration::milliseconds(30'000)) {
    return beside([&] { return board_.suspend(1, {VmId{0}}, sleeper_.now() + patience); }, body);
  }
  template <class Condition>
  void await(const Condition& condition) {
    for (int tries = 0; tries < 20'000 && !condition(); ++tries) {
      sleeper_.sleep_until(sleeper_.now() + Duration::milliseconds(1));
    }
    ASSERT_TRUE(condition());
  }
  void both_drain() {
    await([&] { return board_.posted() >= 1; });
    for (const RankId rank : {first, second}) {
      board_.noticed(rank, 1, true);
      board_.drained(rank, 1, true);
    }
  }
  void answer_round(bool one_stayed, bool other_stayed) {
    const std::uint64_t before = answered_;
    await([&] { return one_.asked_round > before && other_.asked_round > before; });
    answered_ = one_.asked_round;
    EXPECT_EQ(one_.asked_epoch, 1U);
    board_.confirmed(first, 1, answered_, one_stayed);
    board_.confirmed(second, 1, answered_, other_stayed);
  }
  void both_close() {
    await([&] { return board_.posted() >= 2; });
    board_.close(first, 1, [] { return std::size_t{3}; });
    board_.close(second, 1, [] { return std::size_t{1}; });
  }
  std::vector<Post::Kind> posts() {
    std::vector<Post::Kind> kinds;
    for (const Post& post : board_.posts_from(0)) kinds.push_back(post.kind);
    return kinds;
  }

  ThreadClock clock_{1.0};
  ThreadExecutor executor_{clock_};
  ThreadSleeper sleeper_{clock_};
  Elsewhere one_;
  Elsewhere other_;
  Board board_{executor_, sleeper_, options()};
  std::uint64_t answered_ = 0;
};

TEST_F(RemoteRanksOfABoard, close_when_all_have_confirmed_that_they_stayed_drained) {
  run([&] {
    const Result<> ready = suspend([&] {
      both_drain();
      await([&] { return one_.asked_round == 1; });
      EXPECT_THAT(posts(), ElementsAre(Post::Kind::request));
      answer_round(true, true);
      both_close();
    });
    EXPECT_TRUE(ready.has_value());
    EXPECT_EQ(board_.closed_most(1), 3U);
    EXPECT_THAT(posts(), ElementsAre(Post::Kind::request, Post::Kind::close));
  });
}

TEST_F(RemoteRanksOfABoard, are_asked_again_when_one_of_them_was_not) {
  run([&] {
    const Result<> ready = suspend([&] {
      both_drain();
      answer_round(true, false);
      answer_round(true, true);
      both_close();
    });
    EXPECT_TRUE(ready.has_value());
    EXPECT_EQ(one_.asked_round, 2U);
  });
}

TEST_F(RemoteRanksOfABoard, are_not_asked_before_one_that_took_its_word_back_has_drained_again) {
  run([&] {
    const Result<> ready = suspend([&] {
      both_drain();
      await([&] { return one_.asked_round == 1; });
      board_.drained(second, 1, false);
      answer_round(true, false);
      sleeper_.sleep_until(sleeper_.now() + Duration::milliseconds(20));
      EXPECT_EQ(one_.asked_round, 1U);
      board_.drained(second, 1, true);
      answer_round(true, true);
      both_close();
    });
    EXPECT_TRUE(ready.has_value());
  });
}

TEST_F(RemoteRanksOfABoard, do_not_close_on_an_answer_of_another_round) {
  run([&] {
    const Result<> ready = suspend(
        [&] {
          both_drain();
          answer_round(true, false);
          await([&] { return one_.asked_round == 2; });
          board_.confirmed(first, 1, 1, true);
          board_.confirmed(second, 1, 1, true);
          board_.confirmed(second, 1, 2, true);
          board_.confirmed(second, 1, 2, true);
        },
        Duration::milliseconds(300));
    ASSERT_FALSE(ready);
    EXPECT_EQ(ready.error().kind, FailureKind::timed_out);
    EXPECT_THAT(posts(), ElementsAre(Post::Kind::request));
    ASSERT_TRUE(board_.begin_reactivation(1, TimePoint::never()).value());
    // Nobody was told to close, so nobody is asked about it.
    beside([&] { return board_.reactivate(1, JobId{0}).size(); },
           [&] {
             await([&] { return board_.posted() == 2; });
             board_.took_note_of_end(first, 1);
             board_.took_note_of_end(second, 1);
           });
    EXPECT_EQ(one_.revoked, 0U);
  });
}

TEST_F(RemoteRanksOfABoard, hear_of_the_end_when_none_can_close_any_more) {
  run([&] {
    const Result<> ready = suspend(
        [&] {
          both_drain();
          answer_round(true, true);
          await([&] { return board_.posted() == 2; });
          board_.close(first, 1, [] { return std::size_t{3}; });
        },
        Duration::milliseconds(300));
    EXPECT_FALSE(ready);
    ASSERT_TRUE(board_.begin_reactivation(1, TimePoint::never()).value());
    const auto records = beside(
        [&] {
          return board_.reactivate(1, JobId{0}, {{VmId{0}, HostId{2}, true, true}});
        },
        [&] {
          await([&] { return other_.revoked == 1; });
          EXPECT_EQ(one_.revoked, 0U);  // it has closed
          sleeper_.sleep_until(sleeper_.now() + Duration::milliseconds(20));
          EXPECT_EQ(board_.posted(), 2U);
          board_.close_refused(second, 1);
          await([&] { return board_.posted() == 3; });
          board_.took_note_of_end(first, 1);
          board_.took_note_of_end(second, 1);
        });
    EXPECT_EQ(records.size(), 2U);
    const Post end = board_.posts_from(2).at(0);
    EXPECT_EQ(end.kind, Post::Kind::reactivate);
    EXPECT_THAT(*end.sites, ElementsAre(VmSite{VmId{0}, HostId{2}, true, true}));
  });
}

TEST_F(RemoteRanksOfABoard, that_are_gone_hold_nobody_up) {
  run([&] {
    const Result<> ready = suspend(
        [&] {
          both_drain();
          await([&] { return one_.asked_round == 1; });
          board_.delist(second);
          board_.confirmed(first, 1, 1, true);
          await([&] { return board_.posted() == 2; });
        },
        Duration::milliseconds(300));
    EXPECT_FALSE(ready);  // the first has not closed
    ASSERT_TRUE(board_.begin_reactivation(1, TimePoint::never()).value());
    beside([&] { return board_.reactivate(1, JobId{0}).size(); },
           [&] {
             await([&] { return one_.revoked == 1; });
             board_.delist(first);
           });
    EXPECT_EQ(board_.open_epochs(), 0U);
  });
}

TEST_F(RemoteRanksOfABoard, that_have_left_were_ready_when_they_were_asked) {
  run([&] {
    board_.delist(first);
    board_.delist(second);
    ASSERT_TRUE(board_.suspend(1, {VmId{0}}, TimePoint::never()));
    ASSERT_TRUE(board_.begin_reactivation(1, TimePoint::never()).value());
    const std::vector<RankRecord> records = board_.reactivate(1, JobId{0});
    ASSERT_EQ(records.size(), 2U);
    for (const RankRecord& record : records) {
      EXPECT_EQ(record.drained, record.requested);
      EXPECT_EQ(record.ready, record.requested);
    }
  });
}

TEST_F(RemoteRanksOfABoard, are_reactivated_by_a_coordinator_that_takes_over) {
  executor_.adopt([&] {
    std::vector<Post> posts;
    const auto moving = std::make_shared<const std::vector<VmId>>(std::vector<VmId>{VmId{0}});
    posts.push_back({Post::Kind::request, 3, moving, {}, {}});
    posts.push_back({Post::Kind::reactivate, 3, moving, {}, {}});
    posts.push_back({Post::Kind::ask, 0, nullptr, {{}, 6, 0}, {}});
    posts.push_back({Post::Kind::request, 4, moving, {}, {}});
    posts.push_back({Post::Kind::close, 4, moving, {}, {}});
    const auto places = std::make_shared<const JobLocality>(std::vector<std::uint32_t>{0, 1});
    board_.restore(10, posts, places);
    board_.enlist(first, one_);
    board_.enlist(second, other_);
    EXPECT_EQ(board_.posted(), 15U);
    EXPECT_EQ(board_.open_epochs(), 1U);
    EXPECT_EQ(board_.locality(6), places);
    EXPECT_FALSE(board_.suspend(4, {VmId{0}}, TimePoint::never()));  // it has seen that
    EXPECT_FALSE(board_.begin_reactivation(3, TimePoint::never()).value());
    board_.noticed(first, 4, true);
    board_.drained(first, 4, true);
    board_.close(first, 4, [] { return std::size_t{2}; });
    ASSERT_TRUE(board_.begin_reactivation(4, TimePoint::never()).value());
    beside([&] { return board_.reactivate(4, JobId{0}).size(); },
           [&] {
             await([&] { return other_.revoked == 4; });
             board_.close_refused(second, 4);
             await([&] { return board_.posted() == 16; });
             board_.took_note_of_end(first, 4);
           });
    EXPECT_EQ(board_.posts_from(15).at(0).kind, Post::Kind::reactivate);
    EXPECT_EQ(board_.open_epochs(), 0U);
    // Answers to what was asked before count, also again.
    board_.reply(first, {{0, 0}, 0, 2, 6, {5, false}});
    board_.reply(first, {{0, 0}, 0, 2, 6, {5, false}});
    board_.reply(second, {{0, 0}, 1, 2, 6, {7, false}});
    const std::vector<Post> agreed = board_.posts_from(16);
    ASSERT_EQ(agreed.size(), 1U);
    EXPECT_EQ(agreed[0].locality.from, 7U);
    board_.delist(first);
    board_.delist(second);
  });
}

}  // namespace
}  // namespace ferry::mpi
