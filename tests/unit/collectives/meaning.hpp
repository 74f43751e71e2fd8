// What collectives mean, for a whole communicator at once.
#pragma once

#include <cstddef>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "core/mpi/collectives/call.hpp"

namespace ferry::mpi {

using ByteVector = std::vector<std::byte>;

/// What one rank sends and receives.
struct RankMemory {
  ByteVector input;
  ByteVector output;
};

/// int32, the element of all reductions in these tests, which are sums.
inline constexpr std::size_t sum_element = 4;

/// A collective of a whole communicator.
struct CollectiveCase {
  Collective kind = Collective::none;
  Rank ranks = 1;
  Rank root = 0;
  std::size_t size = 0;  ///< as `CollectiveShape::size`
  /// By rank (`v` ones, reduce_scatter), or by sender x ranks + receiver (alltoallv).
  std::vector<std::size_t> sizes;

  [[nodiscard]] std::string describe() const;
};

struct RegionSizes {
  std::size_t input = 0;
  std::size_t output = 0;
};

RegionSizes region_sizes(const CollectiveCase& test, Rank rank);
/// What `rank` sends to each (alltoallv), and what each sends to it.
std::vector<std::size_t> row(const CollectiveCase& test, Rank sender);
std::vector<std::size_t> column(const CollectiveCase& test, Rank receiver);

/// Random bytes everywhere.
std::vector<RankMemory> random_memory(const CollectiveCase& test, std::uint64_t seed);
/// What `rank` has in the end, from what all had before; nothing where the root alone has anything.
ByteVector expected_output(const CollectiveCase& test, const std::vector<RankMemory>& before,
                           Rank rank);

bool reduces(Collective kind);
bool has_root(Collective kind);
/// Whether each rank, or pair, has a size of its own.
bool by_sizes(Collective kind);
/// Sizes up to `largest` elements or bytes, for who goes `by_sizes`.
std::vector<std::size_t> uneven_sizes(const CollectiveCase& test, std::size_t largest,
                                      std::mt19937_64& random);

}  // namespace ferry::mpi
