#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>

#include "controller/cli/process_pool.hpp"

namespace ferry {
namespace {

bool no_child_is_left() { return ::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD; }

TEST(process_pool, gives_every_tasks_status_and_output_in_order) {
  std::vector<ProcessTask> tasks;
  for (int i = 0; i < 20; ++i) {
    tasks.push_back([i](TaskOutput& output) {
      output.write("task " + std::to_string(i));
      return i % 3;
    });
  }
  std::size_t told = 0;
  ProcessPoolOptions options;
  options.jobs = 3;
  const auto ends = run_processes(tasks, options, [&](std::size_t, const TaskEnd&) { ++told; });
  ASSERT_EQ(ends.size(), 20U);
  for (int i = 0; i < 20; ++i) {
    const auto& end = ends[static_cast<std::size_t>(i)];
    ASSERT_TRUE(end.has_value());
    EXPECT_EQ(end->how, TaskEnd::How::exited);
    EXPECT_EQ(end->status, i % 3);
    EXPECT_EQ(end->output, "task " + std::to_string(i));
  }
  EXPECT_EQ(told, 20U);
  EXPECT_TRUE(no_child_is_left());
}

TEST(process_pool, takes_output_that_is_larger_than_a_pipe) {
  const std::string large(1'000'000, 'x');
  const auto ends = run_processes({[&](TaskOutput& output) {
                                    output.write(large);
                                    return 0;
                                  }},
                                  {});
  EXPECT_EQ(ends[0]->output, large);
}

TEST(process_pool, a_task_that_crashes_or_throws_takes_nothing_with_it) {
  const auto ends =
      run_processes({[](TaskOutput&) -> int {
                       ::signal(SIGSEGV, SIG_DFL);  // a sanitizer would report it and exit
                       ::raise(SIGSEGV);
                       return 0;
                     },
                     [](TaskOutput&) -> int { throw std::runtime_error("no such place"); },
                     [](TaskOutput&) { return 7; }, [](TaskOutput&) { return 0; }},
                    {});
  EXPECT_EQ(ends[0]->reason(), "was killed by signal 11 (Segmentation fault)");
  EXPECT_EQ(ends[1]->reason(), "no such place");
  EXPECT_EQ(ends[1]->status, exception_status);
  EXPECT_EQ(ends[2]->reason(), "ended with status 7");
  EXPECT_FALSE(ends[2]->succeeded());
  EXPECT_TRUE(ends[3]->succeeded());
  EXPECT_TRUE(no_child_is_left());
}

TEST(process_pool, a_task_that_takes_too_long_is_ended) {
  ProcessPoolOptions options;
  options.timeout = Duration::milliseconds(50);
  const auto ends = run_processes({[](TaskOutput&) -> int {
                                    for (;;) ::pause();
                                  }},
                                  options);
  EXPECT_EQ(ends[0]->how, TaskEnd::How::timed_out);
  EXPECT_EQ(ends[0]->reason(), "took longer than it may");
  EXPECT_TRUE(no_child_is_left());
}

TEST(process_pool, the_first_interruption_lets_running_tasks_finish_and_starts_none) {
  Interruption level = Interruption::none;
  ProcessPoolOptions options;
  options.interruption = [&] { return level; };
  const ProcessTask quick = [](TaskOutput& output) {
    output.write("done");
    return 0;
  };
  const auto ends = run_processes({quick, quick, quick}, options, [&](std::size_t, const TaskEnd&) {
    level = Interruption::start_nothing_new;
  });
  EXPECT_EQ(ends[0]->output, "done");
  EXPECT_FALSE(ends[1].has_value());
  EXPECT_FALSE(ends[2].has_value());
}

TEST(process_pool, the_second_interruption_ends_running_tasks) {
  int asked = 0;
  ProcessPoolOptions options;
  options.jobs = 2;
  // Cancelled once both have been started.
  options.interruption = [&] { return ++asked > 1 ? Interruption::cancel : Interruption::none; };
  const ProcessTask endless = [](TaskOutput&) -> int {
    for (;;) ::pause();
  };
  const auto ends = run_processes({endless, endless, endless}, options);
  EXPECT_EQ(ends[0]->how, TaskEnd::How::cancelled);
  EXPECT_EQ(ends[1]->reason(), "was cancelled");
  EXPECT_FALSE(ends[2].has_value());
  EXPECT_TRUE(no_child_is_left());
}

TEST(process_pool, leaves_no_process_behind_if_the_caller_throws) {
  ProcessPoolOptions options;
  options.jobs = 2;
  EXPECT_THROW(
      run_processes({[](TaskOutput&) -> int {
                       for (;;) ::pause();
                     },
                     [](TaskOutput&) { return 0; }},
                    options,
                    [](std::size_t, const TaskEnd&) { throw std::runtime_error("enough"); }),
      std::runtime_error);
  EXPECT_TRUE(no_child_is_left());
}

}  // namespace
}  // namespace ferry
