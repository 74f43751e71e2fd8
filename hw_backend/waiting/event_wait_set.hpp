// A wait set that sleeps on file descriptors: of completion channels, of whatever else has one.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "core/ports/wait_set.hpp"
#include "hw_backend/threads/thread_executor.hpp"
#include "hw_backend/waiting/event_files.hpp"

namespace ferry {

/// Something that a wait looks at, and sleeps on. Asked by any task of the rank, also while another
/// one uses it.
class EventSource {
 public:
  using RealTime = std::chrono::steady_clock::time_point;
  virtual ~EventSource() = default;
  /// Moves on what has to move on by itself. Whether there is something to poll, or room again.
  [[nodiscard]] virtual bool look() = 0;
  /// A wait is about to return `ready`. Whether a sender learns by that of room for a packet that
  /// was refused; it is not told again.
  [[nodiscard]] virtual bool tells_of_room() = 0;

  /// Has its descriptor, whenever it has one, among `files` from now on, which outlive that; null:
  /// no longer.
  virtual void sleep_among(EventFiles* files) = 0;
  /// From now on the next event makes the descriptor readable; look once more afterwards.
  virtual void arm() = 0;
  /// It is readable. It may stay so until `arm`: nobody sleeps on it before.
  virtual void disarm() = 0;
  /// When to look even without an event; none: never.
  [[nodiscard]] virtual std::optional<RealTime> look_again_at() const = 0;
};

/// How long a wait looks before it sleeps. It adapts between the two, by how soon arrivals come
/// after it gave up. Both are zero where the machine has one processor.
struct LookLimits {
  Duration shortest = Duration::microseconds(2);
  Duration longest = Duration::microseconds(100);
};

/// One waiting task sleeps on the descriptors of all sources; others of the same rank wait for it.
/// Tasks are those of a ThreadExecutor, which can be cancelled, or plain threads.
class EventWaitSet final : public WaitSet, private Sleep {
 public:
  explicit EventWaitSet(const ThreadClock& clock, LookLimits limits = {});
  ~EventWaitSet() override;
  Wake wait(TimePoint deadline) override;
  void notify() override;
  void pause() override;

  void watch(EventSource& source);
  /// Returns when no wait looks at it any more.
  void forget(EventSource& source);

  /// How often a wait has gone to sleep on the descriptors.
  [[nodiscard]] std::uint64_t sleeps() const { return sleeps_; }

 private:
  struct Looking;
  void interrupt() override;
  void wake_sleepers();
  [[nodiscard]] bool has_something(std::uint32_t known);
  [[nodiscard]] std::optional<Wake> look_for_a_while(Parker* parker, TimePoint deadline,
                                                     std::uint32_t known);
  [[nodiscard]] Wake sleep(Parker* parker, TimePoint deadline, std::uint32_t known);
  void sleep_on_files(std::optional<EventSource::RealTime> end, std::uint32_t known);
  void adapt(Duration slept);
  Wake ready();

  const ThreadClock& clock_;
  LookLimits limits_;
  int bell_;  ///< eventfd
  EventFiles files_;
  std::array<std::atomic<EventSource*>, 8> sources_{};
  std::mutex forgetting_;
  std::atomic<std::uint32_t> generation_{
      0};  ///< of what is watched: each forgotten source ends one
  std::array<std::atomic<std::uint32_t>, 2> looking_{};  ///< of even and of odd generations
  std::atomic<std::uint32_t> notified_{0};
  std::atomic<std::uint32_t> notifications_seen_{0};
  std::atomic<std::uint32_t> sleepers_{0};
  std::atomic<std::int64_t> look_nanoseconds_;
  std::atomic<std::uint64_t> sleeps_{0};
  std::mutex mutex_;  ///< of those who sleep
  std::condition_variable woken_;
  bool led_ = false;            ///< a task sleeps on the descriptors
  std::uint64_t wake_ups_ = 0;  ///< of that task, and of notifications
};

}  // namespace ferry
