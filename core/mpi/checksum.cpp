#include "core/mpi/checksum.hpp"

#include <algorithm>

namespace ferry::mpi {
namespace {

std::uint64_t word_at(const std::byte* bytes) {
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

template <class Pieces>
std::uint64_t checksum_of_pieces(const Pieces& pieces) {
  Checksum sum;
  for (const auto& piece : pieces) {
    if (piece.data == nullptr) continue;
    sum.add({piece.data, piece.size});
  }
  return sum.value();
}

}  // namespace

void Checksum::Lanes::add(const std::byte* block) {
  add(word_at(block), word_at(block + 8), word_at(block + 16), word_at(block + 24));
}

void Checksum::add(std::span<const std::byte> bytes) {
  if (bytes.empty()) return;
  const std::size_t have = size_ % block_size;
  size_ += bytes.size();
  if (have != 0) {
    const std::size_t taken = std::min(block_size - have, bytes.size());
    std::memcpy(pending_ + have, bytes.data(), taken);
    bytes = bytes.subspan(taken);
    if (have + taken < block_size) return;
    lanes_.add(pending_);
  }
  while (bytes.size() >= block_size) {
    lanes_.add(bytes.data());
    bytes = bytes.subspan(block_size);
  }
  if (!bytes.empty()) std::memcpy(pending_, bytes.data(), bytes.size());
}

std::uint64_t Checksum::value() const {
  if (size_ == 0) return 0;
  const std::size_t have = size_ % block_size;
  Lanes lanes = lanes_;
  if (have != 0) {
    std::byte block[block_size] = {};
    std::memcpy(block, pending_, have);
    lanes.add(block);
  }
  return lanes.value(size_);
}

std::uint64_t checksum_of_many(std::span<const ConstSlice> pieces) {
  return checksum_of_pieces(pieces);
}

std::uint64_t checksum_of_many(std::span<const Slice> pieces) { return checksum_of_pieces(pieces); }

}  // namespace ferry::mpi
