#include "core/ports/randomness.hpp"

#include <cmath>
#include <numbers>

namespace ferry {

std::uint64_t stable_hash(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3ULL;
  }
  return hash;
}

RandomStream::RandomStream(std::uint64_t seed, std::string_view name)
    : state_(seed ^ stable_hash(name)) {
  next();  // seeds and names that differ in one bit part here
}

std::uint64_t RandomStream::next() {
  state_ += 0x9e3779b97f4a7c15ULL;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31U);
}

double RandomStream::next_unit() { return static_cast<double>(next() >> 11U) * 0x1.0p-53; }

std::uint64_t RandomStream::next_below(std::uint64_t bound) {
  const std::uint64_t unbiased = -bound % bound;  // 2^64 mod bound
  for (;;) {
    const std::uint64_t value = next();
    if (value >= unbiased) return value % bound;
  }
}

double RandomStream::next_normal() {
  const double u = 1.0 - next_unit();  // in (0, 1]
  const double v = next_unit();
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

}  // namespace ferry
