#include <gtest/gtest.h>

#include <fstream>

#include "controller/cli/study_folder.hpp"
#include "tests/scratch_folder.hpp"

namespace ferry {
namespace {

class StudyFolderTest : public ::testing::Test {
 protected:
  void write(const std::string& file, const std::string& text) const {
    std::filesystem::create_directories((base_ / file).parent_path());
    std::ofstream(base_ / file) << text;
  }

  ScratchFolder scratch_;
  const std::filesystem::path base_ = scratch_.path();
};

TEST_F(StudyFolderTest, is_made_once_and_gone_on_with_only_if_asked) {
  { ASSERT_TRUE(StudyFolder::open(base_ / "a" / "study", false).has_value()); }
  EXPECT_EQ(
      StudyFolder::open(base_ / "a" / "study", false).error(),
      (base_ / "a" / "study").string() +
          ": exists already, and nothing is ever overwritten; --resume goes on in it, --out names "
          "another folder");
  EXPECT_TRUE(StudyFolder::open(base_ / "a" / "study", true).has_value());
}

TEST_F(StudyFolderTest, is_open_once_at_a_time) {
  const auto first = StudyFolder::open(base_ / "study", false);
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(StudyFolder::open(base_ / "study", true).error(),
            (base_ / "study").string() + ": another ferry is writing it; wait for its end");
}

TEST_F(StudyFolderTest, clean_removes_what_a_killed_worker_left) {
  const auto folder = StudyFolder::open(base_ / "study", false);
  write("study/cells/cell-0001.partial/spans.csv", "x");
  write("study/cells/cell-0002/spans.csv", "x");
  folder->clean("cell-0001");
  folder->clean("cell-0002");
  EXPECT_FALSE(std::filesystem::exists(base_ / "study/cells/cell-0001.partial"));
  EXPECT_TRUE(std::filesystem::exists(base_ / "study/cells/cell-0002/spans.csv"));
}

TEST_F(StudyFolderTest, a_cell_is_read_with_how_its_run_ended) {
  write("c/summary.csv", "metric,value,unit,reason\ntotal_seconds,1.5,s,\nbytes,,B,none\n");
  write("c/run.json", R"({"outcome": "rolled_back", "reason": "a, b"})");
  const auto result = read_cell(base_ / "c", StudyCell());
  ASSERT_TRUE(result.has_value()) << result.error();
  EXPECT_EQ(result->outcome, "rolled_back");
  EXPECT_EQ(result->reason, "a, b");
  EXPECT_EQ(result->value("total_seconds"), 1.5);
  EXPECT_EQ(result->value("bytes"), std::nullopt);
}

TEST_F(StudyFolderTest, an_incomplete_cell_is_an_error_with_its_file) {
  write("c/summary.csv", "metric\nx\n");
  EXPECT_EQ(read_cell(base_ / "c", StudyCell()).error(),
            (base_ / "c/summary.csv").string() + ": has no column value");
  EXPECT_EQ(read_cell(base_ / "d", StudyCell()).error(),
            (base_ / "d/summary.csv").string() + ": cannot be read");
  write("e/summary.csv", "metric,value\n");
  for (const char* json : {"{}", "[1]", "no", R"({"outcome": 3})"}) {
    write("e/run.json", json);
    EXPECT_EQ(read_cell(base_ / "e", StudyCell()).error(),
              (base_ / "e/run.json").string() + ": does not say how the run ended");
  }
}

TEST_F(StudyFolderTest, a_cell_of_another_study_is_told_apart) {
  StudyCell cell;
  cell.settings = {{"vms.vm.count", "2"}};
  cell.repetition = 1;
  cell.seed = 18446744073709551615ULL;
  const std::string json =
      R"({"kind": "run", "world": "sim", "seed": 18446744073709551615,
          "cell": {"assignment": {"vms.vm.count": "2"}, "repetition": 1}})";
  write("c/run.json", json);
  write("c/resolved.yaml", "name: x\n");
  EXPECT_TRUE(verify_cell(base_ / "c", cell, WorldKind::sim, "name: x\n").has_value());

