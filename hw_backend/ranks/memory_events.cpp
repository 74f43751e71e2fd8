#include "hw_backend/ranks/memory_events.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "core/ports/world_error.hpp"
#include "core/units/check.hpp"
#include "hw_backend/shm/doorbell.hpp"
#include "hw_backend/shm/shm_wait_set.hpp"

namespace ferry::ranks {

MemoryEvents::MemoryEvents(std::shared_ptr<shm::Region> region, EventWaitSet& wait_set)
    : region_(std::move(region)),
      wait_set_(wait_set),
      slot_(shm::take_wait_slot(*region_)),
      event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      nap_nanoseconds_(shm::first_nap.count_nanoseconds()) {
  if (event_ < 0) throw WorldError("no file descriptors are left for a rank");
  // Read here: who rings before the thread runs is heard, too.
  ear_ = std::thread([this, heard = region_->wait_slot(slot_).word.load()] { hear(heard); });
  wait_set_.watch(*this);
}

MemoryEvents::~MemoryEvents() {
  check(watched_.empty(), "what is watched outlives nobody who watches it");
  wait_set_.forget(*this);
  stopped_ = true;
  shm::ring_doorbell(region_->wait_slot(slot_));
  ear_.join();
  if (armed_) region_->wait_slot(slot_).sleepers.fetch_sub(1);
  region_->wait_slot(slot_).taken.store(0);
  close(event_);
}

void MemoryEvents::hear(std::uint32_t seen) {
  shm::WaitSlot& slot = region_->wait_slot(slot_);
  while (!stopped_) {
    shm::futex_sleep(slot.word, seen, std::nullopt);
    const std::uint32_t now = slot.word.load();
    if (now == seen) continue;
    seen = now;
    const std::uint64_t one = 1;
    static_cast<void>(!write(event_, &one, sizeof(one)));
  }
}

bool MemoryEvents::look() {
  const shm::WatchedList::Looking looking(watched_);
  const bool found = watched_.has_something();
  if (found) nap_nanoseconds_.store(shm::first_nap.count_nanoseconds(), std::memory_order_relaxed);
  return found;
}

bool MemoryEvents::tells_of_room() {
  const shm::WatchedList::Looking looking(watched_);
  return watched_.tells_of_room();
}

void MemoryEvents::sleep_among(EventFiles* files) {
  if (files_ != nullptr) files_->remove(event_);
  files_ = files;
  if (files_ != nullptr) files_->add(event_, this);
}

/// It stays armed until somebody rings: a sender that rings for nobody loses a system call.
void MemoryEvents::arm() {
  if (!armed_.exchange(true)) region_->wait_slot(slot_).sleepers.fetch_add(1);
  shm::heavy_fence();  // from here on, who changes something rings: see doorbell.hpp
}

void MemoryEvents::disarm() {
  if (armed_.exchange(false)) region_->wait_slot(slot_).sleepers.fetch_sub(1);
  std::uint64_t rung = 0;
  static_cast<void>(!read(event_, &rung, sizeof(rung)));
}

/// Each time twice as late, while nothing is found, up to what the watched says.
std::optional<EventSource::RealTime> MemoryEvents::look_again_at() const {
  const shm::WatchedList::Looking looking(watched_);
  const std::optional<Duration> longest = watched_.longest_sleep();
  if (!longest) return std::nullopt;
  const std::int64_t nap =
      std::min(nap_nanoseconds_.load(std::memory_order_relaxed), longest->count_nanoseconds());
  nap_nanoseconds_.store(2 * nap, std::memory_order_relaxed);
  return std::chrono::steady_clock::now() + std::chrono::nanoseconds(nap);
}

}  // namespace ferry::ranks
