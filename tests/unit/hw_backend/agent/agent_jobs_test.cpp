#include "hw_backend/agent/agent_jobs.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "hw_backend/agent/messages.hpp"

namespace ferry::agent {
namespace {

constexpr std::int64_t origin = 0x18a1'2345'6789'abcd;

TEST(NameOfARun, is_its_folders_and_the_moment_when_it_began) {
  EXPECT_EQ(name_of_run("one_move-002", origin), "one_move-002-18a123456789abcd");
}

TEST(NameOfARun, has_the_whole_moment_however_long_the_folders_name) {
  const std::string folder(64, 'x');
  EXPECT_EQ(name_of_run(folder, origin), std::string(23, 'x') + "-18a123456789abcd");
  EXPECT_NE(name_of_run(folder, origin), name_of_run(folder, origin + 1));
  EXPECT_EQ(name_of_run(folder, origin), name_of_run(folder, origin));
}

TEST(NameOfARun, may_stand_in_a_folders_name) {
  EXPECT_EQ(name_of_run("../a b", origin), "___a_b-18a123456789abcd");
  EXPECT_TRUE(is_job_key(name_of_run("../a b", origin)));
}

}  // namespace
}  // namespace ferry::agent
