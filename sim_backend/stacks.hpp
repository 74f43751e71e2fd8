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
/// below, which ends the process on overflow. A guard page costs two memory maps and Linux allows
/// 65,530 by default (vm.max_map_count), so later ones are cut from slabs and are only watched:
/// `intact` sees whether their lowest words were ever written.
class StackPool {
 public:
  static constexpr std::size_t default_guarded = 30'000;
  explicit StackPool(std::size_t guarded = default_guarded) : guarded_(guarded) {}
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

  std::size_t guarded_;
  std::size_t taken_ = 0;
  std::byte* slab_ = nullptr;
  std::size_t slab_left_ = 0;
  std::vector<Mapping> mappings_;
};

}  // namespace ferry
