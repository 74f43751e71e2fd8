// Tables for terminals and logs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ferry {

enum class Align { left, right };

struct TextColumn {
  std::string title;
  Align align = Align::left;
};

/// Lines up rows under titles, two blanks between columns, no blanks at the ends of lines. If a
/// line would be longer than `width`, fields are wrapped at blanks, the widest columns first; a
/// word that is longer than its column is cut in pieces. Each row has as many fields as there are
/// columns. Ends with a line feed.
std::string text_table(const std::vector<TextColumn>& columns,
                       const std::vector<std::vector<std::string>>& rows, std::size_t width = 100);

/// One paragraph in lines of at most `width` columns, wrapped at blanks; lines after the first are
/// indented. Ends with a line feed.
std::string paragraph(std::string_view text, std::size_t indent = 2, std::size_t width = 100);

/// How many columns a text takes on a terminal: its UTF-8 characters.
std::size_t text_width(std::string_view text);

}  // namespace ferry
