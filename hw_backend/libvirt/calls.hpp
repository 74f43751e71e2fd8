// Blocking library calls with a deadline. A call of libvirt cannot be ended from outside, so each
// runs in a thread of its own while the task that wants its result waits as tasks do: until it is
// there, until the deadline, or until the task is cancelled. A call that nobody waits for any more
// goes on; keep-alive ends it when its daemon is dead.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

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
    std::vector<std::function<void()>> wrapped;
    wrapped.emplace_back([result, body = std::move(body)] { result->emplace(body()); });
    const Wake wake = run_bodies(what, deadline, std::move(wrapped)).front();
    if (wake != Wake::ready) return tl::unexpected(ended_early(wake, what));
    return std::move(**result);
  }

  /// All of them at the same time; each has a result of its own.
  template <class T>
  std::vector<Result<T>> run_all(const std::string& what, TimePoint deadline,
                                 std::vector<std::function<Result<T>()>> bodies) {
    std::vector<std::shared_ptr<std::optional<Result<T>>>> results;
    std::vector<std::function<void()>> wrapped;
    for (auto& body : bodies) {
      results.push_back(std::make_shared<std::optional<Result<T>>>());
      wrapped.push_back(
          [result = results.back(), body = std::move(body)] { result->emplace(body()); });
    }
    const std::vector<Wake> wakes = run_bodies(what, deadline, std::move(wrapped));
    std::vector<Result<T>> all;
    all.reserve(results.size());
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (wakes[i] == Wake::ready) {
        all.emplace_back(std::move(**results[i]));
      } else {
        all.emplace_back(tl::unexpect, ended_early(wakes[i], what));
      }
    }
    return all;
  }

  /// Starts `body` in a thread and returns at once; it must own what it uses.
  void start(const std::string& what, std::function<void()> body);

 private:
  struct Call;
  std::vector<Wake> run_bodies(const std::string& what, TimePoint deadline,
                               std::vector<std::function<void()>> bodies);
  Wake wait_for(const std::shared_ptr<Call>& call, TimePoint deadline);
  std::shared_ptr<Call> start_call(const std::string& what, std::function<void()> body);
  void forget_ended();

  ThreadExecutor threads_;
  Executor& executor_;
  std::mutex mutex_;
  std::list<std::shared_ptr<Call>> left_behind_;
};

}  // namespace ferry
