#include "controller/cli/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "controller/cli/run_scenario.hpp"

namespace ferry {
namespace {

constexpr std::int64_t bar_interval = 100'000'000;     // ns: ten pictures a second
constexpr std::int64_t line_interval = 5'000'000'000;  // ns

}  // namespace

ProgressDisplay::ProgressDisplay(std::string what, bool quiet)
    : what_(std::move(what)),
      quiet_(quiet),
      terminal_(::isatty(STDERR_FILENO) == 1),
      last_shown_(real_nanoseconds()) {}

ProgressDisplay::~ProgressDisplay() {
  if (drawn_) std::fputs("\n", stderr);
}

void ProgressDisplay::show(std::size_t done, std::size_t of, const std::string& note) {
  if (quiet_ || of == 0) return;
  if (terminal_) {
    show_bar(done, of, note);
  } else {
    show_line(done, of, note);
  }
}

void ProgressDisplay::show(const SessionProgress& progress) {
  std::string note;
  if (progress.started > progress.ended) {
    note = fmt::format("{} under way", progress.started - progress.ended);
  }
  if (progress.failed > 0) {
    note += fmt::format("{}{} failed", note.empty() ? "" : ", ", progress.failed);
  }
  show(progress.ended, progress.moves,
       fmt::format("{}{}at {:.1f} s", note, note.empty() ? "" : ", ", progress.now.to_seconds()));
}

void ProgressDisplay::show_bar(std::size_t done, std::size_t of, const std::string& note) {
  const std::int64_t now = real_nanoseconds();
  if (drawn_ && done < of && now - last_shown_ < bar_interval) return;
  last_shown_ = now;
  drawn_ = true;
  constexpr std::size_t width = 30;
  const std::size_t filled = done * width / of;
  fmt::print(stderr, "\r[{}{}] {}/{} {}{}{}\x1b[K", std::string(filled, '#'),
             std::string(width - filled, '.'), done, of, what_, note.empty() ? "" : ", ", note);
  std::fflush(stderr);
}

void ProgressDisplay::show_line(std::size_t done, std::size_t of, const std::string& note) {
  const std::int64_t now = real_nanoseconds();
  const std::size_t tenth = done * 10 / of;
  if (tenth <= last_tenth_ && now - last_shown_ < line_interval) return;
  last_tenth_ = tenth;
  last_shown_ = now;
  fmt::print(stderr, "{}/{} {}{}{}\n", done, of, what_, note.empty() ? "" : ", ", note);
}

}  // namespace ferry
