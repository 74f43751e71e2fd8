#include "core/units/units.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace ferry {
namespace {

constexpr std::string_view time_hint = "a time with one of ns, us, ms, s, min, h";
constexpr std::string_view size_hint = "a size with one of B, KiB, MiB, GiB, TiB, KB, MB, GB, TB";
constexpr std::string_view speed_hint =
    "a bandwidth with one of bps, Kbps, Mbps, Gbps, Tbps, B/s, KB/s, MB/s, GB/s, TB/s, KiB/s, "
    "MiB/s, GiB/s, TiB/s";

TEST(Durations, are_read_with_every_unit) {
  const std::vector<std::pair<std::string, std::int64_t>> cases = {
      {"7ns", 7},
      {"2us", 2'000},
      {"300ms", 300'000'000},
      {"0.55s", 550'000'000},
      {"1.5 s", 1'500'000'000},
      {" 10min ", 600'000'000'000},
      {"2h", 7'200'000'000'000},
      {"0", 0},
      {"0s", 0},
      {"1e-3s", 1'000'000},
      {"2.5E2ms", 250'000'000},
      {"0.4ns", 0},
      {"0.5ns", 1},
      {"1.4999999999999999999999999ns", 1},
      {"9223372036.854775807s", std::numeric_limits<std::int64_t>::max()},
      {"0.000000000000000000000000000000000000000000000001h", 0},
      {"1e-100000000000s", 0},
  };
  for (const auto& [text, nanoseconds] : cases) {
    const Parsed<Duration> parsed = parse_duration(text);
    ASSERT_TRUE(parsed) << text << ": " << parsed.error().message;
    EXPECT_EQ(parsed->count_nanoseconds(), nanoseconds) << text;
  }
}

TEST(Durations, that_are_wrong_say_what_would_be_right) {
  const std::string hint(time_hint);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"5", "'5' has no unit; write " + hint},
      {"", "there is no value; write " + hint},
      {"5 parsecs", "'5 parsecs' has the unknown unit 'parsecs'; write " + hint},
      {"-5s", "'-5s' is negative; write " + hint + ", zero or more"},
      {"NaN", "'NaN' is not a number with a unit; write " + hint},
      {"inf", "'inf' is not a number with a unit; write " + hint},
      {"soon", "'soon' is not a number with a unit; write " + hint},
      {"1.s", "'1.s' is not a number with a unit; write " + hint},
      {".5s", "'.5s' is not a number with a unit; write " + hint},
      {"1e99s", "'1e99s' is too large; write " + hint},
      {"9223372036.854775808s", "'9223372036.854775808s' is too large; write " + hint},
      {"1e999999999999999999s", "'1e999999999999999999s' is too large; write " + hint},
      {std::string(100, '9') + "x",
       "'" + std::string(60, '9') + "...' has the unknown unit 'x'; write " + hint},
  };
  for (const auto& [text, message] : cases) {
    const Parsed<Duration> parsed = parse_duration(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().message, message);
  }
}

TEST(Durations, are_written_in_the_largest_unit_that_reads_well) {
  EXPECT_EQ(to_text(Duration::zero()), "0s");
  EXPECT_EQ(to_text(Duration::nanoseconds(999)), "999ns");
  EXPECT_EQ(to_text(Duration::nanoseconds(1'500)), "1.5us");
  EXPECT_EQ(to_text(Duration::milliseconds(300)), "300ms");
  EXPECT_EQ(to_text(Duration::milliseconds(1'500)), "1.5s");
  EXPECT_EQ(to_text(Duration::milliseconds(800'000)), "800s");
  EXPECT_EQ(to_text(Duration::milliseconds(7'200'000)), "2h");
  EXPECT_EQ(to_text(-Duration::milliseconds(250)), "-250ms");
  EXPECT_EQ(to_text(Duration::max()), "9223372036.854775807s");
}

TEST(Durations, from_doubles_round_and_saturate) {
  EXPECT_EQ(Duration::seconds(0.1).count_nanoseconds(), 100'000'000);
  EXPECT_EQ(Duration::seconds(1e-10).count_nanoseconds(), 0);
  EXPECT_EQ(Duration::seconds(6e-10).count_nanoseconds(), 1);
  EXPECT_EQ(Duration::seconds(1e300), Duration::max());
  EXPECT_EQ(Duration::seconds(std::nan("")), Duration::max());
  EXPECT_EQ(Duration::seconds(-1e300), -Duration::max());
  EXPECT_EQ(Duration::milliseconds(3) * 0.5, Duration::microseconds(1'500));
}

TEST(Durations, become_the_nearest_number_of_seconds) {
  EXPECT_EQ(Duration::milliseconds(2'380).to_seconds(), 2.38);
  EXPECT_EQ(Duration::nanoseconds(1).to_seconds(), 1e-9);
}

TEST(Sizes, are_read_in_powers_of_1024_and_of_1000) {
  const std::vector<std::pair<std::string, std::uint64_t>> cases = {
      {"1B", 1},
      {"1KiB", 1024},
      {"1.5MiB", 1'572'864},
      {"4GiB", 1ULL << 32U},
      {"2TiB", 1ULL << 41U},
      {"1KB", 1'000},
      {"64MB", 64'000'000},
      {"2GB", 2'000'000'000},
      {"1TB", 1'000'000'000'000},
      {"0", 0},
      {"0.3B", 0},
      {"18446744073709551615B", ~0ULL},
  };
  for (const auto& [text, count] : cases) {
    const Parsed<Bytes> parsed = parse_bytes(text);
    ASSERT_TRUE(parsed) << text << ": " << parsed.error().message;
    EXPECT_EQ(parsed->count(), count) << text;
  }
}

TEST(Sizes, that_are_wrong_say_what_would_be_right) {
  const std::string hint(size_hint);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"4", "'4' has no unit; write " + hint},
      {"4gb", "'4gb' has the unknown unit 'gb'; write " + hint},
      {"-1GiB", "'-1GiB' is negative; write " + hint + ", zero or more"},
      {"18446744073709551616B", "'18446744073709551616B' is too large; write " + hint},
  };
  for (const auto& [text, message] : cases) {
    const Parsed<Bytes> parsed = parse_bytes(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().message, message);
  }
}

TEST(Bandwidths, are_bits_with_bps_and_bytes_with_a_slash) {
  const std::vector<std::pair<std::string, double>> cases = {
      {"56Gbps", 7e9},           {"10 Gbps", 1.25e9}, {"8bps", 1}, {"20MB/s", 20e6},
      {"1GiB/s", 1'073'741'824}, {"1.1GB/s", 1.1e9},  {"0", 0},    {"1e-400B/s", 0},
  };
  for (const auto& [text, speed] : cases) {
    const Parsed<Bandwidth> parsed = parse_bandwidth(text);
    ASSERT_TRUE(parsed) << text << ": " << parsed.error().message;
    EXPECT_DOUBLE_EQ(parsed->to_bytes_per_second(), speed) << text;
  }
}

TEST(Bandwidths, that_are_wrong_say_what_would_be_right) {
  const std::string hint(speed_hint);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"20MB", "'20MB' has the unknown unit 'MB'; write " + hint},
      {"20", "'20' has no unit; write " + hint},
      {"1e400GB/s", "'1e400GB/s' is too large; write " + hint},
      {"1e308TB/s", "'1e308TB/s' is too large; write " + hint},
      {"-1B/s", "'-1B/s' is negative; write " + hint + ", zero or more"},
  };
  for (const auto& [text, message] : cases) {
    const Parsed<Bandwidth> parsed = parse_bandwidth(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().message, message);
  }
}

TEST(Bandwidths, are_written_briefly) {
  EXPECT_EQ(to_text(Bandwidth::bytes_per_second(7e9)), "7GB/s");
  EXPECT_EQ(to_text(Bandwidth::bytes_per_second(1.1e9)), "1.1GB/s");
  EXPECT_EQ(to_text(Bandwidth::bytes_per_second(0)), "0B/s");
  EXPECT_EQ(to_text(Bandwidth::unlimited()), "unlimited");
}

TEST(Ratios, are_percent_or_plain) {
  EXPECT_DOUBLE_EQ(parse_ratio("20%")->value(), 0.2);
  EXPECT_DOUBLE_EQ(parse_ratio("0.2")->value(), 0.2);
  EXPECT_DOUBLE_EQ(parse_ratio("1e-2 %")->value(), 1e-4);
  EXPECT_EQ(to_text(Ratio(0.2)), "20%");
  EXPECT_EQ(to_text(Ratio(0)), "0%");
  EXPECT_EQ(parse_ratio("half").error().message,
            "'half' is not a share; write a share such as 20% or 0.2");
  EXPECT_EQ(parse_ratio("-20%").error().message,
            "'-20%' is negative; write a share such as 20% or 0.2, zero or more");
  EXPECT_EQ(parse_ratio("5GiB").error().message,
            "'5GiB' is not a share; write a share such as 20% or 0.2");
  EXPECT_EQ(parse_ratio("").error().message, "there is no value; write a share such as 20% or 0.2");
}

TEST(Quantities, combine_with_rounding_and_without_overflow) {
  const Bandwidth speed = Bandwidth::bytes_per_second(1e9);
  EXPECT_EQ(speed * Duration::milliseconds(500), Bytes(500'000'000));
  EXPECT_EQ(speed * -Duration::milliseconds(500), Bytes(0));
  EXPECT_EQ(Bytes(2'000'000'000) / speed, Duration::milliseconds(2'000));
  EXPECT_EQ(Bytes(1) / Bandwidth(), Duration::max());
  EXPECT_EQ(Bytes(0) / Bandwidth(), Duration::zero());
  EXPECT_EQ(Bytes(5) / Bandwidth::unlimited(), Duration::zero());
  EXPECT_EQ(Bytes(3) / Bandwidth::bytes_per_second(1e-300), Duration::max());
  EXPECT_DOUBLE_EQ((Bytes(10) / Duration::milliseconds(1'000)).to_bytes_per_second(), 10);
  EXPECT_DOUBLE_EQ((Bytes(10) / Duration::zero()).to_bytes_per_second(), 0);
  EXPECT_EQ(Bytes(10) * 0.25, Bytes(3));  // 2.5, to the nearest
  EXPECT_EQ(Bytes(~0ULL) * 2.0, Bytes(~0ULL));
  EXPECT_EQ(Bytes(10) * -1.0, Bytes(0));
}

TEST(CsvSeconds, have_nine_decimals) {
  EXPECT_EQ(csv_seconds(Duration::milliseconds(1'500)), "1.500000000");
  EXPECT_EQ(csv_seconds(Duration::nanoseconds(7)), "0.000000007");
  EXPECT_EQ(csv_seconds(-Duration::nanoseconds(7)), "-0.000000007");
  EXPECT_EQ(csv_seconds(Duration::zero()), "0.000000000");
}

// Properties: what is written is read back exactly.
TEST(Texts, of_every_duration_are_read_back) {
  EXPECT_TRUE(rc::check([](std::uint64_t bits) {
    const Duration value = Duration::nanoseconds(static_cast<std::int64_t>(bits >> 1U));
    RC_ASSERT(parse_duration(to_text(value)).value() == value);
  }));
}
TEST(Texts, of_every_size_are_read_back) {
  EXPECT_TRUE(rc::check([](std::uint64_t count, std::uint8_t shift) {
    const Bytes value(count << (shift % 64U));
    RC_ASSERT(parse_bytes(to_text(value)).value() == value);
  }));
}
TEST(Texts, of_every_bandwidth_are_read_back) {
  EXPECT_TRUE(rc::check([](double number) {
    const Bandwidth value = Bandwidth::bytes_per_second(std::fabs(number));
    RC_PRE(std::isfinite(number));
    RC_ASSERT(parse_bandwidth(to_text(value)).value() == value);
  }));
}
TEST(Texts, of_every_ratio_are_read_back) {
  EXPECT_TRUE(rc::check([](double number) {
    const Ratio value(std::fabs(number));
    RC_PRE(std::isfinite(number * 100));
    RC_ASSERT(parse_ratio(to_text(value)).value() == value);
  }));
}
TEST(Parsers, take_any_bytes_without_harm) {
  EXPECT_TRUE(rc::check([](const std::string& text) {
    for (const bool good : {parse_duration(text).has_value(), parse_bytes(text).has_value(),
                            parse_bandwidth(text).has_value(), parse_ratio(text).has_value()}) {
      RC_TAG(good);
    }
  }));
}

}  // namespace
}  // namespace ferry
