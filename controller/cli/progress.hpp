// How far a run or a sweep is, on standard error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace ferry {

struct SessionProgress;

/// A bar that redraws itself where standard error is a terminal, else a line at every tenth of the
/// way and at least every 5 s; nothing if quiet.
class ProgressDisplay {
 public:
  /// `what`: "migrations", "cells".
  ProgressDisplay(std::string what, bool quiet);
  /// Ends the bar's line.
  ~ProgressDisplay();
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;

  /// `note`: a few words behind the counts; may be empty.
  void show(std::size_t done, std::size_t of, const std::string& note);
  /// The moves of one run.
  void show(const SessionProgress& progress);

 private:
  void show_bar(std::size_t done, std::size_t of, const std::string& note);
  void show_line(std::size_t done, std::size_t of, const std::string& note);

  std::string what_;
  bool quiet_;
  bool terminal_;
  bool drawn_ = false;
  std::int64_t last_shown_ = 0;  ///< real nanoseconds
  std::size_t last_tenth_ = 0;
};

}  // namespace ferry
