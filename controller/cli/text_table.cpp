#include "controller/cli/text_table.hpp"

#include <algorithm>
#include <cstddef>

#include "core/units/check.hpp"

namespace ferry {
namespace {

constexpr std::size_t between = 2;
constexpr std::size_t narrowest = 8;  ///< a column is not made narrower to save space

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

/// The first `width` characters; `text` loses them.
std::string take_characters(std::string_view& text, std::size_t width) {
  std::size_t end = 0;
  for (std::size_t count = 0; end < text.size(); ++end) {
    if (!continues_character(text[end]) && count++ == width) break;
  }
  std::string taken(text.substr(0, end));
  text.remove_prefix(end);
  return taken;
}

std::vector<std::string> wrap(std::string_view text, std::size_t width) {
  std::vector<std::string> lines(1);
  while (!text.empty()) {
    const std::size_t blank = text.find(' ');
    std::string_view word = text.substr(0, blank);
    text.remove_prefix(blank == std::string_view::npos ? text.size() : blank + 1);
    if (!lines.back().empty() && text_width(lines.back()) + 1 + text_width(word) <= width) {
      lines.back() += ' ';
      lines.back() += word;
      continue;
    }
    if (!lines.back().empty()) lines.emplace_back();
    while (text_width(word) > width) {
      lines.back() = take_characters(word, width);
      lines.emplace_back();
    }
    lines.back() = word;
  }
  return lines;
}

/// Narrows the widest column until a line fits, or all are narrow.
void fit(std::vector<std::size_t>& widths, std::size_t width) {
  std::size_t sum = between * (widths.size() - 1);
  for (const std::size_t column : widths) sum += column;
  while (sum > width) {
    const auto widest = std::max_element(widths.begin(), widths.end());
    if (*widest <= narrowest) return;
    --*widest;
    --sum;
  }
}

}  // namespace

std::size_t text_width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !continues_character(c); }));
}

std::string paragraph(std::string_view text, std::size_t indent, std::size_t width) {
  std::string result;
  for (const std::string& line : wrap(text, width - indent)) {
    if (!result.empty()) result.append(indent, ' ');
    result += line + '\n';
  }
  return result;
}

std::string text_table(const std::vector<TextColumn>& columns,
                       const std::vector<std::vector<std::string>>& rows, std::size_t width) {
  check(!columns.empty(), "a table has columns");
  std::vector<std::size_t> widths;
  for (const TextColumn& column : columns) widths.push_back(text_width(column.title));
  for (const auto& row : rows) {
    check(row.size() == columns.size(), "a row has a field for each column");
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], text_width(row[i]));
    }
  }
  fit(widths, width);

  std::string text;
  const auto add = [&](const std::vector<std::string>& fields) {
    std::vector<std::vector<std::string>> wrapped;
    std::size_t height = 0;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      wrapped.push_back(wrap(fields[i], widths[i]));
      height = std::max(height, wrapped.back().size());
    }
    for (std::size_t line = 0; line < height; ++line) {
      std::string out;
      for (std::size_t i = 0; i < wrapped.size(); ++i) {
        const std::string field = line < wrapped[i].size() ? wrapped[i][line] : "";
        const std::string padding(widths[i] - text_width(field), ' ');
        out += columns[i].align == Align::right ? padding + field : field + padding;
        out.append(between, ' ');
      }
      out.erase(out.find_last_not_of(' ') + 1);
      text += out + '\n';
    }
  };
  std::vector<std::string> titles;
  for (const TextColumn& column : columns) titles.push_back(column.title);
  add(titles);
  for (const auto& row : rows) add(row);
  return text;
}

}  // namespace ferry
