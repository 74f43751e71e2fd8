#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "core/record/journal_file.hpp"
#include "core/record/run_folder.hpp"
#include "tests/scratch_folder.hpp"
#include "tests/unit/record/example_run.hpp"

namespace ferry {
namespace {

class RunFolderTest : public ::testing::Test {
 protected:
  static std::string read(const std::filesystem::path& file) {
    std::ostringstream text;
    text << std::ifstream(file, std::ios::binary).rdbuf();
    return text.str();
  }
  std::set<std::string> names(const std::filesystem::path& folder) const {
    std::set<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      found.insert(entry.path().filename().string());
    }
    return found;
  }

  ScratchFolder scratch_;
  const std::filesystem::path base_ = scratch_.path();
};

TEST_F(RunFolderTest, appears_complete_under_its_name_with_all_files) {
  RunRecords records;
  testing::record_example(records);
  MemoryJournal journal;
  journal.append("vm10 begin");
  {
    auto folder = NewFolder::create(base_ / "a" / "run");
    ASSERT_TRUE(folder.has_value()) << folder.error();
    ASSERT_TRUE(write_run_files(
        *folder, {records, testing::example_instance(), "name: x\n", true, journal.text()}));
    ASSERT_TRUE(folder->write("run.json", "{}"));
    EXPECT_FALSE(std::filesystem::exists(base_ / "a" / "run"));
    ASSERT_TRUE(folder->commit());
  }
  EXPECT_EQ(names(base_ / "a"), std::set<std::string>{"run"});
  EXPECT_EQ(names(base_ / "a" / "run"),
            (std::set<std::string>{"spans.csv", "rounds.csv", "migrations.csv", "jobs.csv",
                                   "ranks.csv", "measurements.csv", "summary.csv", "trace.json",
                                   "run.json", "resolved.yaml", "journal"}));
  EXPECT_EQ(read(base_ / "a" / "run" / "resolved.yaml"), "name: x\n");
  EXPECT_EQ(read(base_ / "a" / "run" / "journal"), journal.text());
}

TEST_F(RunFolderTest, has_no_trace_where_none_is_wanted) {
  const RunRecords records;
  auto folder = NewFolder::create(base_ / "run");
  ASSERT_TRUE(write_run_files(*folder, {records, Instance(), "", false, ""}));
  ASSERT_TRUE(folder->commit());
  EXPECT_EQ(names(base_ / "run").count("trace.json"), 0U);
}

TEST_F(RunFolderTest, nothing_is_left_of_a_folder_that_was_not_committed) {
  {
    auto folder = NewFolder::create(base_ / "run");
    ASSERT_TRUE(folder->write("spans.csv", "vm\n"));
  }
  EXPECT_TRUE(names(base_).empty());
}

TEST_F(RunFolderTest, nothing_is_left_of_the_folders_above_either) {
  { ASSERT_TRUE(NewFolder::create(base_ / "a" / "b" / "run").has_value()); }
  EXPECT_TRUE(names(base_).empty());
  {
    auto folder = NewFolder::create(base_ / "a" / "b" / "run");
    std::ofstream(base_ / "a" / "other") << "x";
  }
  EXPECT_EQ(names(base_ / "a"), std::set<std::string>{"other"});
}

TEST_F(RunFolderTest, an_existing_folder_is_never_overwritten) {
  std::filesystem::create_directory(base_ / "run");
  EXPECT_EQ(
      NewFolder::create(base_ / "run").error(),
      (base_ / "run").string() +
          ": exists already, and nothing is ever overwritten; name another folder with --out");
  EXPECT_EQ(names(base_), std::set<std::string>{"run"});
}

TEST_F(RunFolderTest, a_folder_that_another_run_is_writing_is_left_alone) {
  auto other = NewFolder::create(base_ / "run");
  EXPECT_EQ(NewFolder::create(base_ / "run").error(),
            (base_ / "run.partial").string() +
                ": exists: another run is writing it, or one was killed; remove it or name another "
                "folder with --out");
  ASSERT_TRUE(other->commit());
}

TEST_F(RunFolderTest, an_empty_folder_that_appeared_meanwhile_is_not_replaced) {
  auto folder = NewFolder::create(base_ / "run");
  std::filesystem::create_directory(base_ / "run");
  EXPECT_EQ(folder->commit().error(),
            (base_ / "run").string() + ": appeared meanwhile, and nothing is ever overwritten");
}

TEST_F(RunFolderTest, a_place_where_nothing_can_be_written_is_an_error_with_its_name) {
  std::ofstream(base_ / "file") << "x";
  const auto folder = NewFolder::create(base_ / "file" / "run");
  ASSERT_FALSE(folder.has_value());
  EXPECT_EQ(folder.error(), (base_ / "file").string() + ": cannot be made: Not a directory");
}

TEST_F(RunFolderTest, a_replaced_file_holds_the_new_text_alone) {
  ASSERT_TRUE(replace_file(base_ / "cells.csv", "long old text\n"));
  ASSERT_TRUE(replace_file(base_ / "cells.csv", "new\n"));
  EXPECT_EQ(read(base_ / "cells.csv"), "new\n");
  EXPECT_EQ(names(base_), std::set<std::string>{"cells.csv"});
}

TEST(run_json, says_what_was_run_and_how_long_it_took) {
  RunInformation information;
  information.name = "one";
  information.world = "sim";
  information.seed = 18446744073709551615ULL;
  information.command = {"ferry", "run", "a b.yaml"};
  information.host = "here";
  information.started_at = "2026-01-01T00:00:00Z";
  information.versions = {{"ferry", "0.1.0"}};
  information.cell = RunInformation::Cell{"st", "cell-0001", {{"vms.vm.count", "2"}}, 3};
  auto json = nlohmann::json::parse(
      run_json(information, {Duration::milliseconds(1500), Duration::milliseconds(1250)}));
  EXPECT_GT(json["peak_memory_bytes"].get<std::uint64_t>(), 1U << 20U);
  json.erase("peak_memory_bytes");
  EXPECT_EQ(json, nlohmann::json::parse(R"({"kind": "run", "name": "one", "world": "sim",
      "seed": 18446744073709551615, "command": ["ferry", "run", "a b.yaml"], "host": "here",
      "started_at": "2026-01-01T00:00:00Z", "versions": {"ferry": "0.1.0"}, "wall_seconds": 1.5,
      "simulate_seconds": 1.25, "interrupted": false, "cell": {"study": "st", "name": "cell-0001",
      "assignment": {"vms.vm.count": "2"}, "repetition": 3}})"));
}

TEST_F(RunFolderTest, that_appeared_early_stays_and_its_files_are_replaced) {
  {
    auto folder = NewFolder::create(base_ / "run");
    ASSERT_TRUE(folder.has_value()) << folder.error();
    ASSERT_TRUE(folder->write("run.json", "unfinished"));
    EXPECT_FALSE(folder->appeared());
    ASSERT_TRUE(folder->appear());
    EXPECT_EQ(read(base_ / "run" / "run.json"), "unfinished");
    EXPECT_EQ(folder->partial(), base_ / "run");
  }
  EXPECT_EQ(names(base_), std::set<std::string>{"run"});
  NewFolder again = NewFolder::of_existing(base_ / "run");
  ASSERT_TRUE(again.write("run.json", "finished"));
  ASSERT_TRUE(again.commit());
  EXPECT_EQ(read(base_ / "run" / "run.json"), "finished");
  EXPECT_EQ(names(base_ / "run"), std::set<std::string>{"run.json"});
}

TEST_F(RunFolderTest, cannot_appear_where_another_one_appeared_meanwhile) {
  auto folder = NewFolder::create(base_ / "run");
  ASSERT_TRUE(folder.has_value()) << folder.error();
  std::filesystem::create_directory(base_ / "run");
  std::ofstream(base_ / "run" / "other") << "x";
  const auto appeared = folder->appear();
  ASSERT_FALSE(appeared.has_value());
  EXPECT_EQ(appeared.error(),
            (base_ / "run").string() + ": appeared meanwhile, and nothing is ever overwritten");
}

}  // namespace
}  // namespace ferry
