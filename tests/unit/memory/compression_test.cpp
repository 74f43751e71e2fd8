#include "core/memory/compression.hpp"

#include <gtest/gtest.h>

namespace ferry {
namespace {

constexpr CompressionCosts costs{.ratio = Ratio(0.25), .speed = Bandwidth::bytes_per_second(2e9)};
constexpr Bytes none(0);

TEST(CompressorTest, without_compression_memory_is_sent_as_it_is) {
  Compressor compressor(Compression::none, {}, Bytes(1000), none, Bytes(500));
  for (int round = 0; round < 4; ++round) {
    EXPECT_EQ(compressor.on_network(Bytes(1000)), Bytes(1000));
    EXPECT_TRUE(compressor.most().is_unlimited());
    compressor.round_done(Bytes(1000));
  }
}

TEST(CompressorTest, zstd_shrinks_every_page_but_not_the_marks_of_zero_pages) {
  // 3000 bytes of pages and 1000 of marks: 750 + 1000 of 4000.
  Compressor compressor(Compression::zstd, costs, Bytes(4000), Bytes(1000), Bytes(500));
  EXPECT_EQ(compressor.on_network(Bytes(4000)), Bytes(1750));
  compressor.round_done(Bytes(4000));
  EXPECT_EQ(compressor.on_network(Bytes(4000)), Bytes(1000));  // dirty pages are not zero
  EXPECT_TRUE(compressor.most().is_unlimited());  // the streams' bandwidth knows how fast they are
}

TEST(CompressorTest, xbzrle_fills_its_cache_in_the_second_round_and_uses_it_from_the_third_on) {
  const Bytes set = Bytes::mebi(64);
  Compressor compressor(Compression::xbzrle, costs, Bytes::gibi(1), none, set);
  EXPECT_EQ(compressor.on_network(Bytes(1000)), Bytes(1000));
  compressor.round_done(Bytes::gibi(1));
  EXPECT_EQ(compressor.on_network(Bytes(1000)), Bytes(1000));  // nothing is cached yet
  EXPECT_TRUE(compressor.most().is_unlimited());
  compressor.round_done(set);
  EXPECT_EQ(compressor.on_network(Bytes(1000)), Bytes(250));
  // Every page goes through the encoder: 2 GB/s of memory are 0.5 GB/s on the network.
  EXPECT_DOUBLE_EQ(compressor.most().to_bytes_per_second(), 0.5e9);
}

TEST(CompressorTest, xbzrle_finds_the_share_of_the_working_set_that_fits_into_its_cache) {
  Compressor compressor(Compression::xbzrle, costs, Bytes::gibi(1), none, Bytes::mebi(256));
  compressor.round_done(Bytes::gibi(1));
  compressor.round_done(Bytes::mebi(256));
  // A quarter is cached: 3/4 in full and 1/4 as a quarter.
  EXPECT_DOUBLE_EQ(compressor.factor(), 0.75 + 0.25 * 0.25);
  // Only that quarter is encoded.
  EXPECT_DOUBLE_EQ(compressor.most().to_bytes_per_second(), 2e9 * compressor.factor() / 0.25);
  compressor.round_done(Bytes::mebi(256));
  EXPECT_DOUBLE_EQ(compressor.factor(), 0.75 + 0.25 * 0.25);  // the cache is full
}

TEST(CompressorTest, xbzrle_caches_what_misses_until_the_working_set_is_there) {
  Compressor compressor(Compression::xbzrle, costs, Bytes(8000), none, Bytes(1000));
  compressor.round_done(Bytes(8000));
  compressor.round_done(Bytes(500));  // all miss
  EXPECT_DOUBLE_EQ(compressor.factor(), 0.5 + 0.5 * 0.25);
  compressor.round_done(Bytes(500));  // half of them miss: 250 more
  EXPECT_DOUBLE_EQ(compressor.factor(), 0.25 + 0.75 * 0.25);
}

TEST(CompressorTest, a_guest_that_dirties_nothing_finds_nothing_in_the_cache) {
  Compressor compressor(Compression::xbzrle, costs, Bytes(8000), none, none);
  compressor.round_done(Bytes(8000));
  compressor.round_done(Bytes(0));
  EXPECT_EQ(compressor.factor(), 1);
}

TEST(CompressorTest, after_the_switch_to_post_copy_memory_is_sent_as_it_is) {
  Compressor compressor(Compression::xbzrle, costs, Bytes(8000), none, Bytes(1000));
  compressor.round_done(Bytes(8000));
  compressor.round_done(Bytes(1000));
  ASSERT_LT(compressor.factor(), 1);
  compressor.stop();
  EXPECT_EQ(compressor.on_network(Bytes(1000)), Bytes(1000));
  EXPECT_TRUE(compressor.most().is_unlimited());
}

TEST(CompressorTest, something_is_always_sent) {
  const Compressor compressor(Compression::zstd, costs, Bytes(4000), none, none);
  EXPECT_EQ(compressor.on_network(Bytes(1)), Bytes(1));
  EXPECT_EQ(compressor.on_network(Bytes(0)), Bytes(0));
}

}  // namespace
}  // namespace ferry
