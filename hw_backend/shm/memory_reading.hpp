// Reading the memory of another process with one copy, by the kernel ("cross memory attach").
#pragma once

#include <cstdint>
#include <span>

#include "core/ports/fabric.hpp"

namespace ferry::shm {

/// Where the Yama module restricts tracing, this process lets any process of its user read it.
void let_others_read_this_process();
/// Whether a process that is not an ancestor may read this one: tried once in each process. Not
/// where a seccomp filter, Yama or another user's rights forbid it.
[[nodiscard]] bool processes_can_read_each_other();

/// Copies from `offset` of `from` (addresses of `process`) into `into`, all of it. False if any of
/// it cannot be read or is beyond the end. Phantom memory has a size and no bytes.
[[nodiscard]] bool read_memory(std::int32_t process, std::span<const ConstSlice> from,
                               std::size_t offset, std::span<const Slice> into);
/// The same within this process.
[[nodiscard]] bool copy_memory(std::span<const ConstSlice> from, std::size_t offset,
                               std::span<const Slice> into);

}  // namespace ferry::shm
