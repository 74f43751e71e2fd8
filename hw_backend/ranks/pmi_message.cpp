#include "hw_backend/ranks/pmi_message.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/units/check.hpp"

namespace ferry::ranks {
namespace {

bool is_plain(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
         c == '-' || c == '_' || c == ':' || c == '/' || c == ',';
}

}  // namespace

std::optional<std::string_view> PmiMessage::find(std::string_view key) const {
  for (const auto& [name, value] : values) {
    if (name == key) return value;
  }
  return std::nullopt;
}

std::optional<int> PmiMessage::number(std::string_view key) const {
  const std::optional<std::string_view> text = find(key);
  if (!text || text->empty() || text->size() > 9) return std::nullopt;
  int number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return number;
}

std::optional<PmiMessage> parse_pmi(std::string_view line) {
  if (!line.empty() && line.back() == '\n') line.remove_suffix(1);
  if (line.size() > longest_pmi_line || line.find('\n') != std::string_view::npos) {
    return std::nullopt;
  }
  PmiMessage message;
  bool first = true;
  while (!line.empty()) {
    const std::size_t end = std::min(line.find(' '), line.size());
    const std::string_view word = line.substr(0, end);
    line.remove_prefix(std::min(end + 1, line.size()));
    if (word.empty()) continue;
    const std::size_t equals = word.find('=');
    // Launchers put sentences into `msg`: words without a key go on with it.
    if (equals == std::string_view::npos) {
      if (first) return std::nullopt;
      continue;
    }
    const std::string_view key = word.substr(0, equals);
    const std::string_view value = word.substr(equals + 1);
    if (key.empty()) return std::nullopt;
    if (first) {
      if (key != "cmd" || value.empty()) return std::nullopt;
      message.command = value;
      first = false;
      continue;
    }
    if (message.values.size() == most_pmi_values) return std::nullopt;
    message.values.emplace_back(key, value);
  }
  if (first) return std::nullopt;
  return message;
}

std::string to_line(const PmiMessage& message) {
  std::string line = "cmd=" + message.command;
  for (const auto& [key, value] : message.values) line += fmt::format(" {}={}", key, value);
  check(line.find('\n') == std::string::npos && line.size() < longest_pmi_line,
        "a message of PMI is one line of some length");
  return line + '\n';
}

std::string to_pmi_value(std::string_view text) {
  if (text.empty()) return "%";
  std::string value;
  for (const char c : text) {
    if (is_plain(c)) {
      value += c;
    } else {
      value += fmt::format("%{:02x}", static_cast<unsigned char>(c));
    }
  }
  return value;
}

std::optional<std::string> from_pmi_value(std::string_view value) {
  if (value == "%") return std::string();
  std::string text;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i] != '%') {
      text += value[i];
      continue;
    }
    unsigned byte = 0;
    const char* const digits = value.data() + i + 1;
    if (value.size() - i < 3) return std::nullopt;
    const auto [end, error] = std::from_chars(digits, digits + 2, byte, 16);
    if (error != std::errc() || end != digits + 2) return std::nullopt;
    text += static_cast<char>(byte);
    i += 2;
  }
  return text;
}

}  // namespace ferry::ranks
