// What an agent does with a controller's messages, said by hand.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <optional>
#include <thread>

#include "hw_backend/agent/agent_job.hpp"
#include "hw_backend/agent/job_board.hpp"
#include "hw_backend/agent/messages.hpp"
#include "hw_backend/agent/rank_keeper.hpp"
#include "hw_backend/threads/thread_executor.hpp"
#include "tests/agent/machine.hpp"

namespace ferry::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr VmId vm{0};

class AgentProtocol : public testing::Test {
 protected:
  /// Runs `body` as a task, with a link to an agent.
  void run(const std::function<void()>& body) {
    machine_.start_agent(vm);
    executor_.adopt([&] {
      control_ = machine_.control(vm, executor_);
      body();
      control_.reset();
    });
  }
  /// Says it, again and again, until something of that kind comes that `is_it` likes.
  template <class Answer>
  Answer ask(
      const Message& message, std::uint64_t controller = 1,
      const std::function<bool(const Answer&)>& is_it = [](const Answer&) { return true; }) {
    for (int tries = 0; tries < 600; ++tries) {
      (void)control_->send(encode({controller, message}));
      for (;;) {
        const Control::Received received =
            control_->receive(sleeper_.now() + Duration::milliseconds(100));
        if (received.wake != Wake::ready) break;
        if (received.message.empty()) continue;
        const Result<Envelope> read = decode(received.message);
        if (!read) continue;
        const auto* const answer = std::get_if<Answer>(&read->message);
        if (answer != nullptr && is_it(*answer)) return *answer;
      }
    }
    ADD_FAILURE() << "there is no answer";
    return {};
  }
  static StartJob job(const std::string& shell) {
    StartJob start;
    start.key = "job";
    start.name = "job";
    start.vms = {0, 0, 1};
    start.ranks = {0, 1};
    start.arguments = {"/bin/sh", "-c", shell};
    start.environment = {"GREETING=hello"};
    const std::string text = "what to do";
    const auto bytes = std::as_bytes(std::span(text));
    start.description.assign(bytes.begin(), bytes.end());
    return start;
  }
  RankReport await_end(std::uint32_t rank) {
    return ask<RankReport>(Hello{1}, 1, [rank](const RankReport& report) {
      return report.rank == rank && report.state.ended;
    });
  }
  [[nodiscard]] std::string file(const std::string& name) const {
    std::ifstream in(machine_.state(vm) / "jobs/job" / name);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  Machine machine_;
  ThreadClock clock_{1.0};
  ThreadExecutor executor_{clock_};
  ThreadSleeper sleeper_{clock_};
  std::unique_ptr<Control> control_;
};

TEST_F(AgentProtocol, hears_the_latest_controller_alone_also_after_it_died) {
  run([&] {
    EXPECT_THAT(ask<Welcome>(Hello{5}, 5).jobs, IsEmpty());
    EXPECT_EQ(ask<Refused>(Hello{4}, 4).controller, 5U);
    EXPECT_THAT(ask<Refused>(job("true"), 4).why, HasSubstr("later controller"));
    machine_.kill_agent(vm);
    machine_.start_agent(vm);
    EXPECT_EQ(ask<Refused>(Hello{4}, 4).controller, 5U);
    (void)ask<Welcome>(Hello{6}, 6);
  });
}

TEST_F(AgentProtocol, starts_ranks_once_with_what_they_need) {
  run([&] {
    const StartJob start =
        job("echo $GREETING $FERRY_RANK of $FERRY_RANKS; cat $FERRY_JOB_FOLDER/description; pwd; "
            "echo more >> started");
    for (int i = 0; i < 3; ++i) {
      const JobReport report = ask<JobReport>(start);
      EXPECT_EQ(report.why_not, "");
      EXPECT_THAT(report.ranks, ElementsAre(0, 1));
    }
    EXPECT_EQ(await_end(0).state.exit_status, 0);
    EXPECT_EQ(await_end(1).state.exit_status, 0);
    EXPECT_EQ(file("out/output.1"),
              "hello 1 of 3\nwhat to do" + (machine_.state(vm) / "jobs/job/out").string() + "\n");
    EXPECT_EQ(file("out/started"), "more\nmore\n");
  });
}

TEST_F(AgentProtocol, reports_how_ranks_end_also_while_it_was_away) {
  run([&] {
    (void)ask<JobReport>(
        job("test $FERRY_RANK = 0 && exit 7; while ! test -e die; do sleep 0.05; "
            "done; kill -SEGV $$"));
    EXPECT_EQ(await_end(0).state.exit_status, 7);
    machine_.kill_agent(vm);
    std::ofstream(machine_.state(vm) / "jobs/job/out/die").close();
    while (file("end.1").empty()) sleeper_.sleep_until(sleeper_.now() + Duration::milliseconds(10));
    machine_.start_agent(vm);
    EXPECT_EQ(await_end(1).state.signal, SIGSEGV);
    EXPECT_EQ(await_end(0).state.exit_status, 7);
  });
}

TEST_F(AgentProtocol, starts_the_ranks_that_an_agent_before_it_could_not_start_any_more) {
  std::filesystem::create_directories(machine_.state(vm) / "jobs");
  ASSERT_TRUE(AgentJob::create(machine_.state(vm) / "jobs", job("exit 7")));
  run([&] {
    EXPECT_EQ(await_end(0).state.exit_status, 7);
    EXPECT_EQ(await_end(1).state.exit_status, 7);
  });
}

TEST_F(AgentProtocol, starts_a_rank_once_however_many_try) {
  const std::filesystem::path folder = machine_.state(vm) / "job";
  std::filesystem::create_directories(folder / "out");
  const RankCommand command{folder, 0, {"/bin/sh", "-c", "echo began"}, {}, {}};
  std::vector<pid_t> others;
  for (int i = 0; i < 8; ++i) {
    others.push_back(fork());
    if (others.back() == 0) _exit(start_rank(command) ? 0 : 1);
  }
  for (const pid_t other : others) {
    int status = 1;
    waitpid(other, &status, 0);
    EXPECT_EQ(status, 0);
  }
  while (!look_for_end(folder, 0)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_FALSE(look_for_end(folder, 0)->unknown);
  std::ifstream output(folder / "out/output.0");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(output), {}), "began\n");
}

