#include "core/mpi/checksum.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <vector>

namespace ferry::mpi {
namespace {

std::uint64_t sum_in_one_piece(const std::vector<std::byte>& bytes) {
  Checksum sum;
  sum.add(bytes);
  return sum.value();
}

std::vector<std::byte> bytes_of(const std::vector<std::uint8_t>& values) {
  std::vector<std::byte> bytes;
  for (const std::uint8_t value : values) bytes.push_back(std::byte{value});
  return bytes;
}

RC_GTEST_PROP(Checksum, is_the_same_however_the_bytes_are_cut,
              (const std::vector<std::vector<std::uint8_t>>& pieces)) {
  Checksum sum;
  std::vector<std::byte> whole;
  for (const auto& piece : pieces) {
    const std::vector<std::byte> bytes = bytes_of(piece);
    sum.add(bytes);
    whole.insert(whole.end(), bytes.begin(), bytes.end());
  }
  RC_ASSERT(sum.value() == sum_in_one_piece(whole));
}

RC_GTEST_PROP(Checksum, changes_with_every_bit, ()) {
  const auto size = *rc::gen::inRange<std::size_t>(1, 200);
  std::vector<std::byte> bytes = bytes_of(
      *rc::gen::container<std::vector<std::uint8_t>>(size, rc::gen::arbitrary<std::uint8_t>()));
  const std::uint64_t before = sum_in_one_piece(bytes);
  const auto bit = *rc::gen::inRange<std::size_t>(0, 8 * size);
  bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  RC_ASSERT(sum_in_one_piece(bytes) != before);
}

TEST(Checksum, of_nothing_and_of_phantoms_is_zero_and_zeros_count) {
  EXPECT_EQ(Checksum().value(), 0);
  const ConstSlice phantom{nullptr, 100};
  EXPECT_EQ(checksum_of(std::span<const ConstSlice>(&phantom, 1)), 0);
  EXPECT_NE(sum_in_one_piece(std::vector<std::byte>(8)),
            sum_in_one_piece(std::vector<std::byte>(9)));
  EXPECT_NE(sum_in_one_piece(std::vector<std::byte>(32)), 0);
}

TEST(Checksum, of_a_header_changes_with_all_that_it_says_but_what_is_renewed) {
  PacketHeader header;
  const std::uint64_t plain = checksum_of(header, RankId{1});
  EXPECT_NE(checksum_of(header, RankId{2}), plain);
  const auto differs = [&](auto change) {
    PacketHeader other = header;
    change(other);
    return checksum_of(other, RankId{1}) != plain;
  };
  EXPECT_TRUE(differs([](PacketHeader& h) { h.kind = 1; }));
  EXPECT_TRUE(differs([](PacketHeader& h) { h.flags = 1; }));
  EXPECT_TRUE(differs([](PacketHeader& h) { h.source = 1; }));
  EXPECT_TRUE(differs([](PacketHeader& h) { h.context = 1; }));
  EXPECT_TRUE(differs([](PacketHeader& h) { h.tag = 1; }));
  EXPECT_TRUE(differs([](PacketHeader& h) { h.sequence = 1; }));
  EXPECT_TRUE(differs([](PacketHeader& h) { h.size = 1; }));
  EXPECT_TRUE(differs([](PacketHeader& h) { h.key = 1; }));
  EXPECT_TRUE(differs([](PacketHeader& h) { h.more = 1; }));
  EXPECT_FALSE(differs([](PacketHeader& h) { h.credits = 1; }));
}

}  // namespace
}  // namespace ferry::mpi
