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

void Checksum::add_block(const std::byte* block) {
  lanes_[0] = fold(word_at(block) ^ 0xa076'1d64'78bd'642f, word_at(block + 8) ^ lanes_[0]);
  lanes_[1] = fold(word_at(block + 16) ^ 0xe703'7ed1'a0b4'28db, word_at(block + 24) ^ lanes_[1]);
}

void Checksum::add(std::span<const std::byte> bytes) {
  const std::size_t have = size_ % block_size;
  size_ += bytes.size();
  if (have != 0) {
    const std::size_t taken = std::min(block_size - have, bytes.size());
    std::memcpy(pending_ + have, bytes.data(), taken);
    bytes = bytes.subspan(taken);
    if (have + taken < block_size) return;
    add_block(pending_);
  }
  while (bytes.size() >= block_size) {
    add_block(bytes.data());
    bytes = bytes.subspan(block_size);
  }
  if (!bytes.empty()) std::memcpy(pending_, bytes.data(), bytes.size());
}

std::uint64_t Checksum::value() const {
  if (size_ == 0) return 0;
  Checksum last = *this;
  const std::size_t have = size_ % block_size;
  if (have != 0) {
    std::memset(last.pending_ + have, 0, block_size - have);
    last.add_block(last.pending_);
  }
  return fold(last.lanes_[0] ^ size_, last.lanes_[1] ^ 0x8ebc'6af0'9c88'c6e3);
}

std::uint64_t checksum_of(std::span<const ConstSlice> pieces) { return checksum_of_pieces(pieces); }

std::uint64_t checksum_of(std::span<const Slice> pieces) { return checksum_of_pieces(pieces); }

}  // namespace ferry::mpi
