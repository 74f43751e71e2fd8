#include "core/scenario/yaml_tree.hpp"

#include <gtest/gtest.h>

#include "files.hpp"

namespace ferry {
namespace {

struct Parsed {
  bool good = false;
  YamlNode root;
  std::string errors;
};
Parsed parse(std::string_view text) {
  Parsed parsed;
  Report report;
  const std::uint32_t source = report.add_source("f", SourceKind::scenario);
  parsed.good = parse_yaml(text, source, parsed.root, report);
  parsed.errors = to_lines(report.take());
  return parsed;
}

TEST(YamlTree, knows_the_place_of_every_key_and_value) {
  const Parsed parsed = parse("a: 1\nb:\n  - x: y\n    z: \"q\"\n");
  ASSERT_TRUE(parsed.good) << parsed.errors;
  const YamlEntry& b = parsed.root.entries.at(1);
  EXPECT_EQ(b.key_place.line, 2U);
  EXPECT_EQ(b.key_place.column, 1U);
  const YamlEntry& z = b.value.items.at(0).entries.at(1);
  EXPECT_EQ(z.key_place.line, 4U);
  EXPECT_EQ(z.key_place.column, 5U);
  EXPECT_EQ(z.value.place.column, 8U);
  EXPECT_TRUE(z.value.quoted);
  EXPECT_FALSE(b.value.items.at(0).entries.at(0).value.quoted);
}

TEST(YamlTree, keeps_scalars_as_they_are_written) {
  const Parsed parsed = parse("[010, 1e3, yes, 0x1F, ~, null, 'null', \"a\\tb\"]");
  ASSERT_TRUE(parsed.good) << parsed.errors;
  EXPECT_EQ(parsed.root.items[0].text, "010");
  EXPECT_EQ(parsed.root.items[1].text, "1e3");
  EXPECT_EQ(parsed.root.items[2].text, "yes");
  EXPECT_EQ(parsed.root.items[3].text, "0x1F");
  EXPECT_TRUE(parsed.root.items[4].is_null());
  EXPECT_TRUE(parsed.root.items[5].is_null());
  EXPECT_EQ(parsed.root.items[6].text, "null");
  EXPECT_EQ(parsed.root.items[7].text, "a\tb");
}

TEST(YamlTree, repeats_what_an_alias_names) {
  const Parsed parsed = parse("a: &x {k: [1, 2]}\nb: *x\nc: &y v\nd: *y\n");
  ASSERT_TRUE(parsed.good) << parsed.errors;
  EXPECT_EQ(to_flow_text(parsed.root), "{a: {k: [1, 2]}, b: {k: [1, 2]}, c: v, d: v}");
}

TEST(YamlTree, repeats_by_aliases_no_more_than_so_many_values) {
  const std::string hundred = [] {
    std::string list = "[x";
    for (int i = 1; i < 100; ++i) list += ",x";
    return list + "]";
  }();  // 1 + 100 values
  std::string text = "- &a " + hundred + "\n- &b [*a";
  for (int i = 1; i < 45; ++i) text += ", *a";
  text += "]\n";
  // b repeats 45 x 101 values, and each of these aliases b's 4,546: 20 are 90,920 more.
  for (int i = 0; i < 20; ++i) text += "- *b\n";
  const Parsed parsed = parse(text);
  EXPECT_TRUE(parsed.good) << parsed.errors;
  EXPECT_EQ(parse(text + "- *b\n").errors,
            "f:23:3: aliases repeat more than 100000 values; write groups with `count` instead of "
            "repeating so much\n");
}

TEST(YamlTree, refuses_what_is_nested_too_deeply_wherever_the_depth_comes_from) {
  const std::string hint =
      "nested deeper than 32 levels; no key of these files needs more than a few\n";
  EXPECT_EQ(parse(std::string(1U << 20U, '[')).errors, "f:1:33: " + hint);
  EXPECT_EQ(parse("a: " + std::string(100, '{')).errors, "f:1:36: " + hint);
  std::string dashes;
  for (int i = 0; i < 200'000; ++i) dashes += "- ";
  EXPECT_EQ(parse(dashes).errors, "f:1:65: " + hint);
  std::string questions;
  for (int i = 0; i < 5'000; ++i) questions += "? ";
  EXPECT_FALSE(parse(questions).good);
  // Each bracket is closed inside a quotation mark, which a count of bytes cannot see.
  std::string hidden;
  for (int i = 0; i < 600; ++i) hidden += "[\"]\", ";
  hidden += std::string(600, ']');
  EXPECT_EQ(parse(hidden).errors, "f:1:193: " + hint);
  // 31 levels and one more by an alias.
  EXPECT_EQ(parse("- &a [[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]\n- [[[[[[[[[[[[[[[*a]]]]]]]]]]]]]]]\n")
                .errors,
            "f:2:18: " + hint);
}

TEST(YamlTree, reads_brackets_inside_of_words) {
  std::string text = "text: see";
  for (int i = 0; i < 100; ++i) text += " a[1";
  EXPECT_TRUE(parse(text + "\n").good);
}

TEST(YamlTree, finds_a_quotation_mark_that_is_never_closed) {
  EXPECT_EQ(parse("a: \"b\nc: d\n").errors,
            "f:1:4: this quotation mark is never closed; write the one that ends the text\n");
  EXPECT_EQ(parse("a: 'it''s\n").errors,
            "f:1:4: this quotation mark is never closed; write the one that ends the text\n");
  EXPECT_TRUE(parse("a: 'it''s'\nb: \"\\\"\"\nc: |\n  a \" b\n").good);
}

TEST(YamlTree, accepts_a_byte_order_mark_and_line_ends_of_windows) {
  const Parsed parsed = parse(
      "\xEF\xBB\xBF"
      "a: 1\r\nb: \"2\"\r\n");
  ASSERT_TRUE(parsed.good) << parsed.errors;
  EXPECT_EQ(to_flow_text(parsed.root), "{a: 1, b: 2}");
}

TEST(YamlTree, refuses_bytes_that_are_no_text) {
  for (const std::string bytes : {"\xC0\xAF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                                  "\xF8\x88\x80\x80", "\x80", "\xE2\x82", "\x01", "\x7F"}) {
    EXPECT_EQ(parse("a: " + bytes).good, false) << bytes;
  }
  for (const std::string bytes : {"\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x9A\xA2"}) {
    EXPECT_EQ(parse("a: " + bytes).good, true) << bytes;
  }
}

TEST(FlowText, is_read_back_as_the_same_tree) {
  for (const std::string text : {"{uniform: [1GiB, 2GiB]}",
                                 "[]",
                                 "{}",
                                 "null",
                                 "\"null\"",
                                 "\"a: b\"",
                                 "\"- x\"",
                                 "\"\"",
                                 "\"\\\"q\\\\\"",
                                 "\"line\\nline\"",
                                 "\"\\x01\"",
                                 "50%",
                                 "-1",
                                 "a.b-c_d/e",
                                 "\"...\"",
                                 "\"#\"",
                                 "\"a #b\"",
                                 "\"{\"",
                                 "\"\xC3\xA9\"",
                                 "[1, {a: [b]}]",
                                 "\"~\"",
                                 "\"%a\""}) {
    const Parsed first = parse(text);
    ASSERT_TRUE(first.good) << text << ": " << first.errors;
    const std::string written = to_flow_text(first.root);
    const Parsed second = parse(written);
    ASSERT_TRUE(second.good) << written << ": " << second.errors;
    EXPECT_EQ(to_flow_text(second.root), written);
    EXPECT_EQ(first.root.text, second.root.text);
    EXPECT_EQ(first.root.type, second.root.type);
  }
}

}  // namespace
}  // namespace ferry
