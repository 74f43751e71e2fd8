#include "core/mpi/workloads/loops.hpp"

#include <gtest/gtest.h>

#include "core/mpi/workloads/osu.hpp"
#include "tests/unit/workloads/recording_calls.hpp"

namespace ferry::mpi {
namespace {

TEST(Overlap, computes_its_share_of_the_time) {
  for (const double share : {0.1, 0.5, 0.9}) {
    Workload workload;
    workload.type = WorkloadType::overlap;
    workload.iterations = 20;
    workload.exchanges = 1000;
    workload.share = Ratio(share);
    RecordingCalls calls(0, 2);
    RankLog log;
    run_overlap(workload, calls, log);
    ASSERT_EQ(log.samples.size(), 20U);
    Duration sum;
    for (const Sample& sample : log.samples) sum += sample.took;
    EXPECT_NEAR(calls.computed / sum, share, 0.001);
  }
}

// As moves one after the other make of a job that has just begun.
TEST(Overlap, does_not_take_for_communication_what_a_suspension_takes) {
  Workload workload;
  workload.type = WorkloadType::overlap;
  workload.iterations = 5;
  workload.exchanges = 10;
  workload.share = Ratio(0.5);
  RecordingCalls calm(0, 2);
  RankLog log;
  run_overlap(workload, calm, log);
  RecordingCalls disturbed(0, 2);
  const std::size_t exchange = 3 * workload.exchanges;  // calls
  disturbed.suspended_before_call = {exchange + 5, exchange + 20, 2 * exchange + 10};
  run_overlap(workload, disturbed, log);
  EXPECT_EQ(disturbed.computed, calm.computed);
  EXPECT_EQ(disturbed.traffic.messages, calm.traffic.messages + 2 * workload.exchanges);
}

TEST(Iterate, jitters_around_its_computation) {
  Workload workload;
  workload.type = WorkloadType::iterate;
  workload.iterations = 1000;
  workload.compute = Duration::milliseconds(10);
  workload.jitter = Ratio(0.5);
  RecordingCalls calls(0, 2);
  RankLog log;
  run_iterate(workload, calls, RandomStream(1, "a"), log);
  EXPECT_NEAR(calls.computed.to_seconds(), 10, 0.3);
  for (const Sample& sample : log.samples) {
    EXPECT_GE(sample.took, Duration::milliseconds(5));
    EXPECT_LE(sample.took, Duration::microseconds(15'002));
  }
  RecordingCalls other(1, 2);
  run_iterate(workload, other, RandomStream(1, "b"), log);
  EXPECT_NE(other.computed, calls.computed);
}

TEST(OsuLoops, are_the_benchmarks_own_unless_the_scenario_says_otherwise) {
  Workload workload;
  workload.type = WorkloadType::osu_latency;
  EXPECT_EQ(osu_loops(workload, Bytes(8192)).measured, 10'000U);
  EXPECT_EQ(osu_loops(workload, Bytes(16'384)).measured, 1000U);
  EXPECT_EQ(osu_loops(workload, Bytes(16'384)).warm_up, 10U);
  workload.iterations = 3;
  workload.warm_up = 0;
  EXPECT_EQ(osu_loops(workload, Bytes(1)).measured, 3U);
  EXPECT_EQ(osu_loops(workload, Bytes(1)).warm_up, 0U);
}

TEST(Osu, keeps_each_measured_operation_with_its_time) {
  Workload workload;
  workload.type = WorkloadType::osu_latency;
  workload.sizes = {Bytes(8), Bytes(64)};
  workload.iterations = 4;
  workload.warm_up = 2;
  workload.rounds = 2;
  RecordingCalls calls(0, 2);
  RankLog log;
  run_osu(workload, calls, log);
  ASSERT_EQ(log.samples.size(), 16U);
  for (std::size_t i = 1; i < log.samples.size(); ++i) {
    EXPECT_GE(log.samples[i].began, log.samples[i - 1].began + log.samples[i - 1].took);
  }
  EXPECT_EQ(log.samples[4].message_bytes, 64U);
  EXPECT_EQ(log.samples[8].round, 1U);
}

}  // namespace
}  // namespace ferry::mpi
