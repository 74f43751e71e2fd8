#include "core/scenario/study.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "files.hpp"
#include "tests/scratch_folder.hpp"

namespace ferry {
namespace {

std::string cell_text(const StudyCell& cell) {
  std::string text = cell.name + " #" + std::to_string(cell.repetition);
  for (const Setting& setting : cell.settings) text += " " + setting.value;
  return text;
}

/// Writes a study (and what it needs beside it) into a folder of its own and loads it.
class Studies : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name : {"minimal.yaml", "everything.yaml", "test-bed.yaml"}) {
      std::filesystem::copy_file(good_file(name), folder_ / name);
    }
  }

  Loaded<LoadedStudy> load(const std::string& keys, const std::string& scenario = "minimal.yaml",
                           const std::vector<Setting>& settings = {}) {
    std::ofstream(folder_ / "study.yaml") << "ferry: 1\nstudy: test\nscenario: " << scenario << "\n"
                                          << keys;
    return load_study(folder_ / "study.yaml", settings);
  }

  ScratchFolder scratch_;
  const std::filesystem::path folder_ = scratch_.path();
};

TEST_F(Studies, make_a_grid_whose_last_path_counts_fastest) {
  const auto study = load(
      "vary:\n  vms.vm.memory: [1GiB, 2GiB]\n  migrations.leave.transport: "
      "[tcp, rdma]\n");
  ASSERT_TRUE(study) << errors_of(study);
  const std::vector<StudyCell> cells = study->cells();
  ASSERT_EQ(cells.size(), 4U);
  EXPECT_EQ(cell_text(cells[0]), "cell-0000 #0 1GiB tcp");
  EXPECT_EQ(cell_text(cells[1]), "cell-0001 #0 1GiB rdma");
  EXPECT_EQ(cell_text(cells[2]), "cell-0002 #0 2GiB tcp");
  const auto scenario = study->scenario(cells[3]);
  ASSERT_TRUE(scenario) << errors_of(scenario);
  EXPECT_EQ(scenario->scenario.migrations[0].transport, Transport::rdma);
  EXPECT_EQ(std::get<Bytes>(scenario->scenario.vms[0].memory.law), Bytes::gibi(2));
  EXPECT_EQ(scenario->scenario.seed, cells[3].seed);
}

TEST_F(Studies, move_paths_together_and_leave_cells_out) {
  const auto study = load_study(good_file("study.yaml"));
  ASSERT_TRUE(study) << errors_of(study);
  std::set<std::string> seen;
  for (const StudyCell& cell : study->cells()) {
    std::string text;
    for (const Setting& setting : cell.settings) text += setting.value + " ";
    seen.insert(text);
  }
  EXPECT_EQ(seen, (std::set<std::string>{"rdma 2 1 16GiB ", "rdma 2 1 32GiB ", "rdma 2 1 64GiB ",
                                         "rdma 4 2 16GiB ", "rdma 4 2 32GiB ", "rdma 4 2 64GiB ",
                                         "tcp 2 1 16GiB ", "tcp 2 1 32GiB ", "tcp 4 2 16GiB ",
                                         "tcp 4 2 32GiB "}));
  EXPECT_EQ(study->cells().size(), 20U);  // two repetitions
}

TEST_F(Studies, reshuffle_no_seed_when_a_value_is_added) {
  const auto few = load(
      "vary:\n  vms.vm.memory: [1GiB, 2GiB]\n  migrations.leave.transport: "
      "[tcp, rdma]\n");
  const auto more = load(
      "vary:\n  migrations.leave.transport: [ipoib, rdma, tcp]\n  "
      "vms.vm.memory: [1GiB, 2GiB, 3GiB]\n");
  ASSERT_TRUE(few) << errors_of(few);
  ASSERT_TRUE(more) << errors_of(more);
  std::set<std::uint64_t> seeds;
  for (const StudyCell& cell : more->cells()) seeds.insert(cell.seed);
  EXPECT_EQ(seeds.size(), 9U);
  for (const StudyCell& cell : few->cells()) EXPECT_EQ(seeds.count(cell.seed), 1U);
  const auto other_seed = load("vary: {vms.vm.memory: [1GiB]}\n", "minimal.yaml", {{"seed", "2"}});
  ASSERT_TRUE(other_seed) << errors_of(other_seed);
  EXPECT_NE(other_seed->cells()[0].seed, load("vary: {vms.vm.memory: [1GiB]}\n")->cells()[0].seed);
}

