// Several pieces of work at once, waited for together.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/ports/executor.hpp"

namespace ferry {

/// Tasks that one coordinator spawns and joins; only `cancel` may be called by other tasks. Joins on
/// destruction.
class TaskGroup {
 public:
  explicit TaskGroup(Executor& executor) : executor_(executor), mutex_(executor.make_mutex()) {}

  /// After `cancel` the task is spawned cancelled: its first wait ends at once.
  void spawn(std::string name, std::function<void()> body) {
    Lock lock(*mutex_);
    tasks_.push_back(executor_.spawn(std::move(name), std::move(body)));
    if (cancelled_) tasks_.back()->cancel();
  }

  /// Runs `here` in the calling task and `bodies` beside it; returns when all have ended.
  void run_beside(const std::string& name, std::vector<std::function<void()>> bodies,
                  const std::function<void()>& here) {
    for (std::function<void()>& body : bodies) spawn(name, std::move(body));
    here();
    join();
  }

  /// Blocks until every task has ended; rethrows what the first of them threw.
  void join() {
    for (const auto& task : tasks_) task->join();  // not under the mutex: `cancel` must get in
    Lock lock(*mutex_);
    tasks_.clear();
  }

  /// Cancels every task that has not ended, and those to come. Does not wait.
  void cancel() {
    Lock lock(*mutex_);
    cancelled_ = true;
    for (const auto& task : tasks_) task->cancel();
  }

 private:
  Executor& executor_;
  std::unique_ptr<Mutex> mutex_;
  std::vector<std::unique_ptr<Task>> tasks_;
  bool cancelled_ = false;
};

}  // namespace ferry
