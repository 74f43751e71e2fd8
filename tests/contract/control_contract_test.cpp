// What `Control` promises.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "core/ports/control.hpp"
#include "hw_backend/agent/in_process_control.hpp"
#include "hw_backend/agent/socket_control.hpp"
#include "hw_backend/threads/thread_executor.hpp"

namespace ferry {
namespace {

using Ends = std::pair<std::unique_ptr<Control>, std::unique_ptr<Control>>;

struct LinkUnderTest {
  std::string name;
  std::function<Ends(Executor&)> make;
};

std::string socket_path() {
  static int count = 0;
  return std::filesystem::temp_directory_path() /
         ("ferry-control-" + std::to_string(getpid()) + "-" + std::to_string(count++));
}

const LinkUnderTest links[] = {
    {"in_process", [](Executor& executor) { return agent::make_in_process_control(executor); }},
    {"socket", [](Executor& executor) {
       const std::string path = socket_path();
       auto listener = std::make_unique<agent::SocketControl>(executor, agent::listening_at(path));
       return Ends{std::make_unique<agent::SocketControl>(executor, agent::connecting_to(path)),
                   std::move(listener)};
     }}};

class ControlContract : public testing::TestWithParam<LinkUnderTest> {
 protected:
  void run(const std::function<void(Control&, Control&)>& body) {
    executor_.adopt([&] {
      auto [one, other] = GetParam().make(executor_);
      ASSERT_TRUE(opens(*one));
      ASSERT_TRUE(opens(*other));
      body(*one, *other);
    });
  }
  bool opens(Control& end) {
    for (int tries = 0; tries < 1000; ++tries) {
      if (end.openings() > 0) {
        const Control::Received received = end.receive(soon());
        return received.wake == Wake::ready && received.message.empty();
      }
      sleeper_.sleep_until(sleeper_.now() + Duration::milliseconds(10));
    }
    return false;
  }
  [[nodiscard]] TimePoint soon() const { return sleeper_.now() + Duration::milliseconds(20'000); }

  ThreadClock clock_{1.0};
  ThreadExecutor executor_{clock_};
  ThreadSleeper sleeper_{clock_};
};
INSTANTIATE_TEST_SUITE_P(Links, ControlContract, testing::ValuesIn(links),
                         [](const auto& link) { return link.param.name; });

std::vector<std::byte> filled(std::size_t size, int with) {
  return std::vector<std::byte>(size, static_cast<std::byte>(with));
}

TEST_P(ControlContract, messages_of_every_size_arrive_whole_and_in_order) {
  run([&](Control& one, Control& other) {
    int with = 0;
    for (const std::size_t size : {std::size_t{1}, std::size_t{2}, std::size_t{1000},
                                   std::size_t{100'000}, largest_control_message}) {
      ASSERT_TRUE(one.send(filled(size, ++with)));
      ASSERT_TRUE(other.send(filled(size, with)));
    }
    for (Control* const end : {&one, &other}) {
      with = 0;
      for (const std::size_t size : {std::size_t{1}, std::size_t{2}, std::size_t{1000},
                                     std::size_t{100'000}, largest_control_message}) {
        const Control::Received received = end->receive(soon());
        ASSERT_EQ(received.wake, Wake::ready);
        EXPECT_EQ(received.message, filled(size, ++with));
      }
    }
  });
}

TEST_P(ControlContract, what_is_too_large_or_empty_is_not_sent) {
  run([&](Control& one, Control& other) {
    EXPECT_FALSE(one.send(filled(largest_control_message + 1, 1)));
    EXPECT_FALSE(one.send({}));
    ASSERT_TRUE(one.send(filled(3, 7)));
    EXPECT_EQ(other.receive(soon()).message, filled(3, 7));
  });
}

TEST_P(ControlContract, a_receive_ends_at_its_deadline) {
  run([&](Control& one, Control& /*other*/) {
    const TimePoint deadline = sleeper_.now() + Duration::milliseconds(20);
    EXPECT_EQ(one.receive(deadline).wake, Wake::timed_out);
    EXPECT_GE(sleeper_.now(), deadline);
  });
}

TEST_P(ControlContract, notify_ends_the_present_or_the_next_receive_once) {
  run([&](Control& one, Control& /*other*/) {
    one.notify();
    one.notify();
    const Control::Received received = one.receive(soon());
    EXPECT_EQ(received.wake, Wake::ready);
    EXPECT_TRUE(received.message.empty());
    EXPECT_EQ(one.receive(sleeper_.now()).wake, Wake::timed_out);
    const std::unique_ptr<Task> task = executor_.spawn("notifies", [&] {
      sleeper_.sleep_until(sleeper_.now() + Duration::milliseconds(10));
      one.notify();
    });
    EXPECT_EQ(one.receive(soon()).wake, Wake::ready);
    task->join();
  });
}

TEST_P(ControlContract, a_receive_ends_when_its_task_is_cancelled) {
  run([&](Control& one, Control& /*other*/) {
    Wake wake = Wake::ready;
    const std::unique_ptr<Task> task =
        executor_.spawn("receives", [&] { wake = one.receive(TimePoint::never()).wake; });
    task->cancel();
    task->join();
    EXPECT_EQ(wake, Wake::cancelled);
  });
}

TEST(SocketControls, open_again_when_the_other_side_has_gone_and_come_back) {
  const ThreadClock clock(1.0);
  ThreadExecutor executor(clock);
  ThreadSleeper sleeper(clock);
  executor.adopt([&] {
    const std::string path = socket_path();
    agent::SocketControl stays(executor, agent::connecting_to(path));
    for (std::uint64_t opening = 1; opening <= 3; ++opening) {
      agent::SocketControl comes(executor, agent::listening_at(path));
      const TimePoint late = sleeper.now() + Duration::milliseconds(20'000);
      std::vector<std::byte> received;
      while (received.empty() && sleeper.now() < late) {
        (void)stays.send(filled(9, static_cast<int>(opening)));
        received = comes.receive(sleeper.now() + Duration::milliseconds(50)).message;
      }
      EXPECT_EQ(received, filled(9, static_cast<int>(opening)));
      EXPECT_GE(stays.openings(), opening);
    }
    std::filesystem::remove(path);
  });
}

}  // namespace
}  // namespace ferry
