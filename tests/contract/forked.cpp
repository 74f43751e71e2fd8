#include "tests/contract/forked.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <system_error>
#include <vector>

namespace ferry {
namespace {

using std::chrono::steady_clock;

/// Ends each field of a failure on its way to the parent: file, line, message.
constexpr char separator = '\0';
/// Exit status of a child that ran its body to the end, whatever it found.
constexpr int body_ended = 0;

class SendFailures final : public testing::EmptyTestEventListener {
 public:
  explicit SendFailures(int pipe) : pipe_(pipe) {}

  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::string record = result.file_name() == nullptr ? "" : result.file_name();
    record += separator;
    record += std::to_string(result.line_number());
    record += separator;
    record += result.message();
    record += separator;
    send(record);
  }

  void send(const std::string& record) const {
    for (std::size_t done = 0; done < record.size();) {
      const ssize_t written = write(pipe_, record.data() + done, record.size() - done);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return;  // the parent is gone: nobody is left to tell
      done += static_cast<std::size_t>(written);
    }
  }

 private:
  int pipe_;
};

[[noreturn]] void be_child(int pipe, const std::function<void()>& body) {
  testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
  delete listeners.Release(listeners.default_result_printer());  // the parent prints
  listeners.Append(new SendFailures(pipe));
  try {
    body();
  } catch (const std::exception& error) {
    ADD_FAILURE() << "the body threw: " << error.what();
  } catch (...) {
    ADD_FAILURE() << "the body threw what is no std::exception";
  }
  std::fflush(nullptr);
  _exit(body_ended);  // without the parent's atexit handlers and the end of the parent's test
}

/// Everything that the child sends until it closes the pipe; false if `end` came first.
bool read_all(int pipe, steady_clock::time_point end, std::string& received) {
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - steady_clock::now());
    if (left.count() <= 0) return false;
    pollfd waited{pipe, POLLIN, 0};
    if (poll(&waited, 1, static_cast<int>(left.count())) <= 0) continue;
    char buffer[4096];
    const ssize_t count = read(pipe, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return true;
    received.append(buffer, static_cast<std::size_t>(count));
  }
}

std::vector<ForkedFailure> parse(const std::string& received) {
  std::vector<std::string> fields;
  std::size_t begin = 0;
  for (std::size_t end = 0; (end = received.find(separator, begin)) != std::string::npos;
       begin = end + 1) {
    fields.push_back(received.substr(begin, end - begin));
  }
  std::vector<ForkedFailure> failures;
  for (std::size_t i = 0; i + 2 < fields.size(); i += 3) {
    failures.push_back({fields[i], std::atoi(fields[i + 1].c_str()), fields[i + 2]});
  }
  return failures;
}

}  // namespace

std::vector<ForkedFailure> failures_of_forked(std::chrono::seconds limit,
                                              const std::function<void()>& body) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  std::fflush(nullptr);  // or the child would print it again
  const pid_t child = fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (child == 0) {
    close(ends[0]);
    be_child(ends[1], body);
  }
  close(ends[1]);
  std::string received;
  const bool ended = read_all(ends[0], steady_clock::now() + limit, received);
  close(ends[0]);
  if (!ended) kill(child, SIGKILL);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  std::vector<ForkedFailure> failures = parse(received);
  const auto fail = [&failures](const std::string& message) {
    failures.push_back({__FILE__, __LINE__, message});
  };
  if (!ended) {
    fail("the forked body had not ended after " + std::to_string(limit.count()) + " s");
  } else if (WIFSIGNALED(status)) {
    fail("the forked body was killed by signal " + std::to_string(WTERMSIG(status)) + " (" +
         strsignal(WTERMSIG(status)) + ")");
  } else if (WEXITSTATUS(status) != body_ended) {
    fail("the forked body exited with status " + std::to_string(WEXITSTATUS(status)));
  }
  return failures;
}

void run_forked(std::chrono::seconds limit, const std::function<void()>& body) {
  for (const ForkedFailure& failure : failures_of_forked(limit, body)) {
    ADD_FAILURE_AT(failure.file.c_str(), failure.line) << failure.message;
  }
}

}  // namespace ferry
