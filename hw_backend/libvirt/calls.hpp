// Blocking library calls with a deadline. A call of libvirt cannot be ended from outside, so each runs
// in a thread of its own while the task that wants its result waits as tasks do: until it is there,
// until the deadline, or until the task is cancelled. A call that nobody waits for any more goes on;
// keep-alive ends it when its daemon is dead.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "core/ports/executor.hpp"
#include "core/ports/result.hpp"
#include "hw_backend/threads/thread_executor.hpp"

namespace ferry {

/// The failure of a wait that did not end as `ready`.
Failure ended_early(Wake wake, const std::string& what);

class Calls {
 public:
  /// `executor` is of the tasks that wait; the calls' threads are no tasks of it.
  Calls(const ThreadClock& clock, Executor& executor);
  /// Waits for the calls that were left behind.
  ~Calls();
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  /// The result of `body`, or `timed_out` or `cancelled`; then `body` runs on: it must own what it
  /// uses. `what` is for the reason: "attach of vm0's virtual function".
  template <class T>
  Result<T> run(const std::string& what, TimePoint deadline, std::function<Result<T>()> body) {
    const auto result = std::make_shared<std::optional<Result<T>>>();
    const Wake wake = run_body(what, deadline, [result, body = std::move(body)] {
      result->emplace(body());
    });
    if (wake != Wake::ready) return tl::unexpected(ended_early(wake, what));
    return std::move(**result);
  }

  /// Starts `body` in a thread and returns at once; it must own what it uses.
  void start(const std::string& what, std::function<void()> body);

 private:
  struct Call;
  Wake run_body(const std::string& what, TimePoint deadline, std::function<void()> body);
  std::shared_ptr<Call> start_call(const std::string& what, std::function<void()> body);
  void forget_ended();

  ThreadExecutor threads_;
  Executor& executor_;
  std::mutex mutex_;
  std::list<std::shared_ptr<Call>> left_behind_;
};

}  // namespace ferry
