#include "hw_backend/shm/shm_wait_set.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "core/ports/world_error.hpp"
#include "core/units/check.hpp"

namespace ferry::shm {
namespace {

using std::chrono::steady_clock;

/// Looks between two looks at the clock: together less than a microsecond.
constexpr int looks_per_round = 100;
/// From here on a spinning wait gives its processor away between rounds.
constexpr Duration polite_after = Duration::microseconds(5);

Duration since(steady_clock::time_point start) {
  return Duration::nanoseconds(
      std::chrono::duration_cast<std::chrono::nanoseconds>(steady_clock::now() - start).count());
}

/// Of the job's ranks together. One that is bound to a single processor has that to itself, as
/// launchers do it: then the machine's count.
std::uint32_t usable_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 1) {
    return static_cast<std::uint32_t>(CPU_COUNT(&set));
  }
  return static_cast<std::uint32_t>(sysconf(_SC_NPROCESSORS_ONLN));
}

}  // namespace

std::uint32_t take_wait_slot(Region& region) {
  const std::uint32_t slots = region.sizes().endpoints;
  for (std::uint32_t slot = 0; slot < slots; ++slot) {
    std::uint32_t free = 0;
    if (region.wait_slot(slot).taken.compare_exchange_strong(free, 1)) return slot;
  }
  throw WorldError("the shared memory of this job has no place for another rank: all " +
                   std::to_string(slots) + " are taken");
}

ShmWaitSet::ShmWaitSet(std::shared_ptr<Region> region, const ThreadClock& clock, SpinLimits spin)
    : region_(std::move(region)),
      clock_(clock),
      limits_(spin),
      slot_(take_wait_slot(*region_)),
      processors_(usable_processors()),
      spin_nanoseconds_(limits_.longest.count_nanoseconds()) {}

ShmWaitSet::~ShmWaitSet() {
  check(watched_.empty(), "a wait set outlives its endpoints");
  // A late ring at this slot wakes its next user for nothing.
  region_->wait_slot(slot_).taken.store(0);
}

bool ShmWaitSet::has_something(std::uint32_t known) const {
  if (notified_.load(std::memory_order_acquire) != known) return true;
  return watched_.has_something();
}

/// More ranks than processors: a rank that spins keeps others from running.
bool ShmWaitSet::crowded() const {
  return region_->header().open_endpoints.load(std::memory_order_relaxed) > processors_;
}

/// Within a scope of looking.
Wake ShmWaitSet::ready() {
  // What this wait says of room once must end the waits of other tasks too.
  if (watched_.tells_of_room()) [[unlikely]]
    notify();
  notifications_seen_.store(notified_.load(std::memory_order_acquire), std::memory_order_relaxed);
  return Wake::ready;
}

Wake ShmWaitSet::wait(TimePoint deadline) {
  Parker* const parker = parker_of_this_thread();
  if (parker != nullptr && parker->ends_waits()) return Wake::cancelled;
  // Each wait has its own idea of what it knows: what ends one must end the others too.
  const std::uint32_t known = notifications_seen_.load(std::memory_order_relaxed);
  if (const std::optional<Wake> wake = spin(parker, deadline, known)) return *wake;
  return sleep(parker, deadline, known);
}

std::optional<Wake> ShmWaitSet::spin(Parker* parker, TimePoint deadline, std::uint32_t known) {
  const WatchedList::Looking looking(watched_);
  const auto look = [this, known] {
    for (int i = 0; i < looks_per_round; ++i) {
      if (has_something(known)) return true;
    }
    return false;
  };
  if (look()) return ready();
  const steady_clock::time_point start = steady_clock::now();
  const bool polite_at_once = crowded();
  const Duration limit =
      polite_at_once ? limits_.shortest
                     : Duration::nanoseconds(spin_nanoseconds_.load(std::memory_order_relaxed));
  for (;;) {
    if (look()) return ready();
    if (parker != nullptr && parker->ends_waits()) return Wake::cancelled;
    if (deadline != TimePoint::never() && clock_.now() >= deadline) return Wake::timed_out;
    const Duration passed = since(start);
    if (passed >= limit) return std::nullopt;
    if (polite_at_once || passed >= polite_after) sched_yield();
  }
}

Wake ShmWaitSet::sleep(Parker* parker, TimePoint deadline, std::uint32_t known) {
  struct Asleep {
    Asleep(ShmWaitSet& set, Parker* parker) : set_(set), parker_(parker) {
      set.region_->wait_slot(set.slot_).sleepers.fetch_add(1);
      if (parker_ != nullptr) parker_->sleeps_on(&set_);
      heavy_fence();  // from here on, who changes something rings: see doorbell.hpp
    }
    ~Asleep() {
      if (parker_ != nullptr) parker_->sleeps_on(nullptr);
      set_.region_->wait_slot(set_.slot_).sleepers.fetch_sub(1);
    }
    Asleep(const Asleep&) = delete;
    Asleep& operator=(const Asleep&) = delete;
    ShmWaitSet& set_;
    Parker* parker_;
  } const asleep(*this, parker);

  WaitSlot& slot = region_->wait_slot(slot_);
  const steady_clock::time_point start = steady_clock::now();
  const std::optional<ThreadClock::RealTime> end = clock_.real_time(deadline);
  Duration nap = first_nap;
  for (;;) {
    const std::uint32_t seen = slot.word.load();  // before looking: a ring after it ends the sleep
    {
      const WatchedList::Looking looking(watched_);
      if (has_something(known)) {
        adapt(since(start));
        return ready();
      }
    }
    if (parker != nullptr && parker->ends_waits()) return Wake::cancelled;
    if (clock_.now() >= deadline) return Wake::timed_out;
    std::optional<Duration> left;
    if (end) left = -since(*end);
    std::optional<Duration> longest;
    {
      const WatchedList::Looking looking(watched_);
      longest = watched_.longest_sleep();
    }
    if (longest) {
      nap = std::min(nap, *longest);
      if (!left || *left > nap) left = nap;
      nap = nap * 2.0;
    }
    futex_sleep(slot.word, seen, left);
  }
}

/// Sleeps that spinning at its longest would have spared make it longer, others shorter.
void ShmWaitSet::adapt(Duration slept) {
  const std::int64_t spun = spin_nanoseconds_.load(std::memory_order_relaxed);
  const std::int64_t next = slept < limits_.longest ? spun * 2 : spun / 2;
  spin_nanoseconds_.store(
      std::clamp(next, limits_.shortest.count_nanoseconds(), limits_.longest.count_nanoseconds()),
      std::memory_order_relaxed);
}

void ShmWaitSet::notify() {
  notified_.fetch_add(1, std::memory_order_seq_cst);
  WaitSlot& slot = region_->wait_slot(slot_);
  if (slot.sleepers.load(std::memory_order_seq_cst) != 0) ring_doorbell(slot);
}

void ShmWaitSet::interrupt() { ring_doorbell(region_->wait_slot(slot_)); }

}  // namespace ferry::shm
