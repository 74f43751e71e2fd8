#include "hw_backend/waiting/event_wait_set.hpp"

#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "core/units/check.hpp"

namespace ferry {
namespace {

using std::chrono::steady_clock;

/// From here on a looking wait gives its processor away between looks.
constexpr Duration polite_after = Duration::microseconds(5);

Duration since(steady_clock::time_point start) {
  return Duration::nanoseconds(
      std::chrono::duration_cast<std::chrono::nanoseconds>(steady_clock::now() - start).count());
}

bool one_processor() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sysconf(_SC_NPROCESSORS_ONLN) == 1 ||
         (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) == 1);
}

}  // namespace

/// Scope in which a wait looks at sources, or sleeps on their files. It counts for the generation
/// that it began in: who forgets a source waits for those alone that may have it.
struct EventWaitSet::Looking {
  explicit Looking(EventWaitSet& set) : set_(set) {
    for (;;) {
      const std::uint32_t generation = set_.generation_.load();
      place_ = generation % 2;
      set_.looking_[place_].fetch_add(1);
      if (set_.generation_.load() == generation) return;
      set_.looking_[place_].fetch_sub(1);
    }
  }
  ~Looking() { set_.looking_[place_].fetch_sub(1); }
  Looking(const Looking&) = delete;
  Looking& operator=(const Looking&) = delete;
  EventWaitSet& set_;
  std::size_t place_ = 0;
};

EventWaitSet::EventWaitSet(const ThreadClock& clock, LookLimits limits)
    : clock_(clock),
      limits_(one_processor() ? LookLimits{Duration::zero(), Duration::zero()} : limits),
      bell_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      look_nanoseconds_(limits_.longest.count_nanoseconds()) {
  check(bell_ >= 0, "an eventfd can be made");
  files_.add(bell_, nullptr);
}

EventWaitSet::~EventWaitSet() {
  for (const auto& place : sources_) {
    check(place.load() == nullptr, "a wait set outlives its endpoints");
  }
  close(bell_);
}

void EventWaitSet::watch(EventSource& source) {
  for (auto& place : sources_) {
    EventSource* none = nullptr;
    if (place.compare_exchange_strong(none, &source)) {
      source.sleep_among(&files_);
      if (sleepers_.load() != 0) wake_sleepers();  // who sleeps must know it
      return;
    }
  }
  check(false, "a wait set has at most eight sources");
}

void EventWaitSet::forget(EventSource& source) {
  const std::lock_guard one_at_a_time(forgetting_);
  for (auto& place : sources_) {
    EventSource* mine = &source;
    if (!place.compare_exchange_strong(mine, nullptr)) continue;
    source.sleep_among(nullptr);
    const std::uint32_t before = generation_.fetch_add(1);
    notify();  // who sleeps lets go of it
    while (looking_[before % 2].load() != 0) std::this_thread::yield();
  }
}

bool EventWaitSet::has_something(std::uint32_t known) {
  if (notified_.load(std::memory_order_acquire) != known) return true;
  bool any = false;
  for (const auto& place : sources_) {
    EventSource* const source = place.load();
    any = (source != nullptr && source->look()) || any;
  }
  return any;
}

/// Within a scope of looking.
Wake EventWaitSet::ready() {
  bool told = false;
  for (const auto& place : sources_) {
    EventSource* const source = place.load();
    told = (source != nullptr && source->tells_of_room()) || told;
  }
  // What this wait says of room once must end the waits of other tasks too.
  if (told) notify();
  notifications_seen_.store(notified_.load(std::memory_order_acquire), std::memory_order_relaxed);
  return Wake::ready;
}

Wake EventWaitSet::wait(TimePoint deadline) {
  Parker* const parker = parker_of_this_thread();
  if (parker != nullptr && parker->ends_waits()) return Wake::cancelled;
  const std::uint32_t known = notifications_seen_.load(std::memory_order_relaxed);
  if (const std::optional<Wake> wake = look_for_a_while(parker, deadline, known)) return *wake;
  return sleep(parker, deadline, known);
}

std::optional<Wake> EventWaitSet::look_for_a_while(Parker* parker, TimePoint deadline,
                                                   std::uint32_t known) {
  const Looking looking(*this);
  if (has_something(known)) return ready();
  const Duration limit = Duration::nanoseconds(look_nanoseconds_.load(std::memory_order_relaxed));
  // Where clocks are slow, as in emulated guests, they are read only if somebody asks for the time.
  if (limit <= Duration::zero()) return std::nullopt;
  const steady_clock::time_point start = steady_clock::now();
  for (;;) {
    if (has_something(known)) return ready();
    if (parker != nullptr && parker->ends_waits()) return Wake::cancelled;
    if (deadline != TimePoint::never() && clock_.now() >= deadline) return Wake::timed_out;
    const Duration passed = since(start);
    if (passed >= limit) return std::nullopt;
    if (passed >= polite_after) sched_yield();
  }
}

