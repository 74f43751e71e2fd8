#include "core/units/units.hpp"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <span>

namespace ferry {
namespace {

constexpr double nanoseconds_per_second = 1e9;
/// 2^63: the first double beyond the range of a signed 64-bit count.
constexpr double signed_range = 9223372036854775808.0;
/// 2^64
constexpr double unsigned_range = 18446744073709551616.0;

std::uint64_t round_to_count(double value) {
  if (std::isnan(value) || value <= 0) return 0;
  if (value >= unsigned_range) return std::numeric_limits<std::uint64_t>::max();
  return static_cast<std::uint64_t>(std::round(value));
}

/// One unit of a quantity: what a number in front of `name` is multiplied by.
struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::array<Unit, 6> time_units = {{{"ns", 1},
                                             {"us", 1'000},
                                             {"ms", 1'000'000},
                                             {"s", 1'000'000'000},
                                             {"min", 60'000'000'000},
                                             {"h", 3'600'000'000'000}}};
constexpr std::array<Unit, 9> size_units = {{{"B", 1},
                                             {"KiB", 1ULL << 10U},
                                             {"MiB", 1ULL << 20U},
                                             {"GiB", 1ULL << 30U},
                                             {"TiB", 1ULL << 40U},
                                             {"KB", 1'000},
                                             {"MB", 1'000'000},
                                             {"GB", 1'000'000'000},
                                             {"TB", 1'000'000'000'000}}};

struct SpeedUnit {
  std::string_view name;
  double bytes_per_second;
};
constexpr std::array<SpeedUnit, 14> speed_units = {{{"bps", 0.125},
                                                    {"Kbps", 125.0},
                                                    {"Mbps", 125e3},
                                                    {"Gbps", 125e6},
                                                    {"Tbps", 125e9},
                                                    {"B/s", 1.0},
                                                    {"KB/s", 1e3},
                                                    {"MB/s", 1e6},
                                                    {"GB/s", 1e9},
                                                    {"TB/s", 1e12},
                                                    {"KiB/s", 1024.0},
                                                    {"MiB/s", 1048576.0},
                                                    {"GiB/s", 1073741824.0},
                                                    {"TiB/s", 1099511627776.0}}};

/// "a time with one of ns, us, ms, s, min, h"
template <class Units>
std::string wanted(std::string_view kind, const Units& units) {
  std::string text = fmt::format("a {} with one of ", kind);
  for (std::size_t i = 0; i < units.size(); ++i) {
    if (i > 0) text += ", ";
    text += units[i].name;
  }
  return text;
}
std::string wanted_time() { return wanted("time", time_units); }
std::string wanted_size() { return wanted("size", size_units); }
std::string wanted_speed() { return wanted("bandwidth", speed_units); }
constexpr std::string_view wanted_ratio = "a share such as 20% or 0.2";

/// Quotes a user's text; a very long one is cut (at a character's start), so that messages stay
/// readable.
std::string quoted(std::string_view text) {
  constexpr std::size_t longest = 60;
  if (text.size() <= longest) return fmt::format("'{}'", text);
  std::size_t end = longest;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return fmt::format("'{}...'", text.substr(0, end));
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

/// A number as written, cut into its parts: digits, fraction, exponent; and what follows it.
struct Number {
  std::string_view digits;    ///< number alone, for conversion to a double
  std::string_view whole;     ///< before the point
  std::string_view fraction;  ///< behind the point
  int exponent = 0;
  std::string_view rest;  ///< the unit
};

/// Cuts `text` into number and unit; nothing if it does not start with a non-negative number.
std::optional<Number> cut(std::string_view text) {
  Number number;
  std::size_t at = 0;
  while (at < text.size() && is_digit(text[at])) ++at;
  number.whole = text.substr(0, at);
  if (at < text.size() && text[at] == '.') {
    const std::size_t start = ++at;
    while (at < text.size() && is_digit(text[at])) ++at;
    number.fraction = text.substr(start, at - start);
    if (number.fraction.empty()) return std::nullopt;
  }
  if (number.whole.empty()) return std::nullopt;
  if (at + 1 < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    std::size_t digit = at + 1;
    if (text[digit] == '-' || text[digit] == '+') ++digit;
    if (digit < text.size() && is_digit(text[digit])) {
      const bool negative = text[at + 1] == '-';
      int exponent = 0;
      while (digit < text.size() && is_digit(text[digit])) {
        if (exponent < 100'000) exponent = exponent * 10 + (text[digit] - '0');
        ++digit;
      }
      number.exponent = negative ? -exponent : exponent;
      at = digit;
    }
  }
  number.digits = text.substr(0, at);
  number.rest = trimmed(text.substr(at));
  return number;
}

enum class Beyond { no, yes };

/// `number` x `factor`, rounded half up, exactly (no floating point in between): what `to_text`
/// writes is read back as the same count. `beyond` says that it does not fit.
std::uint64_t scaled(const Number& number, std::uint64_t factor, Beyond& beyond) {
  using Wide = unsigned __int128;
  // 21 digits hold every 64-bit count; 10^21 x the largest factor (2^42) stays below 2^128.
  constexpr int most_digits = 21;
  Wide mantissa = 0;
  int taken = 0;
  int exponent = number.exponent;
  bool past_point = false;
  for (const std::string_view part : {number.whole, number.fraction}) {
    for (const char c : part) {
      if (taken < most_digits) {
        mantissa = mantissa * 10 + static_cast<unsigned>(c - '0');
        if (mantissa > 0) ++taken;
        if (past_point) --exponent;
      } else if (!past_point) {
        ++exponent;
      }
    }
    past_point = true;
  }
  beyond = Beyond::no;
  if (mantissa == 0) return 0;
  Wide value = mantissa * factor;
  constexpr Wide limit = std::numeric_limits<std::uint64_t>::max();
  for (; exponent > 0; --exponent) {
    if (value > limit) {
      beyond = Beyond::yes;
      return 0;
    }
    value *= 10;
  }
  Wide divisor = 1;
  for (; exponent < 0 && divisor <= value * 2; ++exponent) {
    if (divisor > (~Wide{0}) / 20) return 0;
    divisor *= 10;
  }
  if (exponent < 0) return 0;
  value = value / divisor + (value % divisor >= divisor - divisor / 2 ? (divisor > 1 ? 1 : 0) : 0);
  if (value > limit) {
    beyond = Beyond::yes;
    return 0;
  }
  return static_cast<std::uint64_t>(value);
}

tl::unexpected<UnitError> error(std::string message) {
  return tl::unexpected<UnitError>(UnitError{std::move(message)});
}

bool starts_like_a_number(std::string_view text) {
  return !text.empty() && (is_digit(text[0]) || (text[0] == '.' && text.size() > 1));
}

/// Why `text` holds no number at the start: negative, not finite, or no number at all.
std::string no_number(std::string_view text, std::string_view what_is_right) {
  if (text.empty()) return fmt::format("there is no value; write {}", what_is_right);
  if (text.front() == '-' && starts_like_a_number(text.substr(1))) {
    return fmt::format("{} is negative; write {}, zero or more", quoted(text), what_is_right);
  }
  return fmt::format("{} is not a number with a unit; write {}", quoted(text), what_is_right);
}

/// Integer quantities (times and sizes) share everything but their units.
tl::expected<std::uint64_t, UnitError> parse_count(std::string_view text,
                                                   std::span<const Unit> units,
                                                   const std::string& what_is_right) {
  const std::string_view clean = trimmed(text);
  if (clean == "0") return 0;
  const std::optional<Number> number = cut(clean);
  if (!number) return error(no_number(clean, what_is_right));
  if (number->rest.empty()) {
    return error(fmt::format("{} has no unit; write {}", quoted(clean), what_is_right));
  }
  for (const Unit& unit : units) {
    if (unit.name != number->rest) continue;
    Beyond beyond = Beyond::no;
    const std::uint64_t value = scaled(*number, unit.factor, beyond);
    if (beyond == Beyond::yes) {
      return error(fmt::format("{} is too large; write {}", quoted(clean), what_is_right));
    }
    return value;
  }
  return error(fmt::format("{} has the unknown unit {}; write {}", quoted(clean),
                           quoted(number->rest), what_is_right));
}

/// Finite value of the digits, or nothing if it is out of a double's range.
std::optional<double> to_double(const Number& number) {
  double value = 0;
  const char* end = number.digits.data() + number.digits.size();
  const auto result = std::from_chars(number.digits.data(), end, value);
  if (result.ec == std::errc::result_out_of_range) {
    return number.exponent < 0 ? std::optional<double>(0.0) : std::nullopt;
  }
  if (result.ec != std::errc() || result.ptr != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

/// `count` / 10^decimals without trailing zeros.
std::string decimal(std::uint64_t count, std::uint64_t unit, int decimals) {
  const std::uint64_t fraction = count % unit;
  std::string text = fmt::format("{}", count / unit);
  if (fraction == 0) return text;
  std::string digits = fmt::format("{:0{}}", fraction, decimals);
  digits.erase(digits.find_last_not_of('0') + 1);
  return text + "." + digits;
}

}  // namespace

Duration Duration::seconds(double value) {
  const double nanoseconds = value * nanoseconds_per_second;
  if (std::isnan(nanoseconds) || nanoseconds >= signed_range) return max();
  if (nanoseconds <= -signed_range) return -max();
  return Duration(static_cast<std::int64_t>(std::round(nanoseconds)));
}

Bytes operator*(Bytes a, double factor) {
  return Bytes(round_to_count(static_cast<double>(a.count()) * factor));
}

Bytes operator*(Bandwidth bandwidth, Duration time) {
  if (time <= Duration::zero()) return Bytes(0);
  return Bytes(round_to_count(bandwidth.to_bytes_per_second() * time.to_seconds()));
}

Duration operator/(Bytes amount, Bandwidth bandwidth) {
  if (amount.count() == 0 || bandwidth.is_unlimited()) return Duration::zero();
  if (bandwidth.to_bytes_per_second() <= 0) return Duration::max();
  return Duration::seconds(static_cast<double>(amount.count()) / bandwidth.to_bytes_per_second());
}

Bandwidth operator/(Bytes amount, Duration time) {
  if (time <= Duration::zero()) return {};
  return Bandwidth::bytes_per_second(static_cast<double>(amount.count()) / time.to_seconds());
}

Parsed<Duration> parse_duration(std::string_view text) {
  const auto count = parse_count(text, time_units, wanted_time());
  if (!count) return tl::unexpected<UnitError>(count.error());
  if (*count > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return error(fmt::format("{} is too large; write {}", quoted(trimmed(text)), wanted_time()));
  }
  return Duration::nanoseconds(static_cast<std::int64_t>(*count));
}

Parsed<Bytes> parse_bytes(std::string_view text) {
  const auto count = parse_count(text, size_units, wanted_size());
  if (!count) return tl::unexpected<UnitError>(count.error());
  return Bytes(*count);
}

Parsed<Bandwidth> parse_bandwidth(std::string_view text) {
  const std::string_view clean = trimmed(text);
  if (clean == "0") return Bandwidth();
  const std::optional<Number> number = cut(clean);
  if (!number) return error(no_number(clean, wanted_speed()));
  if (number->rest.empty()) {
    return error(fmt::format("{} has no unit; write {}", quoted(clean), wanted_speed()));
  }
  for (const SpeedUnit& unit : speed_units) {
    if (unit.name != number->rest) continue;
    const std::optional<double> value = to_double(*number);
    if (!value || !std::isfinite(*value * unit.bytes_per_second)) {
      return error(fmt::format("{} is too large; write {}", quoted(clean), wanted_speed()));
    }
    return Bandwidth::bytes_per_second(*value * unit.bytes_per_second);
  }
  return error(fmt::format("{} has the unknown unit {}; write {}", quoted(clean),
                           quoted(number->rest), wanted_speed()));
}

Parsed<Ratio> parse_ratio(std::string_view text) {
  const std::string_view clean = trimmed(text);
  if (clean.empty()) return error(fmt::format("there is no value; write {}", wanted_ratio));
  if (clean.front() == '-' && starts_like_a_number(clean.substr(1))) {
    return error(
        fmt::format("{} is negative; write {}, zero or more", quoted(clean), wanted_ratio));
  }
  const std::optional<Number> number = cut(clean);
  if (!number || !(number->rest.empty() || number->rest == "%")) {
    return error(fmt::format("{} is not a share; write {}", quoted(clean), wanted_ratio));
  }
  const std::optional<double> value = to_double(*number);
  if (!value) return error(fmt::format("{} is too large; write {}", quoted(clean), wanted_ratio));
  return Ratio(number->rest.empty() ? *value : *value / 100);
}

std::string to_text(Duration value) {
  const std::int64_t count = value.count_nanoseconds();
  const std::string sign = count < 0 ? "-" : "";
  const std::uint64_t size =
      count < 0 ? ~static_cast<std::uint64_t>(count) + 1 : static_cast<std::uint64_t>(count);
  if (size == 0) return "0s";
  constexpr std::uint64_t hour = 3'600'000'000'000;
  if (size % hour == 0) return fmt::format("{}{}h", sign, size / hour);
  if (size >= 1'000'000'000) return sign + decimal(size, 1'000'000'000, 9) + "s";
  if (size >= 1'000'000) return sign + decimal(size, 1'000'000, 6) + "ms";
  if (size >= 1'000) return sign + decimal(size, 1'000, 3) + "us";
  return fmt::format("{}{}ns", sign, size);
}

std::string to_text(Bytes value) {
  const std::uint64_t count = value.count();
  if (count == 0) return "0B";
  for (const std::string_view name : {"TiB", "TB", "GiB", "GB", "MiB", "MB", "KiB", "KB"}) {
    for (const Unit& unit : size_units) {
      if (unit.name == name && count % unit.factor == 0) {
        return fmt::format("{}{}", count / unit.factor, name);
      }
    }
  }
  return fmt::format("{}B", count);
}

std::string to_text(Bandwidth value) {
  if (value.is_unlimited()) return "unlimited";
  const double speed = value.to_bytes_per_second();
  for (const std::string_view name : {"TB/s", "GB/s", "MB/s", "KB/s"}) {
    for (const SpeedUnit& unit : speed_units) {
      if (unit.name != name || speed < unit.bytes_per_second) continue;
      std::string text = fmt::format("{:.15g}{}", speed / unit.bytes_per_second, name);
      const Parsed<Bandwidth> again = parse_bandwidth(text);
      if (again && *again == value) return text;
    }
  }
  return fmt::format("{}B/s", speed);
}

std::string to_text(Ratio value) {
  std::string percent = fmt::format("{:.15g}%", value.value() * 100);
  const Parsed<Ratio> again = parse_ratio(percent);
  if (again && *again == value) return percent;
  return fmt::format("{}", value.value());
}

std::string csv_seconds(Duration value) {
  std::string text;
  append_csv_seconds(text, value);
  return text;
}

void append_csv_seconds(std::string& to, Duration value) {
  const std::int64_t count = value.count_nanoseconds();
  const std::uint64_t size =
      count < 0 ? ~static_cast<std::uint64_t>(count) + 1 : static_cast<std::uint64_t>(count);
  // By hand: a run folder has tens of thousands of these, and a format string costs ten times as
  // much.
  std::array<char, 32> text;
  char* place = text.data() + text.size();
  std::uint64_t rest = size;
  for (int digit = 0; digit < 9; ++digit, rest /= 10) {
    *--place = static_cast<char>('0' + rest % 10);
  }
  *--place = '.';
  do {
    *--place = static_cast<char>('0' + rest % 10);
    rest /= 10;
  } while (rest > 0);
  if (count < 0) *--place = '-';
  to.append(place, text.data() + text.size());
}

}  // namespace ferry
