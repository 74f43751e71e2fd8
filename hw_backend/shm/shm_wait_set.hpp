// Waiting for shared memory to change: look often, then sleep on a futex.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "core/ports/wait_set.hpp"
#include "hw_backend/shm/doorbell.hpp"
#include "hw_backend/shm/shm_fabric.hpp"
#include "hw_backend/shm/watched.hpp"

namespace ferry::shm {

/// Their indices are taken until the slot is given back.
/// Throws WorldError if all are taken.
[[nodiscard]] std::uint32_t take_wait_slot(Region& region);

/// The longest that a wait sleeps the first time where nobody wakes it; each sleep may be twice as
/// long as the one before it. Less is not worth sleeping for.
inline constexpr Duration first_nap = Duration::microseconds(20);

class ShmWaitSet final : public WaitSet, public ShmWaiting, private Sleep {
 public:
  ShmWaitSet(std::shared_ptr<Region> region, const ThreadClock& clock, SpinLimits spin);
  ~ShmWaitSet() override;
  Wake wait(TimePoint deadline) override;
  void notify() override;
  void pause() override { spin_pause(); }

  void watch(Watched& watched) override { watched_.watch(watched); }
  void forget(Watched& watched) override { watched_.forget(watched); }
  [[nodiscard]] std::uint32_t slot() const override { return slot_; }

 private:
  void interrupt() override;
  /// Or was told something since `known`.
  [[nodiscard]] bool has_something(std::uint32_t known) const;
  [[nodiscard]] bool crowded() const;
  [[nodiscard]] std::optional<Wake> spin(Parker* parker, TimePoint deadline, std::uint32_t known);
  [[nodiscard]] Wake sleep(Parker* parker, TimePoint deadline, std::uint32_t known);
  void adapt(Duration slept);
  Wake ready();

  std::shared_ptr<Region> region_;
  const ThreadClock& clock_;
  SpinLimits limits_;
  std::uint32_t slot_;
  std::uint32_t processors_;
  WatchedList watched_;
  std::atomic<std::uint32_t> notified_{0};
  std::atomic<std::uint32_t> notifications_seen_{0};  ///< when a wait last returned
  std::atomic<std::int64_t> spin_nanoseconds_;
};

}  // namespace ferry::shm