Wake EventWaitSet::sleep(Parker* parker, TimePoint deadline, std::uint32_t known) {
  struct Asleep {
    Asleep(EventWaitSet& set, Parker* parker) : set_(set), parker_(parker) {
      set.sleepers_.fetch_add(1);
      if (parker_ != nullptr) parker_->sleeps_on(&set_);
    }
    ~Asleep() {
      if (parker_ != nullptr) parker_->sleeps_on(nullptr);
      set_.sleepers_.fetch_sub(1);
    }
    Asleep(const Asleep&) = delete;
    Asleep& operator=(const Asleep&) = delete;
    EventWaitSet& set_;
    Parker* parker_;
  } const asleep(*this, parker);

  const bool adapts = limits_.longest > Duration::zero();
  const steady_clock::time_point start = adapts ? steady_clock::now() : steady_clock::time_point();
  const std::optional<ThreadClock::RealTime> end = clock_.real_time(deadline);
  for (;;) {
    std::unique_lock lock(mutex_);
    const std::uint64_t seen = wake_ups_;  // before looking: what comes after it ends the sleep
    const bool leads = !led_;
    led_ = true;
    lock.unlock();
    bool found = false;
    {
      const Looking looking(*this);
      if (leads) {
        for (const auto& place : sources_) {
          EventSource* const source = place.load();
          if (source != nullptr) source->arm();
        }
      }
      found = has_something(known);
      if (found) {
        if (adapts) adapt(since(start));
        static_cast<void>(ready());
      }
    }
    const bool cancelled = parker != nullptr && parker->ends_waits();
    const bool late = deadline != TimePoint::never() && clock_.now() >= deadline;
    if (leads && !found && !cancelled && !late) {
      sleep_on_files(end, known);
      // As a rule there is something now: asking for another event first would cost a system call.
      const Looking looking(*this);
      found = has_something(known);
      if (found) {
        if (adapts) adapt(since(start));
        static_cast<void>(ready());
      }
    }
    if (leads) {
      lock.lock();
      led_ = false;
      ++wake_ups_;
      lock.unlock();
      woken_.notify_all();
    }
    if (found) return Wake::ready;
    if (cancelled) return Wake::cancelled;
    if (late) return Wake::timed_out;
    if (leads) continue;
    lock.lock();
    const auto woken = [&] { return wake_ups_ != seen; };
    if (end) {
      woken_.wait_until(lock, *end, woken);
    } else {
      woken_.wait(lock, woken);
    }
  }
}

void EventWaitSet::sleep_on_files(std::optional<EventSource::RealTime> end, std::uint32_t known) {
  const Looking looking(*this);
  for (const auto& place : sources_) {
    EventSource* const source = place.load();
    if (source == nullptr) continue;
    if (const auto again = source->look_again_at()) end = end ? std::min(*end, *again) : *again;
  }
  if (notified_.load() != known) return;  // rung before there was somebody to hear it
  sleeps_.fetch_add(1, std::memory_order_relaxed);
  const EventFiles::Told told = files_.sleep(end);
  for (std::size_t i = 0; i < told.count; ++i) {
    if (told.of[i] != nullptr) {
      told.of[i]->disarm();
    } else {
      std::uint64_t rung = 0;
      static_cast<void>(!read(bell_, &rung, sizeof rung));
    }
  }
}

/// Sleeps that looking at its longest would have spared make it longer, others shorter.
void EventWaitSet::adapt(Duration slept) {
  const std::int64_t looked = look_nanoseconds_.load(std::memory_order_relaxed);
  const std::int64_t next = slept < limits_.longest ? looked * 2 : looked / 2;
  look_nanoseconds_.store(
      std::clamp(next, limits_.shortest.count_nanoseconds(), limits_.longest.count_nanoseconds()),
      std::memory_order_relaxed);
}

void EventWaitSet::wake_sleepers() {
  const std::uint64_t one = 1;
  static_cast<void>(!write(bell_, &one, sizeof one));
  const std::lock_guard guard(mutex_);
  ++wake_ups_;
  woken_.notify_all();
}

void EventWaitSet::notify() {
  notified_.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) != 0) wake_sleepers();
}

void EventWaitSet::interrupt() { wake_sleepers(); }

void EventWaitSet::pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace ferry
