// How memory is divided between ranks.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

namespace ferry::mpi {

/// Consecutive blocks of bytes, one per rank or per part of a vector.
class Blocks {
 public:
  static Blocks equal(std::size_t size) { return {size, 0, 1}; }
  /// `total` bytes as evenly as whole elements allow; the first blocks are the larger ones. What is
  /// left of `total` beyond whole elements is in none.
  static Blocks split(std::size_t count, std::size_t total, std::size_t element) {
    return {total / element / count, total / element % count, element};
  }
  static Blocks of(std::span<const std::size_t> sizes) {
    std::vector<std::size_t> offsets = {0};
    offsets.reserve(sizes.size() + 1);
    for (const std::size_t size : sizes) offsets.push_back(offsets.back() + size);
    return Blocks(std::move(offsets));
  }
  /// Block i begins at `offsets[i]`; the last one ends at the last offset.
  explicit Blocks(std::vector<std::size_t> offsets) : offsets_(std::move(offsets)) {}

  /// Offset of block `index` in bytes, which is the end of the block before.
  [[nodiscard]] std::size_t begin(std::size_t index) const {
    if (!offsets_.empty()) return offsets_[index];
    return (index * each_ + std::min(index, larger_)) * element_;
  }
  [[nodiscard]] std::size_t end(std::size_t index) const { return begin(index + 1); }
  [[nodiscard]] std::size_t size(std::size_t index) const { return end(index) - begin(index); }

 private:
  Blocks(std::size_t each, std::size_t larger, std::size_t element)
      : each_(each), larger_(larger), element_(element) {}
  std::size_t each_ = 0;     ///< elements of a block
  std::size_t larger_ = 0;   ///< the first so many blocks have one more
  std::size_t element_ = 1;  ///< bytes
  std::vector<std::size_t> offsets_;
};

}  // namespace ferry::mpi
