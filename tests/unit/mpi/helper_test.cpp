// A rank's two tasks: its program, which waits, and its migration thread.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "core/mpi/rank_board.hpp"
#include "hw_backend/threads/thread_executor.hpp"
#include "tests/unit/mpi/wire.hpp"

namespace ferry::mpi {
namespace {

using std::chrono::seconds;

/// Counts, and waits for counts.
class Count {
 public:
  void add() {
    const std::lock_guard guard(mutex_);
    ++count_;
    changed_.notify_all();
  }
  /// False: not within 5 s.
  bool await(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, seconds(5), [&] { return count_ >= count; });
  }
  [[nodiscard]] int get() {
    const std::lock_guard guard(mutex_);
    return count_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

/// Wakes nobody for what arrives: as one that has looked a moment before somebody else took it.
class WaitingForWords final : public WaitSet {
 public:
  Wake wait(TimePoint) override {
    const int known = told.get();
    waits.add();
    EXPECT_TRUE(told.await(known + 1)) << "nobody told who waits";
    return Wake::ready;
  }
  void notify() override { told.add(); }
  void pause() override {}
  Count waits;
  Count told;
};

/// Says nothing; its rank's helper looks after the rank when the test says so.
class QuietBoard final : public RankBoard {
 public:
  explicit QuietBoard(BoardOptions options) : RankBoard(std::move(options), posted_) {}
  std::vector<Post> posts_from(std::uint64_t) const override { return {}; }
  void enlist(RankId, BoardMember& of_rank) override { member = &of_rank; }
  void delist(RankId) override {
    ended_ = true;
    laps.add();
  }
  void leave(RankId) override {}
  bool await_post(RankId, std::uint64_t) override {
    asked.add();
    return laps.await(asked.get()) && !ended_;
  }
  std::shared_ptr<const JobLocality> locality(Generation) const override { return nullptr; }
  void reply(RankId, const LocalityReply&) override {}
  void noticed(RankId, std::uint64_t, bool) override {}
  void drained(RankId, std::uint64_t, bool) override {}
  void close(RankId, std::uint64_t, const std::function<std::size_t()>&) override {}
  void took_note_of_end(RankId, std::uint64_t) override {}
  void stopped(RankId, const std::vector<std::uint64_t>&) override {}
  void went_on(RankId) override {}
  BoardMember* member = nullptr;
  Count laps;   ///< of the helper, that may begin
  Count asked;  ///< how often it had nothing to do

 private:
  std::atomic<std::uint64_t> posted_ = 0;
  std::atomic<bool> ended_ = false;
};

/// Of rank 1, for two tasks.
class Inbox final : public Endpoint {
 public:
  EndpointAddress address() const override { return {1}; }
  bool post(EndpointAddress, Channel, const PacketHeader&, std::span<const ConstSlice>) override {
    const std::lock_guard guard(mutex_);
    if (refuses) return false;
    ++posted;
    return true;
  }
  std::size_t largest_body(Channel) const override { return 1 << 16; }
  const Arrival* poll() override {
    const std::lock_guard guard(mutex_);
    if (!next_) return nullptr;
    current_ = std::move(*next_);
    next_.reset();
    current_.arrival.body = current_.body;
    return &current_.arrival;
  }
  void arrive(WireEndpoint::Held packet) {
    const std::lock_guard guard(mutex_);
    next_ = std::move(packet);
  }
  void let_through() {
    const std::lock_guard guard(mutex_);
    refuses = false;
  }
  MemoryKey expose(Channel, std::span<const ConstSlice>) override { return {}; }
  void withdraw(MemoryKey) override {}
  void read(EndpointAddress, Channel, MemoryKey, std::size_t, std::span<const Slice>,
            std::uint64_t) override {}
  void connect(EndpointAddress, Channel) override {}
  void disconnect(EndpointAddress, Channel) override {}
  bool refuses = false;
  int posted = 0;

 private:
  std::mutex mutex_;
  std::optional<WireEndpoint::Held> next_;
  WireEndpoint::Held current_;
};

class TwoTasks : public testing::Test {
 protected:
  static BoardOptions with_helper() {
    BoardOptions options;
    options.vms = {VmId{0}, VmId{1}};
    options.migration_thread = true;
    return options;
  }
  static ProcessOptions shared() {
    ProcessOptions options;
    options.migration_thread = true;
    return options;
  }

  ThreadClock clock_{1};
  ThreadExecutor executor_{clock_};
  NoProcessor processor_;
  WaitingForWords wait_set_;
  Inbox inbox_;
  Wire wire_{2, Route({{~std::size_t{0}, {Protocol::eager, Channel::shm, Channel::shm, 4096}}})};
  UniformChooser chooser_{
      Route({{~std::size_t{0}, {Protocol::eager, Channel::shm, Channel::shm, 4096}}})};
  QuietBoard board_{with_helper()};
  Process process_{
      ProcessPorts{executor_, processor_, wait_set_, inbox_, wire_, chooser_, wire_, &board_},
      RankId{1}, 2, shared()};
};

TEST_F(TwoTasks, the_program_hears_of_what_the_helper_took_for_it) {
  int got = 0;
  const auto program = executor_.spawn("program", [&] {
    process_.world().recv({&got, sizeof(got)}, 0, 5);
  });
  board_.member->spawn_helper();
  ASSERT_TRUE(wait_set_.waits.await(1));
  ASSERT_TRUE(board_.asked.await(1));
  const int sent = 42;
  static_cast<void>(wire_.world(0).isend({&sent, sizeof(sent)}, 1, 5));
  inbox_.arrive(std::move(wire_.ways.at({0, 1, Channel::shm}).front()));
  board_.laps.add();
  program->join();
  EXPECT_EQ(got, 42);
}

TEST_F(TwoTasks, who_waits_hears_of_what_a_call_of_another_task_took_in) {
  int got = 0;
  const auto waits = executor_.spawn("waits", [&] {
    process_.world().recv({&got, sizeof(got)}, 0, 5);
  });
  ASSERT_TRUE(wait_set_.waits.await(1));
  const int sent = 42;
  static_cast<void>(wire_.world(0).isend({&sent, sizeof(sent)}, 1, 5));
  inbox_.arrive(std::move(wire_.ways.at({0, 1, Channel::shm}).front()));
  const auto looks = executor_.spawn("looks", [&] { EXPECT_FALSE(process_.world().iprobe(0, 6)); });
  looks->join();
  waits->join();
  EXPECT_EQ(got, 42);
}

TEST_F(TwoTasks, the_program_hears_of_what_the_helper_sent_for_it) {
  inbox_.refuses = true;
  const int sent = 42;
  const auto program = executor_.spawn("program", [&] {
    process_.world().send({&sent, sizeof(sent)}, 0, 5);
  });
  board_.member->spawn_helper();
  ASSERT_TRUE(wait_set_.waits.await(1));
  ASSERT_TRUE(board_.asked.await(1));
  inbox_.let_through();
  board_.laps.add();
  program->join();
  EXPECT_EQ(inbox_.posted, 1);
}

TEST_F(TwoTasks, the_program_is_left_asleep_when_the_helper_has_done_nothing_for_it) {
  const auto program = executor_.spawn("program", [&] {
    int got = 0;
    process_.world().recv({&got, sizeof(got)}, 0, 5);
  });
  board_.member->spawn_helper();
  ASSERT_TRUE(wait_set_.waits.await(1));
  for (int lap = 1; lap <= 10; ++lap) {
    ASSERT_TRUE(board_.asked.await(lap));
    board_.laps.add();
  }
  ASSERT_TRUE(board_.asked.await(11));
  EXPECT_EQ(wait_set_.told.get(), 0);
  const int sent = 42;
  static_cast<void>(wire_.world(0).isend({&sent, sizeof(sent)}, 1, 5));
  inbox_.arrive(std::move(wire_.ways.at({0, 1, Channel::shm}).front()));
  wait_set_.notify();
  program->join();
}

}  // namespace
}  // namespace ferry::mpi
