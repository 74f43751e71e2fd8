#include "hw_backend/host/guid.hpp"

#include <fmt/format.h>

#include <charconv>

namespace ferry::host {

std::optional<std::uint64_t> parse_guid(std::string_view text) {
  std::string digits;
  std::size_t in_group = 0;
  std::size_t group = 0;  // digits in each; none: not known yet
  for (const char c : text) {
    if (c == ':') {
      if (group == 0) group = in_group;
      if (in_group != group || (group != 2 && group != 4)) return std::nullopt;
      in_group = 0;
    } else {
      digits += c;
      ++in_group;
    }
  }
  if (digits.size() != 16 || (group != 0 && in_group != group)) return std::nullopt;
  std::uint64_t guid = 0;
  const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), guid, 16);
  if (end.ec != std::errc() || end.ptr != digits.data() + digits.size()) return std::nullopt;
  return guid;
}

std::string guid_text(std::uint64_t guid) {
  std::string text;
  for (int shift = 56; shift >= 0; shift -= 8) {
    text += fmt::format("{}{:02x}", text.empty() ? "" : ":", guid >> shift & 0xffU);
  }
  return text;
}

}  // namespace ferry::host
