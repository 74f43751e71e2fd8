// GUIDs of InfiniBand nodes and ports: 64 bits, written with the highest byte first.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ferry::host {

/// 16 hexadecimal digits, with colons between pairs or fours (as sysfs has them), or none.
[[nodiscard]] std::optional<std::uint64_t> parse_guid(std::string_view text);
/// 00:11:22:33:44:55:66:77
[[nodiscard]] std::string guid_text(std::uint64_t guid);
/// Zero and all ones say that there is none.
[[nodiscard]] constexpr bool is_guid(std::uint64_t guid) { return guid != 0 && guid + 1 != 0; }

}  // namespace ferry::host
