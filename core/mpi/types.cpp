#include "core/mpi/types.hpp"

#include "core/units/check.hpp"

namespace ferry::mpi {
namespace {

/// Adds up the pieces, of which either all or none are phantom.
template <class Pieces>
std::size_t total_size(const Pieces& pieces) {
  std::size_t total = 0;
  for (const auto& piece : pieces) {
    check(piece.size == 0 || (piece.data == nullptr) == (pieces.front().data == nullptr),
          "the pieces of a buffer are all real or all phantom");
    total += piece.size;
  }
  return total;
}

}  // namespace

ConstBuffer::ConstBuffer(std::span<const ConstSlice> pieces)
    : one_{pieces.empty() ? nullptr : pieces.front().data, total_size(pieces)}, many_(pieces) {}

Buffer::Buffer(std::span<const Slice> pieces)
    : one_{pieces.empty() ? nullptr : pieces.front().data, total_size(pieces)}, many_(pieces) {}

}  // namespace ferry::mpi