TEST_F(AgentProtocol, says_that_nobody_saw_the_end_when_a_keeper_was_killed) {
  run([&] {
    (void)ask<JobReport>(job("sleep 1000"));
    pid_t keeper = 0;
    while (keeper == 0) std::ifstream(machine_.state(vm) / "jobs/job/keeper.1") >> keeper;
    while (machine_.rank_processes(vm).size() != 2) {
      sleeper_.sleep_until(sleeper_.now() + Duration::milliseconds(10));
    }
    kill(keeper, SIGKILL);
    EXPECT_TRUE(await_end(1).state.end_unknown);
    (void)ask<JobReport>(EndJob{"job", false});
    EXPECT_EQ(await_end(0).state.signal, SIGKILL);
    EXPECT_THAT(machine_.rank_processes(vm), IsEmpty());  // it died with its keeper
  });
}

TEST_F(AgentProtocol, takes_posts_in_their_order_and_gives_them_back) {
  run([&] {
    (void)ask<JobReport>(job("sleep 1000"));
    const Bytes8 one(3, std::byte{1});
    const Bytes8 two(2, std::byte{2});
    EXPECT_EQ(ask<JobReport>(PostBatch{"job", 1, {two}}).posted, 0U);  // the first is missing
    EXPECT_EQ(ask<JobReport>(PostBatch{"job", 0, {one}}).posted, 1U);
    EXPECT_EQ(ask<JobReport>(PostBatch{"job", 0, {one, two}}).posted, 2U);
    EXPECT_EQ(ask<JobReport>(PostBatch{"job", 0, {two}}).posted, 2U);
    machine_.kill_agent(vm);
    machine_.start_agent(vm);
    EXPECT_THAT(ask<PostBatch>(FetchPosts{"job", 0}).posts, ElementsAre(one, two));
  });
}

TEST_F(AgentProtocol, takes_a_trace_piece_by_piece_also_after_it_died) {
  run([&] {
    (void)ask<JobReport>(job("until [ -e ../trace ]; do sleep 0.05; done; cat ../trace"));
    const auto piece = [](std::uint64_t offset, const std::string& text) {
      const auto bytes = std::as_bytes(std::span(text));
      return HandTrace{"job", offset, 20, {bytes.begin(), bytes.end()}};
    };
    EXPECT_EQ(ask<TraceReport>(piece(0, "0 barrier\n")).held, 10U);
    machine_.kill_agent(vm);
    machine_.start_agent(vm);
    EXPECT_EQ(ask<TraceReport>(piece(0, "")).held, 10U);
    EXPECT_TRUE(ask<TraceReport>(piece(10, "1 barrier\n"), 1, [](const auto& each) {
                  return each.whole;
                }).whole);
    EXPECT_EQ(await_end(1).state.exit_status, 0);
    EXPECT_EQ(file("out/output.1"), "0 barrier\n1 barrier\n");
    // Of a job that it does not know.
    HandTrace other = piece(0, "0 barrier\n");
    other.key = "other";
    EXPECT_THAT(ask<JobReport>(other).why_not, HasSubstr("no such job"));
  });
}

