// Whole numbers as systems write them into files: decimal, or hexadecimal after 0x.
#pragma once

#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

namespace ferry {

/// None if `text` is anything more or less than a numeral, or names a number that is too large.
template <class Number>
[[nodiscard]] std::optional<Number> number_of(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x")) {
    text.remove_prefix(2);
    base = 16;
  }
  Number number = 0;
  const char* const end = text.data() + text.size();
  const auto [read, error] = std::from_chars(text.data(), end, number, base);
  if (error != std::errc() || read != end) return std::nullopt;
  return number;
}

}  // namespace ferry
