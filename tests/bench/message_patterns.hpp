// What ranks do in the benchmarks of messages: the same on every side, jitter included, so that no
// side lives on ranks in lock-step.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ferry::bench {

enum class Pattern { ping_pong, allreduce, wavefront };
inline constexpr std::array<Pattern, 3> all_patterns = {Pattern::ping_pong, Pattern::allreduce,
                                                        Pattern::wavefront};
constexpr std::string_view to_name(Pattern pattern) {
  switch (pattern) {
    case Pattern::ping_pong: return "ping_pong";
    case Pattern::allreduce: return "allreduce";
    case Pattern::wavefront: return "wavefront";
  }
  return "?";
}

/// Ranks (a power of two) and how often each does its part.
struct Play {
  Pattern pattern = Pattern::ping_pong;
  int ranks = 2;
  int iterations = 1;
};

// The network of all sides: LogGP's L and o, and bandwidth.
inline constexpr std::int64_t latency_nanoseconds = 1'500;
inline constexpr std::int64_t overhead_nanoseconds = 200;
inline constexpr double bytes_per_second = 6e9;

/// Columns of the wavefront's grid: the power of two at or below the root.
constexpr int columns_of(int ranks) {
  int columns = 1;
  while (4 * columns * columns <= ranks) columns *= 2;
  return columns;
}

/// Nanoseconds that a rank computes in an iteration: from half of `mean` to one and a half.
constexpr std::int64_t jittered(std::int64_t mean, int rank, int iteration) {
  const auto mixed = (static_cast<std::uint32_t>(rank) * 2'654'435'761U) ^
                     (static_cast<std::uint32_t>(iteration) * 2'246'822'519U);
  return mean / 2 + static_cast<std::int64_t>((mixed >> 8U) % static_cast<std::uint32_t>(mean));
}

/// Messages that all ranks send together.
constexpr double messages_of(const Play& play) {
  const double each = static_cast<double>(play.iterations);
  const int columns = columns_of(play.ranks);
  const int rows = play.ranks / columns;
  int rounds = 0;
  while ((1 << rounds) < play.ranks) ++rounds;
  switch (play.pattern) {
    case Pattern::ping_pong: return each * play.ranks;
    case Pattern::allreduce: return each * play.ranks * rounds;
    case Pattern::wavefront: return each * ((columns - 1) * rows + (rows - 1) * columns);
  }
  return 0;
}

/// Plays the part of one rank. `Rank` has `send(to, bytes)`, `receive(from, bytes)`,
/// `exchange(peer, bytes)`, `compute(nanoseconds)` and `allreduce()` of 8 B.
template <class Rank>
void play_part(const Play& play, int rank, Rank& self) {
  const int columns = columns_of(play.ranks);
  const int column = rank % columns;
  const int row = rank / columns;
  const int rows = play.ranks / columns;
  for (int i = 0; i < play.iterations; ++i) {
    switch (play.pattern) {
      case Pattern::ping_pong:
        self.compute(jittered(200, rank, i));
        if (rank % 2 == 0) {
          self.send(rank + 1, 8);
          self.receive(rank + 1, 8);
        } else {
          self.receive(rank - 1, 8);
          self.send(rank - 1, 8);
        }
        break;
      case Pattern::allreduce:
        self.compute(jittered(1'000, rank, i));
        self.allreduce();
        break;
      case Pattern::wavefront:
        if (column > 0) self.receive(rank - 1, 1024);
        if (row > 0) self.receive(rank - columns, 1024);
        self.compute(jittered(5'000, rank, i));
        if (column + 1 < columns) self.send(rank + 1, 1024);
        if (row + 1 < rows) self.send(rank + columns, 1024);
        break;
    }
  }
}

/// Recursive doubling, for sides that have no collectives.
template <class Rank>
void exchange_by_doubling(int ranks, int rank, Rank& self) {
  for (int distance = 1; distance < ranks; distance *= 2) {
    self.send(rank ^ distance, 8);
    self.receive(rank ^ distance, 8);
  }
}

}  // namespace ferry::bench
