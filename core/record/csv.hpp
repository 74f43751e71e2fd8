// Comma-separated values as RFC 4180 has them, with lines that end in a line feed.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

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

  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  std::string text_;
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
