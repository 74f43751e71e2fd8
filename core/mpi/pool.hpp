// Objects and blocks of bytes that are used again, so that messages allocate nothing once a rank
// has warmed up.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace ferry::mpi {

/// Objects at places that stay. All are given back before the pool goes, or are dropped with it.
template <class T>
class Pool {
 public:
  /// With its initial values.
  [[nodiscard]] T& take() {
    if (free_.empty()) grow();
    T* object = free_.back();
    free_.pop_back();
    *object = T{};
    return *object;
  }
  void give_back(T& object) { free_.push_back(&object); }
  [[nodiscard]] std::size_t in_use() const { return made_ - free_.size(); }

 private:
  void grow() {
    const std::size_t count = std::clamp<std::size_t>(made_, 4, 256);
    chunks_.push_back(std::make_unique<T[]>(count));
    for (std::size_t i = count; i-- > 0;) free_.push_back(&chunks_.back()[i]);
    made_ += count;
  }

  std::vector<std::unique_ptr<T[]>> chunks_;
  std::vector<T*> free_;
  std::size_t made_ = 0;
};

/// Blocks of bytes, kept by size in powers of two; those above `largest_kept` are not kept.
class BlockPool {
 public:
  [[nodiscard]] std::byte* take(std::size_t size) {
    const std::size_t index = index_of(size);
    if (index >= kept) return new std::byte[size];
    std::vector<std::unique_ptr<std::byte[]>>& blocks = free_[index];
    if (blocks.empty()) return new std::byte[smallest << index];
    std::byte* block = blocks.back().release();
    blocks.pop_back();
    return block;
  }
  /// With the size that it was taken with.
  void give_back(std::byte* block, std::size_t size) {
    std::unique_ptr<std::byte[]> owned(block);
    const std::size_t index = index_of(size);
    if (index < kept) free_[index].push_back(std::move(owned));
  }

 private:
  static constexpr std::size_t smallest = 64;
  static constexpr std::size_t kept = 11;  ///< sizes: up to 64 KiB
  static std::size_t index_of(std::size_t size) {
    return size <= smallest ? 0 : static_cast<std::size_t>(std::bit_width((size - 1) / smallest));
  }
  std::array<std::vector<std::unique_ptr<std::byte[]>>, kept> free_;
};

}  // namespace ferry::mpi
