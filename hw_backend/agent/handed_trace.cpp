#include "hw_backend/agent/handed_trace.hpp"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>

namespace ferry::agent {
namespace {

namespace fs = std::filesystem;

fs::path whole_trace(const fs::path& folder) { return folder / "trace"; }
fs::path begun_trace(const fs::path& folder) { return folder / "trace.new"; }

/// Zero if there is no such file.
std::uint64_t size_of(const fs::path& file) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(file, error);
  return error ? 0 : size;
}

}  // namespace

TraceReport take_trace(const fs::path& folder, const HandTrace& piece) {
  TraceReport report;
  report.key = piece.key;
  std::error_code error;
  if (fs::exists(whole_trace(folder), error)) {
    report.whole = true;
    report.held = size_of(whole_trace(folder));
    return report;
  }
  if (piece.total > largest_handed_trace) {
    report.why_not = "it has more than 1 GiB";
    return report;
  }
  const fs::path begun = begun_trace(folder);
  if (size_of(begun) > piece.total) fs::remove(begun, error);  // of another file than this one
  report.held = size_of(begun);
  if (piece.offset == report.held && !piece.bytes.empty()) {
    errno = 0;
    std::ofstream out(begun, std::ios::binary | std::ios::app);
    out.write(reinterpret_cast<const char*>(piece.bytes.data()),
              static_cast<std::streamsize>(piece.bytes.size()));
    out.close();
    if (!out) {
      report.why_not = errno == 0 ? "it cannot be written" : std::strerror(errno);
      fs::resize_file(begun, report.held, error);
      return report;
    }
    report.held += piece.bytes.size();
  }
  if (report.held == piece.total) {
    fs::rename(begun, whole_trace(folder), error);
    report.whole = !error;
    if (error) report.why_not = error.message();
  }
  return report;
}

Result<fs::path> await_trace(const fs::path& folder, std::chrono::milliseconds patience) {
  using std::chrono::steady_clock;
  std::uint64_t held = 0;
  auto grew = steady_clock::now();
  std::error_code error;
  while (!fs::exists(whole_trace(folder), error)) {
    const std::uint64_t now_held = size_of(begun_trace(folder));
    if (now_held != held) {
      held = now_held;
      grew = steady_clock::now();
    } else if (steady_clock::now() - grew > patience) {
      return failure(FailureKind::timed_out, "of the trace " + std::to_string(held) +
                                                 " bytes have come from the controller, and no "
                                                 "more for " +
                                                 std::to_string(patience.count() / 1000) + " s");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return whole_trace(folder);
}

}  // namespace ferry::agent
