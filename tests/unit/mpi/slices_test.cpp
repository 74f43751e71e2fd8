#include "core/mpi/slices.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <vector>

namespace ferry::mpi {
namespace {

/// `bytes` cut into random pieces, some of them empty.
template <class Piece, class Byte>
std::vector<Piece> random_pieces(Byte* bytes, std::size_t size) {
  std::vector<Piece> pieces;
  std::size_t at = 0;
  while (at < size) {
    const auto part = *rc::gen::inRange<std::size_t>(1, size - at + 1);
    pieces.push_back({bytes + at, 0});
    pieces.push_back({bytes + at, part});
    at += part;
  }
  return pieces;
}

std::vector<std::byte> random_bytes(std::size_t size) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < size; ++i) bytes.push_back(std::byte(*rc::gen::inRange(0, 256)));
  return bytes;
}

RC_GTEST_PROP(Slices, copies_between_pieces_are_those_between_wholes, ()) {
  const auto size = *rc::gen::inRange<std::size_t>(1, 60);
  const auto offset = *rc::gen::inRange<std::size_t>(0, size + 1);
  const auto count = *rc::gen::inRange<std::size_t>(0, size - offset + 1);
  const std::vector<std::byte> source = random_bytes(size);
  const auto from = random_pieces<ConstSlice>(source.data(), size);

  std::vector<std::byte> read(count);
  copy_from(from, offset, read.data(), count);
  RC_ASSERT(std::equal(read.begin(), read.end(), source.begin() + static_cast<long>(offset)));

  std::vector<std::byte> target(size);
  const auto into = random_pieces<Slice>(target.data(), size);
  copy_into(into, offset, read.data(), count);
  std::vector<std::byte> wanted(size);
  std::copy(read.begin(), read.end(), wanted.begin() + static_cast<long>(offset));
  RC_ASSERT(target == wanted);

  std::vector<std::byte> whole(size);
  copy_between(from, random_pieces<Slice>(whole.data(), size), size);
  RC_ASSERT(whole == source);

  std::vector<ConstSlice> part;
  cut(from, offset, count, part);
  std::vector<std::byte> joined;
  for (const ConstSlice& piece : part)
    joined.insert(joined.end(), piece.data, piece.data + piece.size);
  RC_ASSERT(joined == read);
}

TEST(Slices, phantom_pieces_have_sizes_and_no_bytes) {
  std::vector<std::byte> real(8, std::byte{7});
  const Slice into{real.data(), 8};
  const ConstSlice phantom{nullptr, 8};
  copy_between({&phantom, 1}, {&into, 1}, 8);
  EXPECT_EQ(real, std::vector<std::byte>(8, std::byte{7}));
  std::vector<ConstSlice> part;
  cut(std::span<const ConstSlice>(&phantom, 1), 3, 4, part);
  ASSERT_EQ(part.size(), 1);
  EXPECT_EQ(part[0].data, nullptr);
  EXPECT_EQ(part[0].size, 4);
}

}  // namespace
}  // namespace ferry::mpi
