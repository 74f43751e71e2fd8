// Strong types for the quantities that cross function boundaries. No bare number stands for a time,
// a size or a speed anywhere else in the project.
//
// Durations and points in time are whole nanoseconds: sums of phases are exact, output is the same
// on every machine, and neither NaN nor infinity exists. Range: about 292 years.
#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace ferry {

/// A span of time in nanoseconds; may be negative as the result of a subtraction.
class Duration {
 public:
  constexpr Duration() = default;
  static constexpr Duration nanoseconds(std::int64_t value) { return Duration(value); }
  static constexpr Duration microseconds(std::int64_t value) { return Duration(value * 1'000); }
  static constexpr Duration milliseconds(std::int64_t value) { return Duration(value * 1'000'000); }
  /// Rounds to the nearest nanosecond; values beyond the range (and NaN) become `max()`.
  static Duration seconds(double value);
  static constexpr Duration zero() { return Duration(0); }
  static constexpr Duration max() { return Duration(std::numeric_limits<std::int64_t>::max()); }

  [[nodiscard]] constexpr std::int64_t count_nanoseconds() const { return nanoseconds_; }
  [[nodiscard]] constexpr double to_seconds() const {
    return static_cast<double>(nanoseconds_) / 1e9;  // to the nearest: 2.38 s is 2.38
  }

  constexpr auto operator<=>(const Duration&) const = default;
  constexpr Duration operator-() const { return Duration(-nanoseconds_); }
  constexpr Duration& operator+=(Duration other) {
    nanoseconds_ += other.nanoseconds_;
    return *this;
  }
  constexpr Duration& operator-=(Duration other) {
    nanoseconds_ -= other.nanoseconds_;
    return *this;
  }
  friend constexpr Duration operator+(Duration a, Duration b) { return a += b; }
  friend constexpr Duration operator-(Duration a, Duration b) { return a -= b; }
  friend Duration operator*(Duration a, double factor) {
    return Duration::seconds(a.to_seconds() * factor);
  }
  friend constexpr double operator/(Duration a, Duration b) {
    return static_cast<double>(a.nanoseconds_) / static_cast<double>(b.nanoseconds_);
  }

 private:
  constexpr explicit Duration(std::int64_t value) : nanoseconds_(value) {}
  std::int64_t nanoseconds_ = 0;
};

/// A point on a world's clock: nanoseconds since that world began.
class TimePoint {
 public:
  constexpr TimePoint() = default;
  static constexpr TimePoint start() { return TimePoint(); }
  static constexpr TimePoint at(Duration since_start) { return TimePoint(since_start); }
  /// Later than every point in time: the deadline of a wait that has none.
  static constexpr TimePoint never() { return TimePoint(Duration::max()); }

  [[nodiscard]] constexpr Duration since_start() const { return since_start_; }
  [[nodiscard]] constexpr double to_seconds() const { return since_start_.to_seconds(); }

  constexpr auto operator<=>(const TimePoint&) const = default;
  /// Saturates at `never()`.
  friend constexpr TimePoint operator+(TimePoint a, Duration b) {
    const std::int64_t room =
        Duration::max().count_nanoseconds() - a.since_start_.count_nanoseconds();
    return b.count_nanoseconds() >= room ? never() : TimePoint(a.since_start_ + b);
  }
  friend constexpr TimePoint operator-(TimePoint a, Duration b) {
    return TimePoint(a.since_start_ - b);
  }
  friend constexpr Duration operator-(TimePoint a, TimePoint b) {
    return a.since_start_ - b.since_start_;
  }

 private:
  constexpr explicit TimePoint(Duration since_start) : since_start_(since_start) {}
  Duration since_start_;
};

/// An amount of memory or data in bytes.
class Bytes {
 public:
  constexpr Bytes() = default;
  constexpr explicit Bytes(std::uint64_t count) : count_(count) {}
  static constexpr Bytes kibi(std::uint64_t n) { return Bytes(n << 10U); }
  static constexpr Bytes mebi(std::uint64_t n) { return Bytes(n << 20U); }
  static constexpr Bytes gibi(std::uint64_t n) { return Bytes(n << 30U); }

  [[nodiscard]] constexpr std::uint64_t count() const { return count_; }
  [[nodiscard]] constexpr double to_gibi() const {
    return static_cast<double>(count_) / static_cast<double>(1ULL << 30U);
  }

  constexpr auto operator<=>(const Bytes&) const = default;
  constexpr Bytes& operator+=(Bytes other) {
    count_ += other.count_;
    return *this;
  }
  friend constexpr Bytes operator+(Bytes a, Bytes b) { return a += b; }
  /// Saturates at zero: an amount is never negative.
  friend constexpr Bytes operator-(Bytes a, Bytes b) {
    return Bytes(a.count_ > b.count_ ? a.count_ - b.count_ : 0);
  }
  /// Rounds to the nearest byte.
  friend Bytes operator*(Bytes a, double factor);

 private:
  std::uint64_t count_ = 0;
};

/// A speed in bytes per second; zero means "nothing moves", `unlimited()` that no limit is set.
class Bandwidth {
 public:
  constexpr Bandwidth() = default;
  static constexpr Bandwidth bytes_per_second(double value) { return Bandwidth(value); }
  static constexpr Bandwidth unlimited() {
    return Bandwidth(std::numeric_limits<double>::infinity());
  }

  [[nodiscard]] constexpr double to_bytes_per_second() const { return bytes_per_second_; }
  [[nodiscard]] constexpr bool is_unlimited() const {
    return bytes_per_second_ == std::numeric_limits<double>::infinity();
  }

  constexpr auto operator<=>(const Bandwidth&) const = default;
  friend constexpr Bandwidth operator*(Bandwidth a, double factor) {
    return Bandwidth(a.bytes_per_second_ * factor);
  }
  friend constexpr Bandwidth operator+(Bandwidth a, Bandwidth b) {
    return Bandwidth(a.bytes_per_second_ + b.bytes_per_second_);
  }
  friend constexpr Bandwidth operator/(Bandwidth a, double divisor) {
    return Bandwidth(a.bytes_per_second_ / divisor);
  }

 private:
  constexpr explicit Bandwidth(double value) : bytes_per_second_(value) {}
  double bytes_per_second_ = 0;
};

/// How much passes in `time` at `bandwidth`, rounded to the nearest byte.
Bytes operator*(Bandwidth bandwidth, Duration time);
/// How long `amount` takes at `bandwidth`; `Duration::max()` at zero bandwidth, zero when
/// unlimited.
Duration operator/(Bytes amount, Bandwidth bandwidth);
/// The mean speed of `amount` in `time`; zero if no time passed.
Bandwidth operator/(Bytes amount, Duration time);

/// A share or factor without unit: 0.2 is written `20%`.
class Ratio {
 public:
  constexpr Ratio() = default;
  constexpr explicit Ratio(double value) : value_(value) {}
  [[nodiscard]] constexpr double value() const { return value_; }
  constexpr auto operator<=>(const Ratio&) const = default;

 private:
  double value_ = 0;
};

/// A number of guest pages.
class Pages {
 public:
  static constexpr Bytes size() { return Bytes(4096); }  ///< x86-64 base page
  constexpr Pages() = default;
  constexpr explicit Pages(std::uint64_t count) : count_(count) {}
  /// Pages needed to hold `amount` (rounded up).
  static constexpr Pages holding(Bytes amount) {
    return Pages((amount.count() + size().count() - 1) / size().count());
  }
  [[nodiscard]] constexpr std::uint64_t count() const { return count_; }
  [[nodiscard]] constexpr Bytes bytes() const { return Bytes(count_ * size().count()); }
  constexpr auto operator<=>(const Pages&) const = default;

 private:
  std::uint64_t count_ = 0;
};

/// What is wrong with a text that should be a quantity, and what would be right; fits after
/// "PATH: " as in "'5' has no unit; write a time with one of ns, us, ms, s, min, h".
struct UnitError {
  std::string message;
};
template <class Quantity>
using Parsed = tl::expected<Quantity, UnitError>;

/// `300ms`, `0.55s`, `10min`, `2h`; units ns, us, ms, s, min, h. Negative values are refused; a
/// bare `0` is accepted.
Parsed<Duration> parse_duration(std::string_view text);
/// `4GiB`, `64MiB`, `2GB`; units B, KiB, MiB, GiB, TiB (powers of 1024), KB, MB, GB, TB (of 1000).
Parsed<Bytes> parse_bytes(std::string_view text);
/// `56Gbps` (bits), `20MB/s`, `1GiB/s` (bytes).
Parsed<Bandwidth> parse_bandwidth(std::string_view text);
/// `20%` or a plain number such as `0.2`.
Parsed<Ratio> parse_ratio(std::string_view text);

/// Exact text that the parsers above read back to the same value (`1.5s`, `4GiB`, `7GB/s`, `20%`).
std::string to_text(Duration value);
std::string to_text(Bytes value);
std::string to_text(Bandwidth value);
std::string to_text(Ratio value);

/// Seconds with exactly nine decimals ("1.500000000"): the form of every time in a CSV file.
std::string csv_seconds(Duration value);
/// The same, at the end of `text`.
void append_csv_seconds(std::string& text, Duration value);

}  // namespace ferry
