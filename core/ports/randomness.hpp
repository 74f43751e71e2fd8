// Named random streams. A stream depends on the seed and its name alone, so adding a draw anywhere
// changes no other draw.
#pragma once

#include <cstdint>
#include <string_view>

namespace ferry {

/// One reproducible sequence (splitmix64: Steele, Lea, Flood, OOPSLA 2014). The same on every machine.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, std::string_view name);
  std::uint64_t next();
  /// In [0, 1), 53 random bits.
  double next_unit();
  /// In [0, bound) without bias; `bound` > 0.
  std::uint64_t next_below(std::uint64_t bound);
  /// Standard normal (Box-Muller, one draw of two used).
  double next_normal();

 private:
  std::uint64_t state_;
};

/// Stable hash of a text (FNV-1a, 64 bits), for seeds of study cells and stream names.
std::uint64_t stable_hash(std::string_view text);

}  // namespace ferry
