#include "core/record/csv.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace ferry {

void append_csv_field(std::string& text, std::string_view field, bool first) {
  if (!first) text += ',';
  const auto needs_quotes = [](char c) { return c == ',' || c == '"' || c == '\r' || c == '\n'; };
  if (std::none_of(field.begin(), field.end(), needs_quotes)) {
    text += field;
    return;
  }
  text += '"';
  for (const char c : field) {
    if (c == '"') text += '"';
    text += c;
  }
  text += '"';
}

CsvText& CsvText::seconds(Duration time) {
  if (!first_) text_ += ',';
  first_ = false;
  append_csv_seconds(text_, time);
  return *this;
}

CsvText& CsvText::count(std::uint64_t count) {
  if (!first_) text_ += ',';
  first_ = false;
  text_ += fmt::format_int(count).c_str();
  return *this;
}

std::size_t CsvTable::column(std::string_view name) const {
  return static_cast<std::size_t>(std::find(header.begin(), header.end(), name) - header.begin());
}

tl::expected<CsvTable, std::string> read_csv(std::string_view text) {
  std::vector<std::vector<std::string>> rows;
  std::size_t line = 1;
  std::size_t i = 0;
  while (i < text.size()) {
    std::vector<std::string> row;
    const std::size_t row_line = line;
    for (bool row_done = false; !row_done;) {
      std::string field;
      if (i < text.size() && text[i] == '"') {
        ++i;
        for (;;) {
          if (i >= text.size()) {
            return tl::unexpected(fmt::format("line {}: a quote is never closed", row_line));
          }
          if (text[i] == '"' && i + 1 < text.size() && text[i + 1] == '"') {
            field += '"';
            i += 2;
          } else if (text[i] == '"') {
            ++i;
            break;
          } else {
            if (text[i] == '\n') ++line;
            field += text[i++];
          }
        }
        if (i < text.size() && text[i] != ',' && text[i] != '\n' && text[i] != '\r') {
          return tl::unexpected(fmt::format("line {}: text after a closing quote", line));
        }
      } else {
        while (i < text.size() && text[i] != ',' && text[i] != '\n' && text[i] != '\r') {
          field += text[i++];
        }
      }
      row.push_back(std::move(field));
      if (i < text.size() && text[i] == ',') {
        ++i;
        continue;
      }
      if (i < text.size() && text[i] == '\r') ++i;
      if (i < text.size() && text[i] == '\n') ++i;
      ++line;
      row_done = true;
    }
    if (!rows.empty() && row.size() != rows.front().size()) {
      return tl::unexpected(fmt::format("line {}: {} fields; {}, as in the header, would be right",
                                        row_line, row.size(), rows.front().size()));
    }
    rows.push_back(std::move(row));
  }
  if (rows.empty()) return tl::unexpected(std::string("line 1: no header"));
  CsvTable table;
  table.header = std::move(rows.front());
  rows.erase(rows.begin());
  table.rows = std::move(rows);
  return table;
}

}  // namespace ferry
