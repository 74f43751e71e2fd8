// A test's body in a child process: for worlds of which a process can have only one.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

namespace ferry {

struct ForkedFailure {
  std::string file;
  int line = 0;
  std::string message;
};

/// Runs `body` in a forked child, waits for it and returns what failed: each GoogleTest assertion
/// of the child, at its own file and line, in order; then a child that threw, ended early, was
/// killed by a signal or had not ended after `limit` (real time). What `body` writes to memory is
/// lost: it must make its checks itself. The caller has no other threads.
std::vector<ForkedFailure> failures_of_forked(std::chrono::seconds limit,
                                              const std::function<void()>& body);

/// The same; every failure of the child fails in the caller too.
void run_forked(std::chrono::seconds limit, const std::function<void()>& body);

}  // namespace ferry
