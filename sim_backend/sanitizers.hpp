// Tells the address and thread sanitizers of switches between stacks; nothing without them.
#pragma once

#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FERRY_ADDRESS_SANITIZER 1
#endif
#if __has_feature(thread_sanitizer)
#define FERRY_THREAD_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define FERRY_ADDRESS_SANITIZER 1
#endif
#if defined(__SANITIZE_THREAD__)
#define FERRY_THREAD_SANITIZER 1
#endif

#ifdef FERRY_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef FERRY_THREAD_SANITIZER
#include <sanitizer/tsan_interface.h>
#endif

namespace ferry::sanitizers {

inline constexpr bool active =
#if defined(FERRY_ADDRESS_SANITIZER) || defined(FERRY_THREAD_SANITIZER)
    true;
#else
    false;
#endif

/// Memory that held stacks goes back: what the sanitizer noted of their frames is void.
inline void forget_frames([[maybe_unused]] const void* address, [[maybe_unused]] std::size_t size) {
#ifdef FERRY_ADDRESS_SANITIZER
  __asan_unpoison_memory_region(address, size);
#endif
}

/// One per stack that is switched to or from.
class StackNote {
 public:
  /// Of a stack that is about to be entered for the first time.
  void create([[maybe_unused]] const void* bottom, [[maybe_unused]] std::size_t size) {
#ifdef FERRY_ADDRESS_SANITIZER
    bottom_ = bottom;
    size_ = size;
#endif
#ifdef FERRY_THREAD_SANITIZER
    fiber_ = __tsan_create_fiber(0);
#endif
  }
  void destroy() {
#ifdef FERRY_THREAD_SANITIZER
    if (fiber_ != nullptr) __tsan_destroy_fiber(fiber_);
    fiber_ = nullptr;
#endif
  }
  /// Right before control goes from this stack to `to`; `forever` if it never comes back.
  void leave([[maybe_unused]] StackNote& to, [[maybe_unused]] bool forever = false) {
#ifdef FERRY_ADDRESS_SANITIZER
    __sanitizer_start_switch_fiber(forever ? nullptr : &fake_stack_, to.bottom_, to.size_);
#endif
#ifdef FERRY_THREAD_SANITIZER
    if (fiber_ == nullptr) fiber_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to.fiber_, 0);
#endif
  }
  /// Right after control came from `from` to this stack.
  void arrive([[maybe_unused]] StackNote& from) {
#ifdef FERRY_ADDRESS_SANITIZER
    __sanitizer_finish_switch_fiber(fake_stack_, &from.bottom_, &from.size_);
#endif
  }

 private:
#ifdef FERRY_ADDRESS_SANITIZER
  void* fake_stack_ = nullptr;
  const void* bottom_ = nullptr;
  std::size_t size_ = 0;
#endif
#ifdef FERRY_THREAD_SANITIZER
  void* fiber_ = nullptr;
#endif
};

}  // namespace ferry::sanitizers
