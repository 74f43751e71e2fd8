// Waiting for shared memory to change: look often, then sleep on a futex.
#pragma once

#include <array>
#include <atomic>
#include <memory>

#include "core/ports/wait_set.hpp"
#include "hw_backend/shm/doorbell.hpp"
#include "hw_backend/shm/shm_fabric.hpp"

namespace ferry::shm {

/// What a wait set looks at. Asked by any task of the rank, also while another one uses it.
class Watched {
 public:
  virtual ~Watched() = default;
  [[nodiscard]] virtual bool has_something() const = 0;
  /// A wait is about to return `ready`. Whether a sender learns by that of room for a packet that
  /// was refused; it is not told again.
  [[nodiscard]] virtual bool tells_of_room() = 0;
};

class ShmWaitSet final : public WaitSet, private Sleep {
 public:
  ShmWaitSet(std::shared_ptr<Region> region, const ThreadClock& clock, SpinLimits spin);
  ~ShmWaitSet() override;
  Wake wait(TimePoint deadline) override;
  void notify() override;
  void pause() override { spin_pause(); }

  void watch(Watched& watched);
  /// Returns when no wait looks at it any more.
  void forget(Watched& watched);
  /// Index of the slot at which senders ring.
  [[nodiscard]] std::uint32_t slot() const { return slot_; }

 private:
  struct Looking;
  void interrupt() override;
  /// Or was told something since `known`.
  [[nodiscard]] bool has_something(std::uint32_t known) const;
  template <class Tells>
  [[nodiscard]] bool any_watched(Tells tells) const;
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
  std::array<std::atomic<Watched*>, 8> watched_{};
  std::atomic<std::uint32_t> places_used_{0};
  std::atomic<std::uint32_t> looking_{0};  ///< waits that look at what is watched
  std::atomic<std::uint32_t> notified_{0};
  std::atomic<std::uint32_t> notifications_seen_{0};  ///< when a wait last returned
  std::atomic<std::int64_t> spin_nanoseconds_;
};

}  // namespace ferry::shm
