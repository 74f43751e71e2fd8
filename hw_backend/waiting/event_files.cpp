#include "hw_backend/waiting/event_files.hpp"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "core/units/check.hpp"

namespace ferry {
namespace {

/// epoll counts milliseconds: where that is too coarse, poll sleeps on its descriptor.
constexpr std::chrono::milliseconds coarse_enough(10);

}  // namespace

EventFiles::EventFiles() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  check(epoll_ >= 0, "an epoll descriptor can be made");
}

EventFiles::~EventFiles() { close(epoll_); }

void EventFiles::add(int file, EventSource* of) {
  epoll_event wanted{};
  wanted.events = EPOLLIN;
  wanted.data.ptr = of;
  check(epoll_ctl(epoll_, EPOLL_CTL_ADD, file, &wanted) == 0, "a descriptor can be watched");
}

void EventFiles::remove(int file) { epoll_ctl(epoll_, EPOLL_CTL_DEL, file, nullptr); }

EventFiles::Told EventFiles::sleep(std::optional<RealTime> end) {
  int milliseconds = -1;
  if (end) {
    const auto left = std::max(RealTime::duration::zero(), *end - std::chrono::steady_clock::now());
    if (left >= coarse_enough) {
      milliseconds = static_cast<int>(std::min<std::int64_t>(
          std::chrono::duration_cast<std::chrono::milliseconds>(left).count(), 1'000'000'000));
    } else {
      const timespec short_time{
          .tv_sec = 0, .tv_nsec = static_cast<long>(std::chrono::nanoseconds(left).count())};
      pollfd all{.fd = epoll_, .events = POLLIN, .revents = 0};
      if (ppoll(&all, 1, &short_time, nullptr) <= 0) return {};
      milliseconds = 0;
    }
  }
  std::array<epoll_event, most_told> events;
  const int count =
      epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), milliseconds);
  Told told;
  for (int i = 0; i < count; ++i) {
    told.of[told.count++] = static_cast<EventSource*>(events[static_cast<std::size_t>(i)].data.ptr);
  }
  return told;
}

}  // namespace ferry
