// Shared memory as one of the things that a wait on file descriptors waits for.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "hw_backend/shm/region.hpp"
#include "hw_backend/shm/watched.hpp"
#include "hw_backend/waiting/event_wait_set.hpp"

namespace ferry::ranks {

/// Endpoints in shared memory are watched by it, and it by an `EventWaitSet`, which outlives it. A
/// thread of its own sleeps at the slot where senders ring, and makes a descriptor readable: a rank
/// that also waits for an adapter pays that hop when it sleeps, and nothing while it looks.
class MemoryEvents final : public shm::ShmWaiting, public EventSource {
 public:
  /// Throws WorldError if `region` has no slot left, or the system no descriptor.
  MemoryEvents(std::shared_ptr<shm::Region> region, EventWaitSet& wait_set);
  ~MemoryEvents() override;
  MemoryEvents(const MemoryEvents&) = delete;
  MemoryEvents& operator=(const MemoryEvents&) = delete;

  [[nodiscard]] std::uint32_t slot() const override { return slot_; }
  void watch(shm::Watched& watched) override { watched_.watch(watched); }
  void forget(shm::Watched& watched) override { watched_.forget(watched); }

  [[nodiscard]] bool look() override;
  [[nodiscard]] bool tells_of_room() override;
  void sleep_among(EventFiles* files) override;
  void arm() override;
  void disarm() override;
  [[nodiscard]] std::optional<RealTime> look_again_at() const override;

 private:
  void hear(std::uint32_t seen);

  std::shared_ptr<shm::Region> region_;
  EventWaitSet& wait_set_;
  std::uint32_t slot_;
  int event_;
  EventFiles* files_ = nullptr;
  shm::WatchedList watched_;
  std::atomic<bool> armed_ = false;
  std::atomic<bool> stopped_ = false;
  mutable std::atomic<std::int64_t> nap_nanoseconds_;
  std::thread ear_;
};

}  // namespace ferry::ranks
