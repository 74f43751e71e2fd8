// Copies between buffers in pieces, and parts of them.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "core/mpi/types.hpp"

namespace ferry::mpi {

/// Writes `size` bytes from `from` to the buffer from `offset` on. Nothing if either is phantom.
void copy_into_many(std::span<const Slice> into, std::size_t offset, const std::byte* from,
                    std::size_t size);
inline void copy_into(std::span<const Slice> into, std::size_t offset, const std::byte* from,
                      std::size_t size) {
  if (from == nullptr) return;
  if (into.size() != 1 || offset > into.front().size) {
    return copy_into_many(into, offset, from, size);
  }
  const Slice& piece = into.front();
  if (piece.data == nullptr) return;
  std::memcpy(piece.data + offset, from, std::min(size, piece.size - offset));
}
/// Reads `size` bytes of the buffer from `offset` on.
void copy_from_many(std::span<const ConstSlice> from, std::size_t offset, std::byte* into,
                    std::size_t size);
inline void copy_from(std::span<const ConstSlice> from, std::size_t offset, std::byte* into,
                      std::size_t size) {
  if (from.size() != 1 || offset > from.front().size) {
    return copy_from_many(from, offset, into, size);
  }
  const ConstSlice& piece = from.front();
  if (piece.data == nullptr) return;
  std::memcpy(into, piece.data + offset, std::min(size, piece.size - offset));
}
/// As many bytes as both have, at most `size`.
void copy_between(std::span<const ConstSlice> from, std::span<const Slice> into, std::size_t size);
/// The pieces of `size` bytes from `offset` on, into `part`.
void cut(std::span<const ConstSlice> whole, std::size_t offset, std::size_t size,
         std::vector<ConstSlice>& part);
void cut(std::span<const Slice> whole, std::size_t offset, std::size_t size,
         std::vector<Slice>& part);

}  // namespace ferry::mpi
