#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "core/record/csv.hpp"

namespace ferry {
namespace {

TEST(csv, quotes_only_what_needs_it) {
  struct Case {
    const char* field;
    const char* text;
  };
  for (const Case& c : {Case{"plain text", "plain text"}, Case{"", ""}, Case{"a,b", "\"a,b\""},
                        Case{"say \"no\"", "\"say \"\"no\"\"\""}, Case{"a\nb", "\"a\nb\""},
                        Case{"a\rb", "\"a\rb\""}}) {
    std::string text;
    append_csv_field(text, c.field, true);
    EXPECT_EQ(text, c.text);
  }
}

TEST(csv, what_was_written_is_read_back) {
  const bool holds = rc::check("tables survive", [] {
    const auto columns = *rc::gen::inRange<std::size_t>(1, 5);
    const auto character = rc::gen::element<char>('a', ',', '"', '\n', '\r', ' ', '0');
    const auto row = rc::gen::container<std::vector<std::string>>(
        columns, rc::gen::container<std::string>(character));
    const auto header = *row;
    const auto rows = *rc::gen::container<std::vector<std::vector<std::string>>>(row);
    CsvText csv(header);
    for (const auto& fields : rows) csv.row(fields);
    const auto table = read_csv(csv.text());
    RC_ASSERT(table.has_value());
    RC_ASSERT(table->header == header);
    RC_ASSERT(table->rows == rows);
  });
  EXPECT_TRUE(holds);
}

TEST(csv, reads_lines_that_end_in_carriage_returns_and_a_last_line_without_end) {
  const auto table = read_csv("a,b\r\n1,\"x\r\ny\"\r\n,");
  ASSERT_TRUE(table.has_value());
  EXPECT_EQ(table->rows, (std::vector<std::vector<std::string>>{{"1", "x\r\ny"}, {"", ""}}));
  EXPECT_EQ(table->column("b"), 1U);
  EXPECT_EQ(table->column("c"), 2U);
}

TEST(csv, says_what_is_wrong_with_a_table) {
  EXPECT_EQ(read_csv("").error(), "line 1: no header");
  EXPECT_EQ(read_csv("a,b\n1\n").error(), "line 2: 1 fields; 2, as in the header, would be right");
  EXPECT_EQ(read_csv("a\n\"1\n2\n").error(), "line 2: a quote is never closed");
  EXPECT_EQ(read_csv("a\n\"1\"2\n").error(), "line 2: text after a closing quote");
}

}  // namespace
}  // namespace ferry
