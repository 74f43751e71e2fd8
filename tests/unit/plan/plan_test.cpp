#include "controller/plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/contract/small_cluster.hpp"

namespace ferry {
namespace {

using testing::ElementsAre;

class PlanTest : public testing::Test {
 protected:
  PlanTest() { scenario.platform = cluster.platform; }

  void move(VmId vm, std::vector<HostId> candidates, Place place = Place::spread,
            Duration at = Duration::zero(), std::string migration = "leave") {
    MoveSpec spec;
    spec.migration = std::move(migration);
    spec.vm = vm;
    spec.candidates = std::move(candidates);
    spec.place = place;
    spec.at.at = at;
    cluster.instance.moves.push_back(spec);
  }
  [[nodiscard]] std::vector<std::uint32_t> destinations() {
    const auto plan = make_plan(scenario, cluster.instance);
    EXPECT_TRUE(plan.has_value()) << (plan ? "" : plan.error());
    std::vector<std::uint32_t> hosts;
    if (plan) {
      for (const PlannedMove& planned : plan->moves) hosts.push_back(planned.to.index);
    }
    return hosts;
  }
  [[nodiscard]] std::vector<std::vector<std::size_t>> waves() {
    std::vector<std::vector<std::size_t>> waves;
    const auto plan = make_plan(scenario, cluster.instance);
    for (const PlannedWave& wave : plan->waves) {
      waves.push_back(wave.moves);
    }
    return waves;
  }

  SmallCluster cluster = small_cluster();
  Scenario scenario;
};

TEST_F(PlanTest, spread_takes_the_candidate_with_the_fewest_vms) {
  move(VmId{0}, {HostId{2}, HostId{3}});
  move(VmId{1}, {HostId{2}, HostId{3}});
  EXPECT_THAT(destinations(), ElementsAre(3, 2));
}

TEST_F(PlanTest, pack_fills_the_fullest_candidate_first) {
  move(VmId{0}, {HostId{3}, HostId{2}}, Place::pack);
  move(VmId{1}, {HostId{3}, HostId{2}}, Place::pack);
  EXPECT_THAT(destinations(), ElementsAre(2, 2));
}

TEST_F(PlanTest, in_order_goes_round_the_candidates_and_skips_full_ones) {
  cluster.instance.hosts[2].memory = Bytes::mebi(64);  // vm3 fills it
  move(VmId{0}, {HostId{3}, HostId{2}}, Place::in_order);
  move(VmId{1}, {HostId{3}, HostId{2}}, Place::in_order);
  EXPECT_THAT(destinations(), ElementsAre(3, 3));
}

TEST_F(PlanTest, a_move_back_starts_where_the_move_out_ended) {
  move(VmId{0}, {HostId{3}});
  move(VmId{0}, {HostId{0}}, Place::spread, Duration::seconds(5), "back");
  const auto plan = make_plan(scenario, cluster.instance);
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->moves[1].from, HostId{3});
  EXPECT_EQ(plan->moves[1].to, HostId{0});
  EXPECT_EQ(plan->waves[1].not_before, TimePoint::at(Duration::seconds(5)));
}

TEST_F(PlanTest, a_vm_that_fits_nowhere_is_named_with_every_refusal) {
  cluster.instance.hosts[2].cores = 2;
  cluster.instance.hosts[3].memory = Bytes::mebi(32);
  move(VmId{0}, {HostId{2}, HostId{3}});
  const auto plan = make_plan(scenario, cluster.instance);
  ASSERT_FALSE(plan.has_value());
  EXPECT_EQ(plan.error(),
            "migration leave: vm0 fits on none of its destinations: host2 has 0 cores free, not 2; "
            "host3 has 32MiB of memory free, not 64MiB");
}

TEST_F(PlanTest, batches_by_vm_by_job_or_all_at_once) {
  // vm0 and vm2 share a job.
  for (const std::uint32_t vm : {0U, 1U, 2U}) move(VmId{vm}, {HostId{3}});
  scenario.schedule.batch = Batch::vm;
  EXPECT_THAT(waves(), ElementsAre(ElementsAre(0), ElementsAre(1), ElementsAre(2)));
  scenario.schedule.batch = Batch::job;
  EXPECT_THAT(waves(), ElementsAre(ElementsAre(0, 2), ElementsAre(1)));
  scenario.schedule.batch = Batch::all;
  EXPECT_THAT(waves(), ElementsAre(ElementsAre(0, 1, 2)));
}

TEST_F(PlanTest, moves_at_different_times_are_different_waves) {
  move(VmId{0}, {HostId{3}});
  move(VmId{1}, {HostId{3}}, Place::spread, Duration::seconds(1));
  scenario.schedule.batch = Batch::all;
  EXPECT_THAT(waves(), ElementsAre(ElementsAre(0), ElementsAre(1)));
}

TEST_F(PlanTest, waves_are_ordered_by_time_and_name_not_by_place_in_the_file) {
  move(VmId{2}, {HostId{3}});
  move(VmId{1}, {HostId{3}});
  move(VmId{0}, {HostId{3}}, Place::spread, Duration::zero(), "earlier");
  EXPECT_THAT(waves(), ElementsAre(ElementsAre(2), ElementsAre(1), ElementsAre(0)));
}

}  // namespace
}  // namespace ferry
