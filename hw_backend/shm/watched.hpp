// What a wait looks at in shared memory, whatever it sleeps on.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

#include "core/units/units.hpp"

namespace ferry::shm {

/// Asked by any task of the rank, also while another one uses it.
class Watched {
 public:
  virtual ~Watched() = default;
  [[nodiscard]] virtual bool has_something() const = 0;
  /// A wait is about to return `ready`. Whether a sender learns by that of room for a packet that
  /// was refused; it is not told again.
  [[nodiscard]] virtual bool tells_of_room() = 0;
  /// How long a wait may sleep before it looks here again; none: who brings something wakes it.
  [[nodiscard]] virtual std::optional<Duration> longest_sleep() const { return std::nullopt; }
};

/// At most eight; from any task.
class WatchedList {
 public:
  /// Scope in which a wait looks.
  class Looking {
   public:
    explicit Looking(const WatchedList& list) : list_(list) { list_.looking_.fetch_add(1); }
    ~Looking() { list_.looking_.fetch_sub(1); }
    Looking(const Looking&) = delete;
    Looking& operator=(const Looking&) = delete;

   private:
    const WatchedList& list_;
  };

  void watch(Watched& watched);
  /// Returns when no wait looks at it any more.
  void forget(Watched& watched);
  [[nodiscard]] bool empty() const;

  // Within a scope of looking.
  [[nodiscard]] bool has_something() const {
    return any([](const Watched& watched) { return watched.has_something(); });
  }
  [[nodiscard]] bool tells_of_room() {
    return any([](Watched& watched) { return watched.tells_of_room(); });
  }
  /// The shortest.
  [[nodiscard]] std::optional<Duration> longest_sleep() const;

 private:
  template <class Tells>
  [[nodiscard]] bool any(Tells tells) const {
    bool found = false;
    const std::uint32_t places = places_used_.load(std::memory_order_acquire);
    for (std::uint32_t i = 0; i < places; ++i) {
      Watched* const watched = watched_[i].load();
      found = (watched != nullptr && tells(*watched)) || found;
    }
    return found;
  }

  std::array<std::atomic<Watched*>, 8> watched_{};
  std::atomic<std::uint32_t> places_used_{0};
  mutable std::atomic<std::uint32_t> looking_{0};
};

/// Who waits for shared memory.
class ShmWaiting {
 public:
  virtual ~ShmWaiting() = default;
  /// Index of the slot at which senders ring.
  [[nodiscard]] virtual std::uint32_t slot() const = 0;
  virtual void watch(Watched& watched) = 0;
  virtual void forget(Watched& watched) = 0;
};

}  // namespace ferry::shm
