#include "core/scenario/host_layout.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>

#include "core/scenario/limits.hpp"

namespace ferry {

std::uint32_t count_of(std::string_view digits, std::uint32_t most) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool good = error == std::errc() && end == digits.data() + digits.size() &&
                    !digits.empty() && digits.front() != '0' && value <= most;
  return good ? value : 0;
}

namespace {

std::optional<Sockets> sockets_by_cores(std::string_view text) {
  const std::size_t x = text.find('x');
  if (x == std::string_view::npos) return std::nullopt;
  const Sockets sockets{count_of(text.substr(0, x), limits::sockets),
                        count_of(text.substr(x + 1), limits::cores)};
  if (sockets.count == 0 || sockets.cores == 0) return std::nullopt;
  return sockets;
}

}  // namespace

std::optional<Sockets> sockets_of(std::string_view text) {
  return text.find(':') == std::string_view::npos ? sockets_by_cores(text)
                                                  : sockets_of_description(text);
}

}  // namespace ferry