TEST_F(Studies, write_ranges_out) {
  const auto values = [&](const std::string& range) {
    const auto study = load("vary:\n  " + range + "\n");
    if (!study) return errors_of(study);
    std::string text;
    for (const std::string& value : study->study().vary[0].values) text += value + " ";
    return text;
  };
  EXPECT_EQ(values("vms.vm.memory: {from: 64MiB, to: 4GiB, steps: 7, scale: log}"),
            "64MiB 128MiB 256MiB 512MiB 1GiB 2GiB 4GiB ");
  EXPECT_EQ(values("vms.vm.memory: {from: 1GiB, to: 2GiB, steps: 3}"), "1GiB 1536MiB 2GiB ");
  EXPECT_EQ(values("migrations.leave.at: {from: 0s, to: 1s, steps: 4}"),
            "0s 333.333333ms 666.666667ms 1s ");
  EXPECT_EQ(
      values("platform.streams.tcp.bandwidth: {from: 1GB/s, to: 4GB/s, steps: 3, scale: log}"),
      "1GB/s 2GB/s 4GB/s ");
  EXPECT_EQ(values("vms.vm.vcpus: {from: 1, to: 4, steps: 10}"), "1 2 3 4 ");
  EXPECT_EQ(values("vms.vm.pages.zero: {from: 0%, to: 50%, steps: 3}"), "0 0.25 0.5 ");
}

TEST_F(Studies, read_claims_in_the_metrics_unit) {
  const auto study = load_study(good_file("study.yaml"));
  ASSERT_TRUE(study) << errors_of(study);
  const std::vector<Claim>& claims = study->study().claims;
  ASSERT_EQ(claims.size(), 7U);
  EXPECT_EQ(claims[0].form, Claim::Form::every_cell);
  EXPECT_EQ(claims[0].below, 3.0);
  EXPECT_EQ(claims[0].above, 0.0);
  EXPECT_EQ(claims[0].line, 15U);
  EXPECT_EQ(claims[1].form, Claim::Form::ratio);
  EXPECT_EQ(claims[1].values, (std::vector<std::string>{"rdma", "tcp"}));
  EXPECT_EQ(claims[1].best_over, "vms.vm.count");
  EXPECT_EQ(claims[1].expect, 0.8);
  EXPECT_EQ(claims[1].tolerance, 0.02);
  EXPECT_EQ(claims[2].of, "total_seconds");
  EXPECT_EQ(claims[2].above, 0.5);
  EXPECT_EQ(claims[3].form, Claim::Form::value);
  EXPECT_EQ(claims[3].expect, 2.38);
  EXPECT_EQ(claims[3].tolerance, 0.06);
  EXPECT_EQ(claims[3].where, (Where{{"vms.vm.count", "4"}}));
  EXPECT_EQ(claims[4].form, Claim::Form::ascending);
  EXPECT_EQ(claims[4].note, "perhaps");
  EXPECT_EQ(claims[5].form, Claim::Form::similar);
  EXPECT_EQ(claims[5].within, 0.1);
  EXPECT_EQ(claims[6].form, Claim::Form::linear);
  EXPECT_TRUE(claims[6].by_construction);
  EXPECT_EQ(study->study().plots, (std::vector<std::string>{"breakdown", "multi_vm", "curve"}));
}

TEST_F(Studies, take_a_scenario_that_stands_in_them) {
  const auto study =
      load("vary: {vms.vm.memory: [1GiB, 2GiB]}\n",
           "\n  name: inner\n  platform: test-bed.yaml\n  cluster: {hosts: [{name: h, "
           "count: 2, cores: 2, memory: 4GiB, virtual_functions: 1}]}\n  vms: [{name: "
           "vm, on: h0, memory: 1GiB, pages: {zero: 0%}}]");
  ASSERT_TRUE(study) << errors_of(study);
  EXPECT_TRUE(study->scenario(study->cells()[1]));
}

