// Logs of ranks as bytes.
#include "hw_backend/ranks/rank_log_codec.hpp"

#include <gtest/gtest.h>

namespace ferry::ranks {
namespace {

mpi::RankLog example() {
  mpi::RankLog log;
  log.began = TimePoint::at(Duration::milliseconds(5));
  log.ended = TimePoint::at(Duration::milliseconds(50));
  log.traffic.send(17);
  log.traffic.call(mpi::Collective::alltoall, 99);
  log.longest_slice = Duration::microseconds(7);
  log.wrong_messages = 2;
  log.first_wrong = "rank 1: other bytes";
  for (std::uint32_t i = 0; i < 3; ++i) {
    log.samples.push_back(
        {1ULL << i, i, log.began + Duration::milliseconds(i), Duration::microseconds(i)});
  }
  return log;
}

TEST(RankLog, is_read_as_it_was_written_with_its_times_shifted) {
  const mpi::RankLog log = example();
  const Duration shift = Duration::milliseconds(3);
  const auto read = decode_rank_log(encode(log, shift));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->began, log.began + shift);
  EXPECT_EQ(read->ended, log.ended + shift);
  EXPECT_EQ(read->traffic, log.traffic);
  EXPECT_EQ(read->longest_slice, log.longest_slice);
  EXPECT_EQ(read->wrong_messages, log.wrong_messages);
  EXPECT_EQ(read->first_wrong, log.first_wrong);
  ASSERT_EQ(read->samples.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(read->samples[i].message_bytes, log.samples[i].message_bytes);
    EXPECT_EQ(read->samples[i].round, log.samples[i].round);
    EXPECT_EQ(read->samples[i].began, log.samples[i].began + shift);
    EXPECT_EQ(read->samples[i].took, log.samples[i].took);
  }
}

TEST(RankLog, is_none_if_bytes_are_missing_or_left) {
  std::vector<std::byte> bytes = encode(example(), Duration::zero());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_rank_log({bytes.data(), size})) << size;
  }
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(decode_rank_log(bytes));
}

TEST(RankLog, is_none_if_its_times_cannot_be_calculated_with) {
  const Duration beyond = Duration::nanoseconds(std::int64_t{1} << 62U);
  for (const int part : {0, 1, 2, 3, 4, 5}) {
    mpi::RankLog log = example();
    if (part == 0) log.began = TimePoint::at(beyond);
    if (part == 1) log.ended = TimePoint::at(beyond);
    if (part == 2) log.longest_slice = beyond;
    if (part == 3) log.longest_slice = -beyond;
    if (part == 4) log.samples[1].began = TimePoint::at(beyond);
    if (part == 5) log.samples[1].took = beyond;
    EXPECT_FALSE(decode_rank_log(encode(log, Duration::zero()))) << part;
  }
}

TEST(RankLog, of_any_bytes_takes_no_memory_for_what_is_not_there) {
  // Every number of it is enormous: sizes of text and samples among them.
  EXPECT_FALSE(decode_rank_log(std::vector<std::byte>(4096, std::byte{0xff})));
}

}  // namespace
}  // namespace ferry::ranks
