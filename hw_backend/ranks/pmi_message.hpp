// Messages of PMI-1, the protocol by which MPI processes and their launcher talk: lines of
// `key=value` between spaces, the first of which is `cmd=NAME` (MPICH, src/pmi/simple).
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ferry::ranks {

/// Bounds of what is read; launchers say less (Hydra: values of 1024 characters).
inline constexpr std::size_t longest_pmi_line = 8192;
inline constexpr std::size_t most_pmi_values = 64;

struct PmiMessage {
  std::string command;
  std::vector<std::pair<std::string, std::string>> values;  ///< without `cmd`; in their order

  /// Of the first value with this key; none if there is none.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view key) const;
  /// The same as a whole number of at most nine digits; none also if it is no number.
  [[nodiscard]] std::optional<int> number(std::string_view key) const;
  bool operator==(const PmiMessage&) const = default;
};

/// A line, with or without its end. None: it is no message, or too long.
[[nodiscard]] std::optional<PmiMessage> parse_pmi(std::string_view line);
/// The line with its end. Keys and values have no spaces, values are not empty.
[[nodiscard]] std::string to_line(const PmiMessage& message);

/// Text as a value: what PMI's separators would break, and `%`, becomes `%` and two digits; the
/// empty text becomes `%`.
[[nodiscard]] std::string to_pmi_value(std::string_view text);
/// None: no such value.
[[nodiscard]] std::optional<std::string> from_pmi_value(std::string_view value);

}  // namespace ferry::ranks