TEST_F(Studies, without_anything_varied_have_one_cell) {
  const auto study = load("");
  ASSERT_TRUE(study) << errors_of(study);
  EXPECT_EQ(study->cells().size(), 1U);
  EXPECT_TRUE(study->scenario(study->cells()[0]));
}

TEST_F(Studies, put_further_settings_on_top_of_a_cell) {
  const auto study = load("vary: {vms.vm.memory: [1GiB, 2GiB]}\n");
  ASSERT_TRUE(study) << errors_of(study);
  const StudyCell cell = study->cells()[0];
  const auto scenario =
      study->scenario(cell, {{"platform.hypervisor.prepare", "9s"}, {"vms.vm.memory", "3GiB"}});
  ASSERT_TRUE(scenario) << errors_of(scenario);
  EXPECT_EQ(scenario->scenario.platform.hypervisor.prepare, Duration::milliseconds(9'000));
  EXPECT_EQ(std::get<Bytes>(scenario->scenario.vms[0].memory.law), Bytes::gibi(3));
  const auto bad = study->scenario(cell, {{"vms.vn.memory", "3GiB"}});
  EXPECT_EQ(errors_of(bad),
            "--set:1:1: vms.vn.memory: 'vms' has no item 'vn'; did you mean 'vm'?\n");
}

TEST_F(Studies, repeat_where_any_part_of_a_simulation_is_drawn) {
  const auto repeated = [&](const std::string& vary) {
    return errors_of(load(vary + "repeat: 2\n"));
  };
  EXPECT_THAT(repeated(""), testing::HasSubstr("repeat: nothing is random in this scenario"));
  EXPECT_THAT(repeated("vary: {vms.vm.memory: [1GiB, 2GiB]}\n"),
              testing::HasSubstr("nothing is random"));
  EXPECT_THAT(repeated("vary: {platform.hypervisor.variation: [0%]}\n"),
              testing::HasSubstr("nothing is random"));
  EXPECT_EQ(repeated("vary: {platform.hypervisor.variation: [0%, 10%]}\n"), "");
  EXPECT_EQ(repeated("vary: {vms.vm.memory: [{uniform: [1GiB, 2GiB]}]}\n"), "");
}

TEST_F(Studies, bound_differences_below_zero_too) {
  const std::string keys =
      "vary: {vms.vm.memory: [1GiB, {uniform: [1GiB, 2GiB]}]}\nrepeat: 2\npaired: true\nclaims:\n";
  const std::string difference =
      "source: s, difference: {vms.vm.memory: [1GiB, {uniform: [1GiB, 2GiB]}]}, interval: ";
  const auto study = load(keys + "  - {id: A, text: a, metric: total_seconds, " + difference +
                          "{below: 1s, above: -1.5s}}\n  - {id: B, text: b, metric: bytes, " +
                          difference + "{below: -1KiB}}\n  - {id: C, text: c, metric: rounds, " +
                          difference + "{above: -10%}}\n");
  ASSERT_TRUE(study) << errors_of(study);
  const std::vector<Claim>& claims = study->study().claims;
  EXPECT_EQ(claims[0].below, 1.0);
  EXPECT_EQ(claims[0].above, -1.5);
  EXPECT_EQ(claims[1].below, -1024.0);
  EXPECT_EQ(claims[2].above, -0.1);
}

TEST_F(Studies, can_vary_the_platform_and_random_laws) {
  std::filesystem::copy_file(folder_ / "test-bed.yaml", folder_ / "other.yaml");
  const auto study = load(
      "vary:\n  platform: [test-bed.yaml, other.yaml]\n  vms.vm.memory: [1GiB, "
      "{uniform: [1GiB, 2GiB]}]\nrepeat: 2\n");
  ASSERT_TRUE(study) << errors_of(study);
  // The files are read once: cells do not depend on them any more.
  std::filesystem::remove(folder_ / "other.yaml");
  std::filesystem::remove(folder_ / "test-bed.yaml");
  for (const StudyCell& cell : study->cells()) {
    const auto scenario = study->scenario(cell);
    EXPECT_TRUE(scenario) << errors_of(scenario);
  }
}

}  // namespace
}  // namespace ferry
