// The descriptors that a wait sleeps on, in one epoll instance.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <optional>

namespace ferry {

class EventSource;

/// Descriptors come and go at any time, also while somebody sleeps on the others.
class EventFiles {
 public:
  using RealTime = std::chrono::steady_clock::time_point;
  EventFiles();
  ~EventFiles();
  EventFiles(const EventFiles&) = delete;
  EventFiles& operator=(const EventFiles&) = delete;

  /// While it can be read a sleep ends and tells `of`; null is told as null.
  void add(int file, EventSource* of);
  /// Before `file` is closed.
  void remove(int file);

  static constexpr std::size_t most_told = 9;
  struct Told {
    std::array<EventSource*, most_told> of{};
    std::size_t count = 0;
  };
  /// Blocks until something can be read, a signal comes or it is `end`, maybe a little earlier than
  /// that; tells of what can be read.
  [[nodiscard]] Told sleep(std::optional<RealTime> end);

 private:
  int epoll_;
};

}  // namespace ferry
