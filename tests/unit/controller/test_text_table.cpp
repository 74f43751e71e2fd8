#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "controller/cli/text_table.hpp"

namespace ferry {
namespace {

TEST(text_table, lines_up_columns_without_blanks_at_line_ends) {
  EXPECT_EQ(text_table({{"name"}, {"seconds", Align::right}, {"end"}},
                       {{"vm0", "1.5", ""}, {"a longer name", "10.25", "x"}}),
            "name           seconds  end\n"
            "vm0                1.5\n"
            "a longer name    10.25  x\n");
}

TEST(text_table, wraps_the_widest_column_at_blanks) {
  EXPECT_EQ(text_table({{"id"}, {"text"}}, {{"C1", "one two three four five"}, {"C2", "six"}}, 18),
            "id  text\n"
            "C1  one two three\n"
            "    four five\n"
            "C2  six\n");
}

TEST(text_table, cuts_words_that_are_longer_than_their_column) {
  EXPECT_EQ(text_table({{"path"}}, {{"hypervisor.attach_vf.per_gib x"}}, 12),
            "path\n"
            "hypervisor.a\n"
            "ttach_vf.per\n"
            "_gib x\n");
}

TEST(paragraph, indents_the_lines_after_the_first) {
  EXPECT_EQ(paragraph("C1 does not hold at all", 2, 12), "C1 does\n  not hold\n  at all\n");
}

TEST(text_table, counts_characters_and_not_bytes) {
  EXPECT_EQ(text_width("\xc2\xb5s"), 2U);
  EXPECT_EQ(text_table({{"a"}, {"b"}}, {{"\xc2\xb5s", "1"}, {"ms", "2"}}),
            "a   b\n\xc2\xb5s  1\nms  2\n");
}

TEST(text_table, keeps_lines_within_the_width) {
  const std::string text = text_table(
      {{"one"}, {"two"}, {"three"}},
      {{std::string(90, 'x'), "some words that go on and on and on and on and on", "short"}});
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(text_width(line), 100U) << line;
  EXPECT_EQ(std::count(text.begin(), text.end(), 'x'), 90);
}

}  // namespace
}  // namespace ferry
