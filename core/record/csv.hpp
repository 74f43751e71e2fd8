// Comma-separated values as RFC 4180 has them, with lines that end in a line feed.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "core/units/units.hpp"

namespace ferry {

/// Appends one field, quoted if it holds a comma, a quote or a line break; `first` in its row: no
/// comma before.
void append_csv_field(std::string& text, std::string_view field, bool first);

/// Builds the text of one file.
class CsvText {
 public:
  explicit CsvText(std::initializer_list<std::string_view> header) { row(header); }
  explicit CsvText(const std::vector<std::string>& header) { row(header); }

  template <class Fields>
  void row(const Fields& fields) {
    bool first = true;
    for (const auto& field : fields) {
      append_csv_field(text_, field, first);
      first = false;
    }
    text_ += '\n';
  }
  void row(std::initializer_list<std::string_view> fields) {
    row<std::initializer_list<std::string_view>>(fields);
  }

  // A row field by field, for tables of many rows.
  CsvText& field(std::string_view field) {
    append_csv_field(text_, field, first_);
    first_ = false;
    return *this;
  }
  /// Nine decimals, as `csv_seconds` has them.
  CsvText& seconds(Duration time);
  CsvText& seconds(TimePoint time) { return seconds(time.since_start()); }
  CsvText& count(std::uint64_t count);
  /// Or an empty field.
  CsvText& seconds_if(bool there, Duration time) { return there ? seconds(time) : field({}); }
  CsvText& count_if(bool there, std::uint64_t number) { return there ? count(number) : field({}); }
  void end_row() {
    text_ += '\n';
    first_ = true;
  }

  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  std::string text_;
  bool first_ = true;  ///< the next field is the first of its row
};

/// A table read back: every row has as many fields as the header.
struct CsvTable {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;

  /// Position of a column; the header's size if there is none.
  [[nodiscard]] std::size_t column(std::string_view name) const;
};

/// Reads the text of a file. Error: a sentence with the line.
tl::expected<CsvTable, std::string> read_csv(std::string_view text);

}  // namespace ferry
