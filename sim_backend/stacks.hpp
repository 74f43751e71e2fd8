// Stacks of fibers: virtual memory that is touched only as far as it is used.
#pragma once

#include <cstddef>
#include <vector>

namespace ferry {

struct Stack {
  void* bottom = nullptr;  ///< lowest usable address
  std::size_t size = 0;
  bool guarded = false;  ///< the page below ends the process when it is written
};

/// Hands out stacks; they live as long as the pool. The first `guarded` of them have a guard page
/// below, which ends the process on overflow. Before Linux 6.13 a guard page costs two memory maps,
/// of which 65,530 are allowed by default (vm.max_map_count), so later ones are cut from slabs and
/// are only watched: `intact` sees whether their lowest words were ever written.
class StackPool {
 public:
  static constexpr std::size_t default_guarded = 30'000;
  /// How a guard page is made: as a mark in the page table where the system knows such, or always
  /// as a memory map.
  enum class Guards { marks, maps };
  explicit StackPool(std::size_t guarded = default_guarded, Guards guards = Guards::marks)
      : guarded_(guarded), marks_(guards == Guards::marks) {}
  ~StackPool();
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;

  /// Throws `WorldError` if the system gives no more memory maps.
  [[nodiscard]] Stack take();
  /// False once a stack without a guard page was written to its end.
  [[nodiscard]] static bool intact(const Stack& stack);

 private:
  struct Mapping {
    void* address;
    std::size_t size;
  };
  std::byte* map(std::size_t size);
  /// False, with `errno`, if the system refuses.
  bool guard(std::byte* address);

  std::size_t guarded_;
  std::size_t taken_ = 0;
  bool marks_;  ///< as far as is known
  std::byte* slab_ = nullptr;
  std::size_t slab_left_ = 0;
  std::vector<Mapping> mappings_;
};

}  // namespace ferry
