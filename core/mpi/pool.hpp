// Objects and blocks of bytes that are used again, so that messages allocate nothing once a rank
// has warmed up.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <vector>

namespace ferry::mpi {

/// Objects at places that stay. All are given back before the pool goes, or are dropped with it.
template <class T>
class Pool {
 public:
  /// With its initial values.
  [[nodiscard]] T& take() {
    T* object = last_;
    if (object != nullptr) {
      last_ = nullptr;
    } else {
      if (free_.empty()) grow();
      object = free_.back();
      free_.pop_back();
    }
    std::destroy_at(object);
    return *::new (static_cast<void*>(object)) T;  // what has no initial value stays untouched
  }
  void give_back(T& object) {
    if (last_ == nullptr) {
      last_ = &object;
    } else {
      free_.push_back(&object);
    }
  }
  [[nodiscard]] std::size_t in_use() const {
    return made_ - free_.size() - (last_ == nullptr ? 0 : 1);
  }

 private:
  void grow() {
    const std::size_t count = std::clamp<std::size_t>(made_, 4, 256);
    chunks_.push_back(std::make_unique<T[]>(count));
    for (std::size_t i = count; i-- > 0;) free_.push_back(&chunks_.back()[i]);
    made_ += count;
  }

  T* last_ = nullptr;  ///< the one that was given back last, if it is free
  std::vector<std::unique_ptr<T[]>> chunks_;
  std::vector<T*> free_;  ///< the others
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

/// Bytes that are kept for later: small ones in place, where the rest of what keeps them is.
template <std::size_t size_in_place>
class KeptBody {
 public:
  KeptBody() {}  // NOLINT(modernize-use-equals-default): leaves the bytes as they are
  KeptBody(const KeptBody&) = delete;
  KeptBody& operator=(const KeptBody&) = delete;

  /// Null if there are none.
  [[nodiscard]] const std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  /// Room for them. There were none, and `size` is not zero.
  [[nodiscard]] std::byte* make(BlockPool& blocks, std::size_t size) {
    size_ = size;
    data_ = size <= size_in_place ? in_place_ : blocks.take(size);
    return data_;
  }
  void drop(BlockPool& blocks) {
    if (data_ != nullptr && data_ != in_place_) blocks.give_back(data_, size_);
    data_ = nullptr;
  }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::byte in_place_[size_in_place];
};

}  // namespace ferry::mpi
