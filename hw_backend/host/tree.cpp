#include "hw_backend/host/tree.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "core/units/natural_order.hpp"
#include "core/units/numerals.hpp"
#include "hw_backend/host/open_file.hpp"

namespace ferry::host {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t largest_file = std::size_t{16} << 20U;

/// Of names in the system, whatever stands for its root.
std::string shown(const fs::path& path) { return fmt::format("/{}", path.string()); }

tl::unexpected<Failure> unreadable(const fs::path& path, int error) {
  if (error == ENOENT || error == ENOTDIR) {
    return failure(FailureKind::refused, shown(path) + " is not there");
  }
  return failure(FailureKind::failed,
                 fmt::format("{} cannot be read: {}", shown(path), std::strerror(error)));
}

/// What is not printable would spoil a terminal.
std::string printable(std::string_view text) {
  constexpr std::size_t longest = 60;
  std::string result;
  for (const char c : text.substr(0, longest)) result += c >= ' ' && c <= '~' ? c : '?';
  return result + (text.size() > longest ? "..." : "");
}

}  // namespace

bool Tree::has(const fs::path& path) const {
  std::error_code error;
  return fs::exists(at(path), error);
}

Result<std::string> Tree::text(const fs::path& path) const {
  const OpenFile file(open(at(path).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (file.number() < 0) return unreadable(path, errno);
  std::string all;
  char piece[4096];
  for (;;) {
    const ssize_t got = read(file.number(), piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return unreadable(path, errno);
    if (got == 0) return all;
    all.append(piece, static_cast<std::size_t>(got));
    if (all.size() > largest_file) {
      return failure(FailureKind::failed, shown(path) + " has more than 16 MiB");
    }
  }
}

Result<std::string> Tree::line(const fs::path& path) const {
  Result<std::string> all = text(path);
  if (!all) return all;
  std::string line = all->substr(0, all->find('\n'));
  while (!line.empty() && static_cast<unsigned char>(line.back()) <= ' ') line.pop_back();
  return line;
}

std::string Tree::line_or_empty(const fs::path& path) const { return line(path).value_or(""); }

Result<std::int64_t> Tree::number(const fs::path& path) const {
  const Result<std::string> found = line(path);
  if (!found) return tl::unexpected(found.error());
  const auto number = number_of<std::int64_t>(*found);
  if (number) return *number;
  return failure(FailureKind::failed,
                 fmt::format("{} says '{}', which is no number", shown(path), printable(*found)));
}

std::vector<std::string> Tree::names(const fs::path& folder) const {
  std::vector<std::string> all;
  std::error_code error;
  for (fs::directory_iterator each(at(folder), error); !error && each != fs::directory_iterator();
       each.increment(error)) {
    all.push_back(each->path().filename());
  }
  std::ranges::sort(all, natural_less);
  return all;
}

std::string Tree::name_behind(const fs::path& link) const {
  std::error_code error;
  const fs::path target = fs::read_symlink(at(link), error);
  return error ? std::string() : target.filename().string();
}

Result<> Tree::write(const fs::path& path, std::string_view content) const {
  const OpenFile file(open(at(path).c_str(), O_WRONLY | (is_system() ? 0 : O_TRUNC) | O_CLOEXEC));
  if (file.number() < 0 || ::write(file.number(), content.data(), content.size()) !=
                               static_cast<ssize_t>(content.size())) {
    return failure(FailureKind::failed,
                   fmt::format("{} cannot be written: {}", shown(path), std::strerror(errno)));
  }
  return {};
}

bool is_pci_address(std::string_view text) {
  // dddd:bb:dd.f; a domain may have more digits.
  constexpr std::string_view hexadecimal = "0123456789abcdef";
  const std::size_t end = text.find(':');
  if (end == std::string_view::npos || end < 4 || text.size() != end + 8) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (i == end || i == end + 3) {
      if (c != ':') return false;
    } else if (i == end + 6) {
      if (c != '.') return false;
    } else if (hexadecimal.find(c) == std::string_view::npos) {
      return false;
    }
  }
  return text.back() <= '7';
}

}  // namespace ferry::host
