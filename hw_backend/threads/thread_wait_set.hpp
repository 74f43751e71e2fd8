// The port `WaitSet` between threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/ports/wait_set.hpp"
#include "hw_backend/threads/thread_executor.hpp"

namespace ferry {

class ThreadWaitSet final : public WaitSet {
 public:
  explicit ThreadWaitSet(ThreadExecutor& executor);
  Wake wait(TimePoint deadline) override;
  void notify() override;
  void pause() override;

  /// How much there is to see at an endpoint. It stays until it is removed.
  void add(const std::atomic<std::size_t>& arrivals);
  void remove(const std::atomic<std::size_t>& arrivals);

 private:
  [[nodiscard]] bool something_to_see() const;

  ThreadExecutor& executor_;
  std::unique_ptr<Mutex> mutex_;  // of all below
  std::unique_ptr<Condition> woken_;
  std::vector<const std::atomic<std::size_t>*> arrivals_;
  std::uint64_t notifications_ = 0;
  bool notified_ = false;  // since the last wait returned
};

}  // namespace ferry
