#include "core/mpi/workloads/workload_log.hpp"

#include <gtest/gtest.h>

namespace ferry::mpi {
namespace {

TimePoint at(std::int64_t microseconds) {
  return TimePoint::at(Duration::microseconds(microseconds));
}

RankLog log_of(const std::vector<std::int64_t>& microseconds, std::uint64_t size = 8) {
  RankLog log;
  std::int64_t now = 0;
  for (const std::int64_t took : microseconds) {
    log.samples.push_back({size, 0, at(now), Duration::microseconds(took)});
    now += took;
  }
  log.ended = at(now);
  return log;
}

TEST(Measurements, are_medians_of_half_round_trips_with_what_an_outage_cost_apart) {
  WorkloadLog log(2);
  log.of(0) = log_of({4, 4, 5000, 6, 4});
  const std::vector<Interval> outages = {{at(100), at(4000)}};
  const auto rows = measurements(WorkloadType::osu_latency, log, outages);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].metric, "latency");
  EXPECT_EQ(rows[0].message_bytes, 8U);
  EXPECT_DOUBLE_EQ(rows[0].value, 2e-6);
  EXPECT_EQ(rows[0].unit, "s");
  EXPECT_EQ(rows[1].metric, "latency_exposed");
  EXPECT_NEAR(rows[1].value, 4996e-6, 1e-12);
}

TEST(Measurements, are_windows_of_64_messages_for_bandwidth) {
  WorkloadLog log(2);
  log.of(0) = log_of({64, 64, 64}, 1000);
  const auto rows = measurements(WorkloadType::osu_bw, log, {});
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_NEAR(rows[0].value, 1e9, 1);
  EXPECT_EQ(rows[0].unit, "B/s");
}

TEST(Measurements, of_collectives_are_means_over_the_ranks) {
  WorkloadLog log(2);
  log.of(0) = log_of({2, 2, 2});
  log.of(1) = log_of({6, 6, 8});
  const auto rows = measurements(WorkloadType::osu_bcast, log, {});
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].metric, "bcast_latency");
  EXPECT_NEAR(rows[0].value, 4e-6, 1e-12);
  EXPECT_EQ(log.elapsed(), Duration::microseconds(20));
}

TEST(Measurements, of_channels_are_the_packets_of_all_ranks_between_two_moves) {
  WorkloadLog log(2);
  EXPECT_TRUE(channel_packets(log).empty());
  log.of(0).packets = {{Channel::sriov, 0, 3}, {Channel::ivshmem, 1, 5}, {Channel::sriov, 2, 1}};
  log.of(1).packets = {{Channel::sriov, 0, 4}, {Channel::sriov, 1, 2}};
  const auto rows = channel_packets(log);
  ASSERT_EQ(rows.size(), 4U);
  const std::vector<std::tuple<std::string, std::uint32_t, double>> expected = {
      {"packets_sriov", 0, 7},
      {"packets_ivshmem", 1, 5},
      {"packets_sriov", 1, 2},
      {"packets_sriov", 2, 1}};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(std::tuple(rows[i].metric, rows[i].repetition, rows[i].value), expected[i]);
    EXPECT_EQ(rows[i].unit, "packets");
    EXPECT_FALSE(rows[i].message_bytes);
  }
}

TEST(Measurements, of_searches_are_each_and_their_mean_with_outages_in_it) {
  WorkloadLog log(1);
  log.of(0) = log_of({10, 30});
  log.of(0).samples[1].round = 1;
  const auto rows =
      measurements(WorkloadType::graph500, log, std::vector<Interval>{{at(0), at(40)}});
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[1].repetition, 1U);
  EXPECT_EQ(rows[2].metric, "search_time_mean");
  EXPECT_NEAR(rows[2].value, 20e-6, 1e-12);
}

TEST(Measurements, are_none_where_all_of_a_size_was_in_an_outage_but_what_it_cost) {
  WorkloadLog log(1);
  log.of(0) = log_of({10, 30});
  const auto rows =
      measurements(WorkloadType::osu_latency, log, std::vector<Interval>{{at(0), at(40)}});
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].metric, "latency_exposed");
  EXPECT_NEAR(rows[0].value, 40e-6, 1e-12);
  EXPECT_TRUE(measurements(WorkloadType::nas_lu, log, {}).empty());
}

}  // namespace
}  // namespace ferry::mpi
