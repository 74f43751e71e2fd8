#include "hw_backend/libvirt/migration_progress.hpp"

#include <gtest/gtest.h>
#include <libvirt/libvirt.h>

namespace ferry {
namespace {

TimePoint at(double seconds) { return TimePoint::at(Duration::seconds(seconds)); }

JobStatistics sent(std::uint64_t bytes, std::uint64_t remaining = 0) {
  JobStatistics statistics;
  statistics.known = true;
  statistics.processed = Bytes(bytes);
  statistics.remaining = Bytes(remaining);
  return statistics;
}

class Parameters {
 public:
  ~Parameters() { virTypedParamsFree(list, count); }
  virTypedParameterPtr list = nullptr;
  int count = 0;
  int room = 0;
};

TEST(JobStatistics, are_read_from_libvirts_parameters) {
  ASSERT_EQ(virInitialize(), 0);  // its calls want it first
  Parameters given;
  virTypedParamsAddULLong(&given.list, &given.count, &given.room, VIR_DOMAIN_JOB_MEMORY_PROCESSED,
                          93'687'245);
  virTypedParamsAddULLong(&given.list, &given.count, &given.room, VIR_DOMAIN_JOB_MEMORY_REMAINING,
                          4096);
  virTypedParamsAddULLong(&given.list, &given.count, &given.room, VIR_DOMAIN_JOB_DOWNTIME, 272);
  virTypedParamsAddULLong(&given.list, &given.count, &given.room, VIR_DOMAIN_JOB_MEMORY_ITERATION,
                          3);
  virTypedParamsAddInt(&given.list, &given.count, &given.room,
                       VIR_DOMAIN_JOB_AUTO_CONVERGE_THROTTLE, 30);
  const JobStatistics statistics = read_statistics(given.list, given.count);
  EXPECT_TRUE(statistics.known);
  EXPECT_EQ(statistics.processed, Bytes(93'687'245));
  EXPECT_EQ(statistics.remaining, Bytes(4096));
  EXPECT_EQ(statistics.downtime, Duration::milliseconds(272));
  EXPECT_EQ(statistics.iteration, 3);
  EXPECT_EQ(statistics.throttle, 30);
}

TEST(JobStatistics, of_nothing_are_unknown) { EXPECT_FALSE(read_statistics(nullptr, 0).known); }

TEST(Rounds, a_round_ends_when_the_next_one_begins) {
  RoundTracker rounds(at(0));
  EXPECT_FALSE(rounds.iteration_begins(1, at(1), sent(0, 1000)));
  const auto first = rounds.iteration_begins(2, at(3), sent(700, 90));
  ASSERT_TRUE(first);
  EXPECT_EQ(first->round, 1);
  EXPECT_EQ(first->bytes, Bytes(700));
  EXPECT_EQ(first->time, Duration::seconds(2));
  EXPECT_EQ(first->dirty_bytes, Bytes(90));
  const auto second = rounds.iteration_begins(3, at(3.5), sent(790, 10));
  ASSERT_TRUE(second);
  EXPECT_EQ(second->round, 2);
  EXPECT_EQ(second->bytes, Bytes(90));
  JobStatistics all = sent(800);
  all.downtime = Duration::milliseconds(40);
  const RoundReport last = rounds.finish(at(5), all, false);
  EXPECT_EQ(last.round, 3);
  EXPECT_EQ(last.bytes, Bytes(10));
  EXPECT_EQ(last.time, Duration::milliseconds(40));  // the pause: what follows is cleaning up
  EXPECT_EQ(rounds.bytes(), Bytes(800));
  EXPECT_EQ(rounds.rounds(), 3);
}

TEST(Rounds, after_a_switch_to_post_copy_the_last_round_takes_longer_than_the_pause) {
  RoundTracker rounds(at(0));
  rounds.iteration_begins(1, at(1), sent(0));
  JobStatistics all = sent(800);
  all.downtime = Duration::milliseconds(5);
  EXPECT_EQ(rounds.finish(at(4), all, true).time, Duration::seconds(3));
}

TEST(Rounds, bytes_that_were_not_told_in_time_count_for_the_next_round) {
  RoundTracker rounds(at(0));
  rounds.iteration_begins(1, at(0), sent(0));
  EXPECT_EQ(rounds.iteration_begins(2, at(1), JobStatistics{})->bytes, Bytes());
  EXPECT_EQ(rounds.iteration_begins(3, at(2), sent(500))->bytes, Bytes(500));
  EXPECT_EQ(rounds.finish(at(3), JobStatistics{}, false).bytes, Bytes());
  EXPECT_EQ(rounds.bytes(), Bytes(500));
}

TEST(Rounds, another_attempt_sends_from_the_beginning_and_its_rounds_count_on) {
  RoundTracker rounds(at(0));
  rounds.iteration_begins(1, at(0), sent(0));
  rounds.iteration_begins(2, at(1), sent(500));
  rounds.begin_again(at(2));
  EXPECT_FALSE(rounds.iteration_begins(1, at(3), sent(0)));
  const auto round = rounds.iteration_begins(2, at(4), sent(400));
  ASSERT_TRUE(round);
  EXPECT_EQ(round->round, 2);
  EXPECT_EQ(round->bytes, Bytes(400));
  EXPECT_EQ(rounds.bytes(), Bytes(900));
}

}  // namespace
}  // namespace ferry
