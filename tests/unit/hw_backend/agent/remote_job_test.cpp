// What a controller makes of what the agents of a job say.
#include "hw_backend/agent/remote_job.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "hw_backend/threads/thread_executor.hpp"

namespace ferry::agent {
namespace {

using testing::HasSubstr;

constexpr VmId here{0};
constexpr VmId there{1};
constexpr std::uint64_t epoch = 1;

/// A job with a rank in each of two VMs, of a run that is taken over.
class JobTakenOver : public testing::Test {
 protected:
  JobTakenOver() {
    spec_.name = "job";
    spec_.vms = {here, there};
    options_.key = "job";
    options_.taken_over = true;
  }
  static mpi::BoardOptions board_options() {
    mpi::BoardOptions options;
    options.job = "job";
    options.vms = {here, there};
    return options;
  }
  /// All ranks were ready for a move of the first VM when the controller before this one ended.
  static std::vector<Bytes8> posts_of_a_suspension() {
    const auto moving = std::make_shared<const std::vector<VmId>>(std::vector{here});
    return {encode_post({{mpi::Post::Kind::request, epoch, moving}, nullptr}),
            encode_post({{mpi::Post::Kind::close, epoch, moving}, nullptr})};
  }
  /// Until `over`, the agent of the first VM answers that its rank has not closed.
  void refuse_to_close(RemoteJob& job, const std::atomic<bool>& over) {
    while (!over) {
      for (const Message& message : job.to_say(here)) {
        if (!std::holds_alternative<Revoke>(message)) continue;
        job.take(here, Revoked{"job", epoch, {{0, false, 0}}});
      }
      sleeper_.sleep_until(sleeper_.now() + Duration::milliseconds(1));
    }
  }

  ThreadClock clock_{1.0};
  ThreadExecutor executor_{clock_};
  ThreadSleeper sleeper_{clock_};
  JobSpec spec_;
  RemoteJobOptions options_;
};

TEST_F(JobTakenOver, is_reactivated_also_when_a_guest_was_started_anew_meanwhile) {
  executor_.adopt([&] {
    mpi::Board board(executor_, sleeper_, board_options());
    RemoteJob job(executor_, sleeper_, {JobId{0}, spec_, &board, {}}, options_,
                  {{here, "vm0"}, {there, "vm1"}}, [](VmId) {});
    JobReport report;
    report.key = "job";
    report.posted = 2;
    report.ranks = {0};
    job.take(here, report);
    job.welcome(there, {});  // without the job
    job.take(here, PostBatch{"job", 0, posts_of_a_suspension()});
    job.start();
    // A reactivation would wait for what the rank says.
    ASSERT_FALSE(board.await_post(RankId{1}, board.posted() + 1)) << "it is still on the board";

    ASSERT_TRUE(board.begin_reactivation(epoch, TimePoint::never()).value());
    std::atomic<bool> over = false;
    const std::unique_ptr<Task> coordinator = executor_.spawn("coordinator", [&] {
      (void)board.reactivate(epoch, JobId{0}, {});
      over = true;
    });
    refuse_to_close(job, over);
    coordinator->join();
    EXPECT_EQ(board.open_epochs(), 0U);

    job.give_up(here, "");
    mpi::WorkloadLog log(2);
    std::vector<std::string> complaints;
    const Result<> joined = job.join(log, complaints);
    ASSERT_FALSE(joined);
    EXPECT_THAT(joined.error().reason, HasSubstr("the agent of vm1 does not know the job"));
  });
}

/// `start` says itself whom it waited for in vain.
TEST(StartedJob, alone_is_ended_when_an_agent_is_silent) {
  const ThreadClock clock(1.0);
  ThreadExecutor executor(clock);
  ThreadSleeper sleeper(clock);
  executor.adopt([&] {
    JobSpec spec;
    spec.name = "job";
    spec.vms = {here};
    RemoteJobOptions options;
    options.key = "job";
    RemoteJob job(executor, sleeper, {JobId{0}, spec, nullptr, {}}, options, {{here, "vm0"}},
                  [](VmId) {});
    JobReport report;
    report.key = "job";
    report.ranks = {0};
    job.take(here, report);
    job.give_up_started(here, "it was silent before the job began");
    job.start();
    job.give_up_started(here, "it is silent");
    mpi::WorkloadLog log(1);
    std::vector<std::string> complaints;
    const Result<> joined = job.join(log, complaints);
    ASSERT_FALSE(joined);
    EXPECT_EQ(joined.error().reason, "it is silent");
  });
}

}  // namespace
}  // namespace ferry::agent
