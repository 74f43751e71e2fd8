// Copies between buffers in pieces, and parts of them.
#pragma once

#include <span>
#include <vector>

#include "core/mpi/types.hpp"

namespace ferry::mpi {

/// Writes `size` bytes from `from` to the buffer from `offset` on. Nothing if either is phantom.
void copy_into(std::span<const Slice> into, std::size_t offset, const std::byte* from,
               std::size_t size);
/// Reads `size` bytes of the buffer from `offset` on.
void copy_from(std::span<const ConstSlice> from, std::size_t offset, std::byte* into,
               std::size_t size);
/// As many bytes as both have, at most `size`.
void copy_between(std::span<const ConstSlice> from, std::span<const Slice> into, std::size_t size);
/// The pieces of `size` bytes from `offset` on, into `part`.
void cut(std::span<const ConstSlice> whole, std::size_t offset, std::size_t size,
         std::vector<ConstSlice>& part);
void cut(std::span<const Slice> whole, std::size_t offset, std::size_t size,
         std::vector<Slice>& part);

}  // namespace ferry::mpi
