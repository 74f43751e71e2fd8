// Checks on what travels: of the bytes of a message, and of the packet that carries them.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "core/ports/fabric.hpp"
#include "core/ports/types.hpp"

namespace ferry::mpi {

/// Folds two words into one: the halves of their product, added by exclusive or.
[[nodiscard]] inline std::uint64_t fold(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
}

/// Of bytes that come piece by piece; the same however they are cut. Not cryptographic: it finds
/// bytes that are wrong, missing or in another order.
class Checksum {
 public:
  void add(std::span<const std::byte> bytes);
  [[nodiscard]] std::uint64_t value() const;

  static constexpr std::size_t block_size = 32;
  /// The same of 8 bytes.
  [[nodiscard]] static std::uint64_t of_number(const std::byte* bytes) {
    if (bytes == nullptr) return 0;
    std::uint64_t word = 0;
    std::memcpy(&word, bytes, sizeof word);
    Lanes lanes;
    lanes.add(word, 0, 0, 0);
    return lanes.value(sizeof word);
  }
  /// Of at most a block, at once; zero if it is phantom.
  [[nodiscard]] static std::uint64_t of_block(const std::byte* bytes, std::size_t size) {
    if (bytes == nullptr || size == 0) return 0;
    std::uint64_t words[block_size / 8] = {};
    std::memcpy(words, bytes, size);
    Lanes lanes;
    lanes.add(words[0], words[1], words[2], words[3]);
    return lanes.value(size);
  }

 private:
  struct Lanes {
    std::uint64_t first = 0x9ae1'6a3b'2f90'404f;
    std::uint64_t second = 0xc3a5'c85c'97cb'3127;
    void add(std::uint64_t a, std::uint64_t b, std::uint64_t c, std::uint64_t d) {
      first = fold(a ^ 0xa076'1d64'78bd'642f, b ^ first);
      second = fold(c ^ 0xe703'7ed1'a0b4'28db, d ^ second);
    }
    void add(const std::byte* block);
    [[nodiscard]] std::uint64_t value(std::uint64_t size) const {
      return fold(first ^ size, second ^ 0x8ebc'6af0'9c88'c6e3);
    }
  };
  Lanes lanes_;
  std::uint64_t size_ = 0;
  std::byte pending_[block_size] = {};
};

/// Of any pieces.
[[nodiscard]] std::uint64_t checksum_of_many(std::span<const ConstSlice> pieces);
[[nodiscard]] std::uint64_t checksum_of_many(std::span<const Slice> pieces);

/// Of one piece; zero if it is phantom.
[[nodiscard]] inline std::uint64_t checksum_of_piece(const ConstSlice& piece) {
  if (piece.size == 8) [[likely]] {  // a number
    return Checksum::of_number(piece.data);
  }
  if (piece.size <= Checksum::block_size) return Checksum::of_block(piece.data, piece.size);
  return checksum_of_many({&piece, 1});
}

/// Zero if the pieces are phantom.
template <class Pieces>
[[nodiscard]] std::uint64_t checksum_of(const Pieces& pieces) {
  if (pieces.size() == 1 && pieces.front().size <= Checksum::block_size) {
    return Checksum::of_block(pieces.front().data, pieces.front().size);
  }
  return checksum_of_many(pieces);
}

/// Of what a packet says: the pair of ranks, its sequence, size, tag and the rest of its header
/// apart from `checksum` and `credits`.
[[nodiscard]] inline std::uint64_t checksum_of(const PacketHeader& header, RankId to) {
  const std::uint64_t pair = std::uint64_t{header.source} << 32U | to.index;
  const std::uint64_t envelope =
      std::uint64_t{header.context} << 32U | static_cast<std::uint32_t>(header.tag);
  const std::uint64_t what = std::uint64_t{header.kind} << 16U | header.flags;
  std::uint64_t sum = fold(pair ^ 0xa076'1d64'78bd'642f, header.sequence ^ 0xe703'7ed1'a0b4'28db);
  sum = fold(sum ^ envelope, header.size ^ 0x8ebc'6af0'9c88'c6e3);
  return fold(sum ^ header.key, header.more ^ what ^ 0x5899'65cc'7537'4cc3);
}

}  // namespace ferry::mpi
