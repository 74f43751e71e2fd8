#include "core/mpi/slices.hpp"

#include <algorithm>
#include <cstring>

namespace ferry::mpi {
namespace {

/// Calls `visit(piece, offset in it, bytes)` for the bytes from `offset` on.
template <class Piece, class Visit>
void for_range(std::span<const Piece> pieces, std::size_t offset, std::size_t size, Visit&& visit) {
  for (const Piece& piece : pieces) {
    if (size == 0) return;
    if (offset >= piece.size) {
      offset -= piece.size;
      continue;
    }
    const std::size_t bytes = std::min(size, piece.size - offset);
    visit(piece, offset, bytes);
    size -= bytes;
    offset = 0;
  }
}

template <class Piece>
void cut_pieces(std::span<const Piece> whole, std::size_t offset, std::size_t size,
                std::vector<Piece>& part) {
  part.clear();
  for_range(whole, offset, size, [&](const Piece& piece, std::size_t at, std::size_t bytes) {
    part.push_back({piece.data == nullptr ? nullptr : piece.data + at, bytes});
  });
}

}  // namespace

void copy_into_many(std::span<const Slice> into, std::size_t offset, const std::byte* from,
                    std::size_t size) {
  for_range(into, offset, size, [&](const Slice& piece, std::size_t at, std::size_t bytes) {
    if (piece.data != nullptr) std::memcpy(piece.data + at, from, bytes);
    from += bytes;
  });
}

void copy_from_many(std::span<const ConstSlice> from, std::size_t offset, std::byte* into,
                    std::size_t size) {
  for_range(from, offset, size, [&](const ConstSlice& piece, std::size_t at, std::size_t bytes) {
    if (piece.data != nullptr) std::memcpy(into, piece.data + at, bytes);
    into += bytes;
  });
}

void copy_between(std::span<const ConstSlice> from, std::span<const Slice> into, std::size_t size) {
  std::size_t offset = 0;
  for_range(from, 0, size, [&](const ConstSlice& piece, std::size_t at, std::size_t bytes) {
    copy_into(into, offset, piece.data == nullptr ? nullptr : piece.data + at, bytes);
    offset += bytes;
  });
}

void cut(std::span<const ConstSlice> whole, std::size_t offset, std::size_t size,
         std::vector<ConstSlice>& part) {
  cut_pieces(whole, offset, size, part);
}

void cut(std::span<const Slice> whole, std::size_t offset, std::size_t size,
         std::vector<Slice>& part) {
  cut_pieces(whole, offset, size, part);
}

}  // namespace ferry::mpi
