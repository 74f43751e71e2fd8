// Several pieces of work at once, waited for together.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/ports/executor.hpp"

namespace ferry {

/// What `body` throws, for who must not act inside a catch handler; null: it returned. Errors only:
/// what else unwinds a task (a simulation that ends it) must not be held up.
inline std::exception_ptr thrown_by(const std::function<void()>& body) {
  try {
    body();
  } catch (const std::exception&) {
    return std::current_exception();
  }
  return nullptr;
}

/// Tasks that one coordinator spawns and joins; only `cancel` may be called by other tasks. Joins
/// on destruction.
class TaskGroup {
 public:
  explicit TaskGroup(Executor& executor) : executor_(executor), mutex_(executor.make_mutex()) {}

  /// After `cancel` the task is spawned cancelled: its first wait ends at once.
  void spawn(std::string name, std::function<void()> body) {
    Lock lock(*mutex_);
    tasks_.push_back(executor_.spawn(std::move(name), std::move(body)));
    if (cancelled_) tasks_.back()->cancel();
  }

  /// Runs `here` in the calling task and `bodies` beside it; returns when all have ended, and then
  /// rethrows what the first of them threw.
  void run_beside(const std::string& name, std::vector<std::function<void()>> bodies,
                  const std::function<void()>& here) {
    for (std::function<void()>& body : bodies) spawn(name, std::move(body));
    end(thrown_by(here));
  }

  /// Blocks until every task has ended; then rethrows what the first of them threw.
  void join() { end(nullptr); }

  /// Cancels every task that has not ended, and those to come. Does not wait.
  void cancel() {
    Lock lock(*mutex_);
    cancelled_ = true;
    for (const auto& task : tasks_) task->cancel();
  }

 private:
  /// Whatever one of them threw, the others use what the caller's frame holds until they have
  /// ended.
  void end(std::exception_ptr thrown) {
    for (const auto& task : tasks_) {  // not under the mutex: `cancel` must get in
      std::exception_ptr of_task = thrown_by([&task] { task->join(); });
      if (!thrown) thrown = std::move(of_task);
    }
    {
      Lock lock(*mutex_);
      tasks_.clear();
    }
    if (thrown) std::rethrow_exception(std::move(thrown));
  }

  Executor& executor_;
  std::unique_ptr<Mutex> mutex_;
  std::vector<std::unique_ptr<Task>> tasks_;
  bool cancelled_ = false;
};

}  // namespace ferry
