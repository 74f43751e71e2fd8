// Room for many objects of one size, close together.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <vector>

namespace ferry {

/// Hands out slots of `size` bytes, each aligned to a cache line; a slot that was given back is the
/// next to be taken. What is used at every step of a simulation by tens of thousands of tasks
/// should lie in few pages: with 100,000 VMs it is page tables, not bytes, that each access waits
/// for. Slots live as long as this does.
class Slots {
 public:
  explicit Slots(std::size_t size) : size_((size + line - 1) / line * line) {}

  [[nodiscard]] void* take() {
    if (!free_.empty()) {
      void* const slot = free_.back();
      free_.pop_back();
      return slot;
    }
    if (left_ < size_) {
      slabs_.emplace_back(static_cast<std::byte*>(::operator new(slab, alignment)));
      left_ = slab;
    }
    left_ -= size_;
    return slabs_.back().get() + left_;
  }
  void give(void* slot) { free_.push_back(slot); }

 private:
  static constexpr std::size_t line = 64;
  static constexpr std::size_t slab = std::size_t{64} * 1024;
  static constexpr std::align_val_t alignment{4096};
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete(memory, alignment); }
  };

  std::size_t size_;
  std::size_t left_ = 0;  // of the last slab
  std::vector<std::unique_ptr<std::byte, Free>> slabs_;
  std::vector<void*> free_;
};

}  // namespace ferry
