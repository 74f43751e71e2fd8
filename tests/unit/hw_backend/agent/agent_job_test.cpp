#include "hw_backend/agent/agent_job.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "hw_backend/agent/job_board.hpp"
#include "tests/scratch_folder.hpp"

namespace ferry::agent {
namespace {

StartJob job_of_two_vms() {
  StartJob start;
  start.key = "job";
  start.name = "job";
  start.vms = {0, 1};
  start.ranks = {0};
  start.arguments = {"true"};
  return start;
}

TEST(JobFolders, tell_ranks_of_cards_that_an_agent_wrote_and_did_not_announce) {
  const ScratchFolder scratch;
  const std::filesystem::path folder = scratch.path() / "job";
  ASSERT_TRUE(AgentJob::create(scratch.path(), job_of_two_vms()));
  std::ofstream(folder / "cards") << "both";
  const auto rank = RankAnswers::open(folder, 0);
  ASSERT_TRUE(rank.has_value());
  EXPECT_FALSE((*rank)->has_cards());

  const auto next = AgentJob::open(folder);
  ASSERT_TRUE(next.has_value());
  EXPECT_TRUE((*rank)->has_cards());
  EXPECT_EQ((*next)->report().cards, 2U);
}

TEST(JobFolders, do_not_tell_ranks_of_cards_that_are_not_there) {
  const ScratchFolder scratch;
  const std::filesystem::path folder = scratch.path() / "job";
  ASSERT_TRUE(AgentJob::create(scratch.path(), job_of_two_vms()));
  const auto next = AgentJob::open(folder);
  ASSERT_TRUE(next.has_value());
  const auto rank = RankAnswers::open(folder, 0);
  ASSERT_TRUE(rank.has_value());
  EXPECT_FALSE((*rank)->has_cards());
  EXPECT_EQ((*next)->report().cards, 0U);
}

}  // namespace
}  // namespace ferry::agent
