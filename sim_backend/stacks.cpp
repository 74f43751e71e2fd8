#include "sim_backend/stacks.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "core/ports/world_error.hpp"
#include "core/units/check.hpp"
#include "sim_backend/sanitizers.hpp"

namespace ferry {
namespace {

constexpr std::size_t page = 4096;
/// A migration with its observers and messages uses some 10 KiB; unwinding an exception needs about
/// as much again. Sanitizers make frames several times larger.
constexpr std::size_t stack_size = std::size_t{sanitizers::active ? 512 : 128} * 1024;
/// Stacks begin at different places in their slots: else the busiest lines of all of them would
/// fall into the same few sets of the processor's caches.
constexpr std::size_t colors_size = std::size_t{32} * 1024;
constexpr std::size_t color_step = std::size_t{45} * 64;
constexpr std::size_t slot_size = page + stack_size + colors_size;
constexpr std::size_t stacks_per_slab = 64;
constexpr std::size_t watched_words = 8;
/// Linux 6.13's MADV_GUARD_INSTALL, which older headers do not name.
constexpr int guard_install = 102;

}  // namespace

StackPool::~StackPool() {
  for (const Mapping& mapping : mappings_) munmap(mapping.address, mapping.size);
}

std::byte* StackPool::map(std::size_t size) {
  void* const address = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (address == MAP_FAILED) {
    throw WorldError("no memory for the stack of task " + std::to_string(taken_ + 1) + ": " +
                     std::strerror(errno) +
                     "; run fewer moves at once, or raise the limit on memory");
  }
  mappings_.push_back({address, size});
  return static_cast<std::byte*>(address);
}

/// A mark costs 0.4 us and as much again when it goes, a map 2 us and 2 us (measured).
bool StackPool::guard(std::byte* address) {
  if (marks_ && madvise(address, page, guard_install) == 0) return true;
  marks_ = false;
  return mprotect(address, page, PROT_NONE) == 0;
}

Stack StackPool::take() {
  const bool guarded = taken_ < guarded_;
  if (slab_left_ == 0) {
    slab_ = map(stacks_per_slab * slot_size);
    slab_left_ = guarded ? std::min(stacks_per_slab, guarded_ - taken_) : stacks_per_slab;
  }
  --slab_left_;
  std::byte* const slot = slab_ + slab_left_ * slot_size;
  if (guarded && !guard(slot)) {
    throw WorldError("no guard page for the stack of task " + std::to_string(taken_ + 1) + ": " +
                     std::strerror(errno) + "; raise vm.max_map_count");
  }
  const std::size_t color = taken_ * color_step % colors_size;
  ++taken_;
  return {slot + page, slot_size - page - color, guarded};
}

bool StackPool::intact(const Stack& stack) {
  if (stack.guarded) return true;
  // Fresh anonymous memory reads as zero, so zero is the canary: writing another would allocate the
  // page.
  const auto* const words = static_cast<const std::uint64_t*>(stack.bottom);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < watched_words; ++i) seen |= words[i];
  return seen == 0;
}

}  // namespace ferry
