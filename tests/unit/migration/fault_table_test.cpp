#include "core/migration/fault_table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>

namespace ferry {
namespace {

TEST(FaultTable, has_every_phase_with_every_fault_once) {
  for (const Phase phase : all_phases) {
    for (const FaultKind kind : all_fault_kinds) {
      const auto cells = std::count_if(
          fault_table().begin(), fault_table().end(),
          [&](const AllowedEnds& row) { return row.phase == phase && row.fault == kind; });
      EXPECT_EQ(cells, 1) << to_name(phase) << ", " << to_name(kind);
      EXPECT_FALSE(allowed_ends(phase, kind).ends.empty());
    }
  }
}

TEST(FaultTable, allows_a_lost_vm_only_where_its_host_goes_down_or_post_copy_fails) {
  for (const AllowedEnds& row : fault_table()) {
    const bool lost = std::count(row.ends.begin(), row.ends.end(), Outcome::lost) > 0;
    EXPECT_EQ(lost, row.fault == FaultKind::host_down) << to_name(row.phase);
    const bool of_network =
        row.fault == FaultKind::other_host_down || row.fault == FaultKind::link_down;
    EXPECT_EQ(!row.with_post_copy.empty(), row.phase == Phase::migration && of_network);
  }
}

TEST(FaultTable, stands_in_the_documentation_word_for_word) {
  std::ifstream file("core/migration/LIFE_OF_A_MIGRATION.md");
  std::stringstream text;
  text << file.rdbuf();
  for (const AllowedEnds& row : fault_table()) {
    std::string ends;
    for (const Outcome end : row.ends) {
      ends += (ends.empty() ? "" : ", ") + std::string(to_name(end));
    }
    for (const Outcome end : row.with_post_copy) {
      ends += ", " + std::string(to_name(end)) + " (post-copy)";
    }
    const std::string line = "| `" + std::string(to_name(row.phase)) + "` | " +
                             std::string(to_name(row.fault)) + " | " + ends + " | " +
                             std::string(row.why) + " |\n";
    EXPECT_NE(text.str().find(line), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace ferry