TEST_F(AgentProtocol, forgets_a_job_for_good) {
  run([&] {
    (void)ask<JobReport>(job("sleep 1000"));
    const auto is_gone = [](const JobReport& report) { return report.ranks.empty(); };
    (void)ask<JobReport>(EndJob{"job", true}, 1, is_gone);
    EXPECT_THAT(machine_.rank_processes(vm), IsEmpty());
    EXPECT_THAT(machine_.jobs(vm), IsEmpty());
    EXPECT_EQ(ask<JobReport>(job("true"), 1,
                             [](const JobReport& report) { return report.why_not == "it is over"; })
                  .key,
              "job");
    machine_.kill_agent(vm);
    machine_.start_agent(vm);
    (void)ask<JobReport>(job("true"), 1,
                         [](const JobReport& report) { return report.why_not == "it is over"; });
    EXPECT_THAT(machine_.jobs(vm), IsEmpty());
  });
}

TEST_F(AgentProtocol, refuses_what_it_cannot_start_and_says_why) {
  run([&] {
    // What was asked twice is answered twice, the second time perhaps after the next question.
    const auto says = [](const char* what) {
      return [what](const JobReport& report) {
        return report.why_not.find(what) != std::string::npos;
      };
    };
    StartJob bad = job("true");
    bad.key = "../job";
    (void)ask<JobReport>(bad, 1, says("no name for a folder"));
    bad = job("true");
    bad.user = "nobody-has-this-name";
    (void)ask<JobReport>(bad, 1, says("no user nobody-has-this-name"));
    bad = job("true");
    bad.arguments.clear();
    (void)ask<JobReport>(bad, 1, says("need a program"));
    (void)ask<JobReport>(Confirm{"other", 1, 1}, 1, says("no such job"));
  });
}

TEST_F(AgentProtocol, gives_ranks_to_their_user) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can";
  run([&] {
    std::filesystem::permissions(machine_.state(vm).parent_path(), std::filesystem::perms{0755});
    StartJob start = job("id -un; ls -l ../start > /dev/null && cat ../start");
    start.user = "nobody";
    EXPECT_EQ(ask<JobReport>(start).why_not, "");
    (void)await_end(0);
    EXPECT_THAT(file("out/output.0"), testing::StartsWith("nobody\n"));
    EXPECT_THAT(file("out/output.0"), HasSubstr("Permission denied"));  // it names other secrets
  });
}

TEST_F(AgentProtocol, answers_what_ranks_in_the_midst_of_a_change_will_have_said) {
  run([&] {
    (void)ask<JobReport>(job("sleep 1000"));
    auto answers = RankAnswers::open(machine_.state(vm) / "jobs/job", 1);
    ASSERT_TRUE(answers.has_value());
    std::optional<RankAnswers::Change> change(std::in_place, **answers);
    (*answers)->place_of(3)->flags.store(epoch_flags::drained);
    (*answers)->place_of(3)->changes.store(1);
    (*answers)->place_of(3)->closing.store(static_cast<std::uint32_t>(Closing::closing));
    (void)control_->send(encode({1, Confirm{"job", 3, 1}}));
    (void)control_->send(encode({1, Revoke{"job", 3}}));
    const TimePoint later = sleeper_.now() + Duration::milliseconds(100);
    while (sleeper_.now() < later) {
      const auto received = control_->receive(later);
      if (received.message.empty()) continue;
      const auto read = decode(received.message);
      ASSERT_TRUE(read.has_value());
      EXPECT_EQ(std::get_if<Confirmed>(&read->message), nullptr);
      EXPECT_EQ(std::get_if<Revoked>(&read->message), nullptr);
    }
    change.reset();
    const Confirmed confirmed = ask<Confirmed>(Ping{1});
    ASSERT_EQ(confirmed.ranks.size(), 2U);
    EXPECT_FALSE(confirmed.ranks[0].drained);
    EXPECT_TRUE(confirmed.ranks[1].drained);
    EXPECT_EQ(confirmed.ranks[1].changes, 1U);
    (*answers)->place_of(3)->closed.store(2);
    (*answers)->place_of(3)->closing.store(static_cast<std::uint32_t>(Closing::closed));
    const Revoked revoked = ask<Revoked>(Ping{2});
    ASSERT_EQ(revoked.ranks.size(), 2U);
    EXPECT_FALSE(revoked.ranks[0].has_closed);
    EXPECT_TRUE(revoked.ranks[1].has_closed);
    EXPECT_EQ(revoked.ranks[1].closed, 2U);
  });
}

TEST_F(AgentProtocol, leaves_the_folder_to_one_agent) {
  run([&] {
    (void)ask<Welcome>(Hello{1});
    EXPECT_EQ(WEXITSTATUS(std::system(fmt::format("{} --channel unix:{}.other --state {} 2>&1 | "
                                                  "grep -q 'another agent has'",
                                                  FERRY_AGENT, machine_.state(vm).string(),
                                                  machine_.state(vm).string())
                                          .c_str())),
              0);
  });
}

}  // namespace
}  // namespace ferry::agent
