#include "hw_backend/shm/watched.hpp"

#include <algorithm>
#include <thread>

#include "core/units/check.hpp"

namespace ferry::shm {

void WatchedList::watch(Watched& watched) {
  for (std::uint32_t i = 0; i < watched_.size(); ++i) {
    Watched* none = nullptr;
    if (watched_[i].compare_exchange_strong(none, &watched)) {
      if (places_used_.load() <= i) places_used_.store(i + 1);
      return;
    }
  }
  check(false, "a wait set has at most eight endpoints");
}

void WatchedList::forget(Watched& watched) {
  for (auto& place : watched_) {
    Watched* mine = &watched;
    if (!place.compare_exchange_strong(mine, nullptr)) continue;
    while (looking_.load() != 0) std::this_thread::yield();
  }
}

bool WatchedList::empty() const {
  return std::all_of(watched_.begin(), watched_.end(),
                     [](const auto& place) { return place.load() == nullptr; });
}

std::optional<Duration> WatchedList::longest_sleep() const {
  std::optional<Duration> shortest;
  const std::uint32_t places = places_used_.load(std::memory_order_acquire);
  for (std::uint32_t i = 0; i < places; ++i) {
    const Watched* const watched = watched_[i].load();
    const auto one = watched == nullptr ? std::nullopt : watched->longest_sleep();
    if (one && (!shortest || *one < *shortest)) shortest = one;
  }
  return shortest;
}

}  // namespace ferry::shm
