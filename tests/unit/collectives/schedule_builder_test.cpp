#include "core/mpi/collectives/schedule_builder.hpp"

#include <gtest/gtest.h>

#include <random>

#include "core/mpi/collectives/blocks.hpp"

namespace ferry::mpi {
namespace {

TEST(LastSends, know_the_newest_reader_of_any_bytes) {
  std::mt19937_64 random(5);
  for (int round = 0; round < 50; ++round) {
    LastSends sends;
    std::vector<std::uint32_t> newest(64, 0);
    for (std::uint32_t number = 0; number < 40; ++number) {
      const std::size_t begin = random() % 64;
      const std::size_t size = random() % (65 - begin);
      sends.note(begin, size, number);
      std::fill_n(newest.begin() + static_cast<std::ptrdiff_t>(begin), size, number + 1);
      const std::size_t from = random() % 64;
      const std::size_t count = random() % (65 - from);
      std::uint32_t expected = 0;
      for (std::size_t i = from; i < from + count; ++i) expected = std::max(expected, newest[i]);
      ASSERT_EQ(sends.before(from, count), expected);
    }
  }
}

TEST(ScheduleBuilder, begins_a_round_when_a_message_follows_a_local_step) {
  Schedule schedule;
  ScheduleBuilder builder(schedule);
  const Piece input{Region::input, 0, 8};
  const Piece output{Region::output, 0, 8};
  builder.send(1, input);
  builder.receive(1, output);
  builder.reduce(input, output);
  builder.send(1, output);
  builder.end_round();
  builder.end_round();
  builder.send(1, {});  // of nothing
  builder.receive(1, output);
  builder.finish();
  ASSERT_EQ(schedule.rounds.size(), 3U);
  EXPECT_EQ(schedule.rounds[0].count, 3U);
  EXPECT_EQ(schedule.rounds[1].count, 1U);
  EXPECT_EQ(schedule.rounds[2].count, 1U);
  // The second send reads what the last receive writes.
  EXPECT_EQ(schedule.rounds[1].sends_ended_before, 0U);
  EXPECT_EQ(schedule.rounds[2].sends_ended_before, 2U);
}

TEST(ScheduleBuilder, gives_scratch_that_is_aligned_and_apart) {
  Schedule schedule;
  ScheduleBuilder builder(schedule);
  const Piece first = builder.reserve(3);
  const Piece second = builder.reserve(5);
  EXPECT_EQ(first.offset, 0U);
  EXPECT_EQ(second.offset, 16U);
  EXPECT_EQ(schedule.scratch, 21U);
}

TEST(Blocks, split_whole_elements_as_evenly_as_can_be) {
  const Blocks blocks = Blocks::split(4, 40, 4);
  EXPECT_EQ(blocks.size(0), 12U);
  EXPECT_EQ(blocks.size(1), 12U);
  EXPECT_EQ(blocks.size(2), 8U);
  EXPECT_EQ(blocks.size(3), 8U);
  EXPECT_EQ(blocks.end(3), 40U);
  const Blocks given = Blocks::of(std::vector<std::size_t>{3, 0, 5});
  EXPECT_EQ(given.begin(1), 3U);
  EXPECT_EQ(given.size(1), 0U);
  EXPECT_EQ(given.end(2), 8U);
}

}  // namespace
}  // namespace ferry::mpi
