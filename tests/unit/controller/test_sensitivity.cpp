#include <gtest/gtest.h>

#include "controller/cli/sensitivity.hpp"

namespace ferry {
namespace {

SourcedConstant constant(const std::string& path, ConstantKind kind) {
  SourcedConstant result;
  result.path = path;
  result.value = "1s";
  result.kind = kind;
  return result;
}

std::vector<CellResult> one_cell(const std::string& total) {
  CellResult cell;
  cell.cell.name = "cell-0001";
  cell.metrics = {{"total_seconds", total}};
  return {cell};
}

PerturbedCells perturbed(const std::string& path, double factor, std::vector<CellResult> cells,
                         const std::string& not_tried = "") {
  PerturbedCells result;
  result.perturbation.path = path;
  result.perturbation.factor = factor;
  result.cells = std::move(cells);
  result.not_tried = not_tried;
  return result;
}

TEST(perturbations, halve_and_double_each_assumed_constant_once_unless_it_is_varied) {
  Study study;
  study.vary = {{"vms.vm.memory", {"1GiB", "2GiB"}}};
  std::string text;
  for (const Perturbation& p :
       perturbations(study, {constant("platform.hypervisor.finish", ConstantKind::assumed),
                             constant("vms.vm.memory", ConstantKind::assumed),
                             constant("platform.hypervisor.prepare", ConstantKind::fitted),
                             constant("platform.mpi.notice", ConstantKind::measured),
                             constant("platform.hypervisor.finish", ConstantKind::assumed),
                             constant("vms.vm.pages.zero", ConstantKind::assumed)})) {
    text += p.text() + "\n";
  }
  EXPECT_EQ(text,
            "hypervisor.finish halved\nhypervisor.finish doubled\n"
            "vms.vm.pages.zero halved\nvms.vm.pages.zero doubled\n");
}

TEST(robustness, names_what_turns_a_claim_and_what_could_not_be_tried) {
  Claim claim;
  claim.metric = "total_seconds";
  claim.form = Claim::Form::every_cell;
  claim.below = 3;
  const PerturbedCells same = perturbed("platform.a", 0.5, one_cell("2"));
  const PerturbedCells other = perturbed("platform.a", 2, one_cell("4"));
  const PerturbedCells crashed = perturbed("platform.b", 2, one_cell(""));
  const PerturbedCells none = perturbed("vms.vm.pages.zero", 2, {}, "more than 100 %");
  EXPECT_EQ(robustness_of(claim, true, {same}).text(), "yes");
  EXPECT_EQ(robustness_of(claim, true, {same, other, crashed}).text(), "no: a doubled, b doubled");
  // A missed claim that a perturbation would make hold is not robust either.
  EXPECT_EQ(robustness_of(claim, false, {same, other}).text(), "no: a halved");
  EXPECT_EQ(robustness_of(claim, true, {same, none}).text(),
            "yes; not tried: vms.vm.pages.zero doubled (more than 100 %)");
}

}  // namespace
}  // namespace ferry