  const auto message = [&](const std::string& what) {
    return (base_ / "c").string() + ": was made with another " + what +
           ", so the study cannot go on here; name another folder with --out";
  };
  EXPECT_EQ(verify_cell(base_ / "c", cell, WorldKind::threads, "name: x\n").error(),
            message("world"));
  EXPECT_EQ(verify_cell(base_ / "c", cell, WorldKind::sim, "name: y\n").error(),
            message("scenario or platform"));
  StudyCell other = cell;
  other.seed = 1;
  EXPECT_EQ(verify_cell(base_ / "c", other, WorldKind::sim, "name: x\n").error(), message("seed"));
  other = cell;
  other.settings[0].value = "4";
  EXPECT_EQ(verify_cell(base_ / "c", other, WorldKind::sim, "name: x\n").error(),
            message("assignment"));
  other = cell;
  other.repetition = 0;
  EXPECT_EQ(verify_cell(base_ / "c", other, WorldKind::sim, "name: x\n").error(),
            message("repetition"));
  write("c/run.json", "{\"kind\": \"run\"}");
  EXPECT_EQ(verify_cell(base_ / "c", cell, WorldKind::sim, "name: x\n").error(),
            (base_ / "c").string() + ": run.json is not one of a study's cell");
}

TEST(cells_csv, has_a_column_for_each_path_and_metric_and_empty_fields_for_failed_cells) {
  Study study;
  study.vary = {{"transport", {}}, {"count", {}}};
  CellResult good;
  good.cell = {"cell-0001", {{"transport", "tcp"}, {"count", "2"}}, 0, 7};
  good.metrics = {{"total_seconds", "1.5"}, {"makespan_seconds", "2.5"}};
  good.outcome = "completed";
  CellResult bad;
  bad.cell = {"cell-0002", {{"transport", "rdma"}, {"count", "2"}}, 1, 8};
  bad.outcome = "failed";
  bad.reason = "was killed, twice";
  EXPECT_EQ(cells_csv(study, {good, bad}),
            "cell,transport,count,repetition,seed,makespan_seconds,total_seconds,outcome,reason\n"
            "cell-0001,tcp,2,0,7,2.5,1.5,completed,\n"
            "cell-0002,rdma,2,1,8,,,failed,\"was killed, twice\"\n");
}

TEST(claims_csv, has_the_documented_columns) {
  Claim claim;
  claim.id = "C1";
  claim.text = "under 3 s";
  claim.source = "slide 17";
  ClaimRow row;
  row.claim = &claim;
  row.verdict = {"below 3 s", "2 s", Holds::not_reproduced, "because, well"};
  row.basis = "predicted";
  row.robust = Robustness{{"a halved", "b doubled"}, {"c doubled (too much)"}};
  EXPECT_EQ(
      claims_csv({row}),
      "id,text,source,expected,got,holds,basis,robust,reason\n"
      "C1,under 3 s,slide 17,below 3 s,2 s,not reproduced,predicted,\"no: a halved, b doubled; not "
      "tried: c doubled (too much)\",\"because, well\"\n");
  EXPECT_EQ(claims_report({row}),
            "id  claim      expected   got  holds           basis      robust\n"
            "C1  under 3 s  below 3 s  2 s  not reproduced  predicted  no\n"
            "\n"
            "C1 is not reproduced: because, well\n"
            "C1 would hold with a halved, or b doubled\n"
            "C1 was not tried with c doubled (too much)\n");
  row.robust.reset();
  EXPECT_EQ(claims_csv({row}),
            "id,text,source,expected,got,holds,basis,robust,reason\n"
            "C1,under 3 s,slide 17,below 3 s,2 s,not reproduced,predicted,,\"because, well\"\n");
}

TEST(SensitivityCsv, has_each_claim_as_things_are_and_under_each_change_of_a_constant) {
  const auto cells = [](const std::string& total) {
    CellResult cell;
    cell.cell.name = "cell-0001";
    cell.metrics = {{"total_seconds", total}};
    return std::vector<CellResult>{cell};
  };
  Claim claim;
  claim.id = "C1";
  claim.metric = "total_seconds";
  claim.form = Claim::Form::every_cell;
  claim.below = 3;
  std::vector<PerturbedCells> perturbed(3);
  perturbed[0].perturbation = {"platform.a", 0.5};
  perturbed[0].cells = cells("2");
  perturbed[1].perturbation = {"platform.a", 2};
  perturbed[1].cells = cells("4");
  perturbed[2].perturbation = {"platform.b", 2};
  perturbed[2].not_tried = "'130%' is out of range";
  EXPECT_EQ(sensitivity_csv({{&claim, evaluate(claim, cells("2.5")), "predicted", {}}}, perturbed),
            "claim,quantity,constant,factor,low,high,least,greatest,holds,reason\n"
            "C1,total_seconds,,1,2.5,2.5,,3,yes,\n"
            "C1,total_seconds,platform.a,0.5,2,2,,3,yes,\n"
            "C1,total_seconds,platform.a,2,4,4,,3,no,cell-0001 gave 4 s\n"
            "C1,,platform.b,2,,,,,,'130%' is out of range\n");
}

}  // namespace
}  // namespace ferry
