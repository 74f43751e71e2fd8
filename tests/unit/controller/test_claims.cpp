#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "controller/cli/claims.hpp"
#include "controller/cli/mean_interval.hpp"

namespace ferry {
namespace {

/// A cell of a study that varies `transport` and `count`, with one metric of total_seconds.
CellResult cell(const std::string& transport, const std::string& count, const std::string& total,
                std::uint32_t repetition = 0) {
  CellResult result;
  result.cell.name = "cell-" + transport + count;
  result.cell.settings = {{"transport", transport}, {"count", count}};
  result.cell.repetition = repetition;
  result.metrics = {{"total_seconds", total}, {"migration_seconds", "0.5"}};
  result.outcome = "completed";
  return result;
}

Claim claim(Claim::Form form) {
  Claim result;
  result.id = "C1";
  result.metric = "total_seconds";
  result.form = form;
  return result;
}

struct Expectation {
  Holds holds;
  std::string expected;
  std::string got;
  std::string reason;
};

void expect_verdict(const ClaimVerdict& verdict, const Expectation& expectation) {
  EXPECT_EQ(to_name(verdict.holds), to_name(expectation.holds));
  EXPECT_EQ(verdict.expected, expectation.expected);
  EXPECT_EQ(verdict.got, expectation.got);
  EXPECT_EQ(verdict.reason, expectation.reason);
}

TEST(every_cell, holds_if_each_cell_is_within_the_bounds) {
  Claim c = claim(Claim::Form::every_cell);
  c.below = 3;
  expect_verdict(evaluate(c, {cell("tcp", "2", "2.5"), cell("rdma", "2", "2.000000000")}),
                 {Holds::yes, "below 3 s", "2 s to 2.5 s", ""});
  c.above = 2;
  expect_verdict(evaluate(c, {cell("tcp", "2", "2.5"), cell("rdma", "2", "2.000000000")}),
                 {Holds::no, "above 2 s and below 3 s", "2 s to 2.5 s",
                  "cell-rdma2 (transport=rdma, count=2) gave 2 s"});
}

TEST(every_cell, looks_at_every_repetition_and_not_at_medians) {
  Claim c = claim(Claim::Form::every_cell);
  c.below = 3;
  EXPECT_FALSE(
      evaluate(c, {cell("tcp", "2", "1", 0), cell("tcp", "2", "1", 1), cell("tcp", "2", "3", 2)})
          .met());
}

TEST(every_cell, divides_by_another_metric_of_the_same_cell) {
  Claim c = claim(Claim::Form::every_cell);
  c.metric = "migration_seconds";
  c.of = "total_seconds";
  c.above = 0.2;
  expect_verdict(evaluate(c, {cell("tcp", "2", "1"), cell("rdma", "2", "2")}),
                 {Holds::yes, "above 0.2", "0.25 to 0.5", ""});
  EXPECT_EQ(evaluate(c, {cell("tcp", "2", "0")}).reason,
            "cell-tcp2 (transport=tcp, count=2) has a total_seconds of zero");
}

TEST(claims, speak_of_the_selected_cells_alone) {
  Claim c = claim(Claim::Form::every_cell);
  c.below = 3;
  c.where = {{"transport", "tcp"}};
  EXPECT_TRUE(evaluate(c, {cell("tcp", "2", "1"), cell("rdma", "2", "9")}).met());
  c.where = {{"transport", "ipoib"}};
  expect_verdict(evaluate(c, {cell("tcp", "2", "1")}),
                 {Holds::no, "below 3 s", "", "no cell is selected"});
}

TEST(claims, are_broken_by_a_cell_without_a_value) {
  CellResult crashed = cell("rdma", "2", "");
  crashed.outcome = "failed";
  crashed.reason = "was killed by signal 11 (Segmentation fault)";
  Claim c = claim(Claim::Form::every_cell);
  c.below = 3;
  expect_verdict(
      evaluate(c, {cell("tcp", "2", "1"), crashed}),
      {Holds::no, "below 3 s", "1 s",
       "cell-rdma2 (transport=rdma, count=2) has no total_seconds: was killed by signal 11 "
       "(Segmentation fault)"});
  crashed.metrics.clear();
  EXPECT_FALSE(evaluate(c, {crashed}).met());
}

TEST(claims, with_a_note_are_not_reproduced_instead_of_broken) {
  Claim c = claim(Claim::Form::every_cell);
  c.below = 1;
  c.note = "the adapter is another one";
  expect_verdict(evaluate(c, {cell("tcp", "2", "2")}),
                 {Holds::not_reproduced, "below 1 s", "2 s",
                  "the adapter is another one (cell-tcp2 (transport=tcp, count=2) gave 2 s)"});
  c.below = 3;
  EXPECT_EQ(evaluate(c, {cell("tcp", "2", "2")}).reason, "");
}

TEST(claims, name_a_few_of_many_broken_cells) {
  Claim c = claim(Claim::Form::every_cell);
  c.below = 1;
  const std::string reason =
      evaluate(c, {cell("a", "1", "2"), cell("b", "1", "2"), cell("c", "1", "2"),
                   cell("d", "1", "2"), cell("e", "1", "2")})
          .reason;
  EXPECT_TRUE(reason.find("cell-c1") != std::string::npos);
  EXPECT_TRUE(reason.find("cell-d1") == std::string::npos);
  EXPECT_EQ(reason.substr(reason.size() - 12), "; and 2 more");
}

TEST(value, is_the_median_of_medians_within_a_share_of_what_is_expected) {
  Claim c = claim(Claim::Form::value);
  c.expect = 2;
  c.tolerance = 0.05;
  // tcp: median of 1.9, 2.0, 9 is 2.0; rdma: 2.1
  expect_verdict(evaluate(c, {cell("tcp", "2", "9", 0), cell("tcp", "2", "1.9", 1),
                              cell("tcp", "2", "2.0", 2), cell("rdma", "2", "2.1")}),
                 {Holds::yes, "2 s +- 5 %", "2.05 s (+2.5 %)", ""});
  expect_verdict(evaluate(c, {cell("tcp", "2", "2.2")}),
                 {Holds::no, "2 s +- 5 %", "2.2 s (+10.0 %)", "2.2 s is not within 5 % of 2 s"});
  EXPECT_FALSE(evaluate(c, {cell("tcp", "2", "1.89")}).met());
  EXPECT_TRUE(evaluate(c, {cell("tcp", "2", "1.91")}).met());
}

TEST(ratio, must_hold_for_every_pair_of_cells_that_differ_in_the_path_alone) {
  Claim c = claim(Claim::Form::ratio);
  c.path = "transport";
  c.values = {"rdma", "tcp"};
  c.expect = 0.8;
  c.tolerance = 0.02;
  expect_verdict(evaluate(c, {cell("tcp", "2", "10"), cell("tcp", "4", "20"),
                              cell("rdma", "2", "8.1"), cell("rdma", "4", "15.8")}),
                 {Holds::yes, "0.8 +- 0.02", "0.79 to 0.81", ""});
  expect_verdict(
      evaluate(c, {cell("tcp", "2", "10"), cell("tcp", "4", "20"), cell("rdma", "2", "8.1"),
                   cell("rdma", "4", "18")}),
      {Holds::no, "0.8 +- 0.02", "0.81 to 0.9", "0.9 at count=4 is not within 0.02 of 0.8"});
}

TEST(ratio, uses_medians_over_repetitions) {
  Claim c = claim(Claim::Form::ratio);
  c.path = "transport";
  c.values = {"rdma", "tcp"};
  c.expect = 0.5;
  EXPECT_TRUE(evaluate(c, {cell("tcp", "2", "10", 0), cell("tcp", "2", "20", 1),
                           cell("tcp", "2", "11", 2), cell("rdma", "2", "5.5", 0)})
                  .met());
}

TEST(ratio, best_over_takes_the_smallest) {
  Claim c = claim(Claim::Form::ratio);
  c.path = "transport";
  c.values = {"rdma", "tcp"};
  c.best_over = "count";
  c.expect = 0.5;
  c.tolerance = 0.01;
  const std::vector<CellResult> cells = {cell("tcp", "2", "10"), cell("tcp", "4", "10"),
                                         cell("rdma", "2", "9"), cell("rdma", "4", "5")};
  expect_verdict(evaluate(c, cells), {Holds::yes, "at best 0.5 +- 0.01", "0.5 at count=4", ""});
  c.expect = 0.9;  // not the smallest
  EXPECT_FALSE(evaluate(c, cells).met());
}

TEST(ratio, says_so_if_there_is_no_pair_or_no_divisor) {
  Claim c = claim(Claim::Form::ratio);
  c.path = "transport";
  c.values = {"rdma", "tcp"};
  c.expect = 0.5;
  EXPECT_EQ(evaluate(c, {cell("tcp", "2", "10")}).reason, "no cell pairs rdma with tcp");
  EXPECT_EQ(evaluate(c, {cell("tcp", "2", "0"), cell("rdma", "2", "1")}).reason,
            "at transport=tcp, count=2 the divisor is zero");
}

TEST(ascending, compares_medians_in_the_order_that_is_claimed) {
  Claim c = claim(Claim::Form::ascending);
  c.path = "transport";
  c.values = {"rdma", "ipoib", "tcp"};
  expect_verdict(
      evaluate(c, {cell("tcp", "2", "3"), cell("ipoib", "2", "2"), cell("rdma", "2", "2")}),
      {Holds::yes, "rdma <= ipoib <= tcp", "2 s, 2 s, 3 s", ""});
  expect_verdict(
      evaluate(c, {cell("tcp", "2", "1"), cell("ipoib", "2", "2"), cell("rdma", "2", "2")}),
      {Holds::no, "rdma <= ipoib <= tcp", "2 s, 2 s, 1 s",
       "1 s at transport=tcp, count=2 is less than 2 s at transport=ipoib, count=2"});
}

TEST(ascending, compares_cells_that_differ_in_a_path_and_in_those_that_move_with_it) {
  Claim c = claim(Claim::Form::ascending);
  c.path = "transport";
  c.values = {"rdma", "tcp"};
  const std::vector<CellResult> cells = {cell("rdma", "2", "3"), cell("tcp", "4", "1")};
  // By itself no cell is like another but for its transport, and the claim says nothing.
  expect_verdict(evaluate(c, cells),
                 {Holds::no, "rdma <= tcp", "3 s; 1 s", "no two cells differ in transport alone"});
  c.together = {{"count", "transport"}};
  expect_verdict(evaluate(c, cells),
                 {Holds::no, "rdma <= tcp", "3 s, 1 s",
                  "1 s at transport=tcp, count=4 is less than 3 s at transport=rdma, count=2"});
  c.values = {"tcp", "rdma"};
  EXPECT_TRUE(evaluate(c, cells).met());
}

TEST(measures, are_what_a_claim_looked_at_and_what_it_allows) {
  struct Case {
    Claim::Form form;
    std::string text;
  };
  for (const auto& [form, expected] :
       {Case{Claim::Form::every_cell, "total_seconds: 2 to 3 within - to 4"},
        Case{Claim::Form::value, "total_seconds: 2.5 to 2.5 within 1 to 3"},
        Case{Claim::Form::ratio,
             "total_seconds at rdma / at tcp: 0.6667 to 0.6667 within 1.5 to 2.5"},
        Case{Claim::Form::ascending, "total_seconds / the one before: 1.5 to 1.5 within 1 to -"},
        Case{Claim::Form::similar,
             "largest / smallest total_seconds - 1: 0.5 to 0.5 within - to 0.1"}}) {
    Claim c = claim(form);
    c.path = "transport";
    c.values = {"rdma", "tcp"};
    c.below = 4;
    c.expect = 2;
    c.tolerance = 0.5;
    c.within = 0.1;
    const auto measure =
        evaluate(c, {cell("rdma", "2", "2"), cell("tcp", "2", "3"), cell("ipoib", "2", "2.5")})
            .measure;
    ASSERT_TRUE(measure.has_value());
    const auto bound = [](std::optional<double> value) {
      return value ? fmt::format("{:.4g}", *value) : std::string("-");
    };
    EXPECT_EQ(fmt::format("{}: {:.4g} to {:.4g} within {} to {}", measure->quantity, measure->low,
                          measure->high, bound(measure->least), bound(measure->greatest)),
              expected);
  }
  Claim off = claim(Claim::Form::linear);
  off.path = "count";
  off.within = 0.1;
  const auto distance =
      evaluate(off, {cell("tcp", "1", "0"), cell("tcp", "2", "6"), cell("tcp", "3", "6")}).measure;
  EXPECT_EQ(distance->quantity, "distance of total_seconds from a line / mean");
  EXPECT_DOUBLE_EQ(distance->high, 0.5);
  EXPECT_FALSE(evaluate(claim(Claim::Form::value), {}).measure.has_value());
}

TEST(similar, compares_the_largest_with_the_smallest_median) {
  Claim c = claim(Claim::Form::similar);
  c.path = "transport";
  c.within = 0.1;
  expect_verdict(evaluate(c, {cell("tcp", "2", "1"), cell("rdma", "2", "1.1"),
                              cell("tcp", "4", "50"), cell("rdma", "4", "51")}),
                 {Holds::yes, "largest at most 10 % above smallest", "1 s to 51 s (+10 %)", ""});
  expect_verdict(evaluate(c, {cell("tcp", "2", "1"), cell("rdma", "2", "1.2")}),
                 {Holds::no, "largest at most 10 % above smallest", "1 s to 1.2 s (+20 %)",
                  "1.2 s at transport=rdma, count=2 against 1 s at transport=tcp, count=2"});
  EXPECT_TRUE(evaluate(c, {cell("tcp", "2", "0"), cell("rdma", "2", "0")}).met());
  EXPECT_FALSE(evaluate(c, {cell("tcp", "2", "0"), cell("rdma", "2", "0.1")}).met());
}

TEST(linear, measures_how_far_points_are_from_a_least_squares_line) {
  Claim c = claim(Claim::Form::linear);
  c.path = "count";
  c.within = 0.1;
  expect_verdict(
      evaluate(c, {cell("tcp", "2", "5"), cell("tcp", "4", "9"), cell("tcp", "8", "17")}),
      {Holds::yes, "off a line by at most 10 % of the mean", "off by 0 %", ""});
  // Mean 4; the line through 0, 6, 6 at 1, 2, 3 is 3 x - 2: residuals 1, 2, 1.
  expect_verdict(
      evaluate(c, {cell("tcp", "1", "0"), cell("tcp", "2", "6"), cell("tcp", "3", "6")}),
      {Holds::no, "off a line by at most 10 % of the mean", "off by 50 %",
       "0 s at 1 is off the line by 25 % of the mean; 6 s at 2 is off the line by 50 % of the "
       "mean; 6 s at 3 is off the line by 25 % of the mean"});
}

TEST(linear, reads_quantities_and_refuses_words) {
  Claim c = claim(Claim::Form::linear);
  c.path = "count";
  c.within = 0.001;
  EXPECT_TRUE(evaluate(c, {cell("tcp", "512MiB", "1.5"), cell("tcp", "1GiB", "2"),
                           cell("tcp", "4GiB", "5")})
                  .met());
  EXPECT_EQ(evaluate(c, {cell("tcp", "many", "1.5")}).reason,
            "count has values that are no numbers");
}

TEST(basis, is_fitted_only_if_a_fitted_constant_names_the_claim) {
  Claim c = claim(Claim::Form::value);
  SourcedConstant constant;
  constant.kind = ConstantKind::fitted;
  constant.fitted_to = {"C0"};
  EXPECT_EQ(basis_of(c, {constant}), "predicted");
  constant.fitted_to = {"C0", "C1"};
  EXPECT_EQ(basis_of(c, {constant}), "fitted");
  constant.kind = ConstantKind::assumed;
  EXPECT_EQ(basis_of(c, {constant}), "predicted");
  c.by_construction = true;
  EXPECT_EQ(basis_of(c, {constant}), "by construction");
}

TEST(value_text, has_the_unit_of_the_metric) {
  EXPECT_EQ(value_text(2.41234, "total_seconds"), "2.412 s");
  EXPECT_EQ(value_text(123456, "total_seconds"), "123456 s");
  EXPECT_EQ(value_text(1610612736, "bytes"), "1.5 GiB");
  EXPECT_EQ(value_text(1572864, "bytes"), "1.5 MiB");
  EXPECT_EQ(value_text(12, "bytes"), "12 B");
  EXPECT_EQ(value_text(0.80249, ""), "0.802");
}

TEST(mean_interval, is_that_of_a_worked_example) {
  // n = 5, mean 3, s = sqrt(2.5): 3 +- 2.776 * 1.5811 / 2.2361
  const MeanInterval found = mean_interval(std::vector<double>{1, 2, 3, 4, 5});
  EXPECT_DOUBLE_EQ(found.mean, 3);
  EXPECT_NEAR(found.low, 3 - 1.963, 1e-3);
  EXPECT_NEAR(found.high, 3 + 1.963, 1e-3);
}

TEST(mean_interval, goes_on_beyond_the_table_of_quantiles) {
  std::vector<double> values(61, 0);  // 60 degrees of freedom: 2.0003
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = i % 2 == 0 ? 1 : -1;
  const MeanInterval found = mean_interval(values);
  const double mean = 1.0 / 61;
  const double deviation =
      std::sqrt((31 * std::pow(1 - mean, 2) + 30 * std::pow(1 + mean, 2)) / 60);
  EXPECT_NEAR((found.high - found.mean) / (deviation / std::sqrt(61.0)), 2.0003, 1e-3);
}

/// Totals that vary from repetition to repetition much more than from transport to transport.
std::vector<CellResult> pairs(const std::string& count, double less) {
  std::vector<CellResult> cells;
  for (std::uint32_t n = 0; n < 3; ++n) {
    const double base = 10.0 * (n + 1);
    cells.push_back(cell("tcp", count, fmt::format("{}", base + 0.1 * n), n));
    cells.push_back(cell("rdma", count, fmt::format("{}", base - less), n));
  }
  return cells;
}

TEST(difference, compares_repetition_by_repetition) {
  Claim c = claim(Claim::Form::difference);
  c.path = "transport";
  c.values = {"rdma", "tcp"};
  c.below = 0;
  // -1, -1.1, -1.2: mean -1.1, s = 0.1, half of the interval 4.303 * 0.1 / sqrt(3)
  expect_verdict(evaluate(c, pairs("2", 1)),
                 {Holds::yes, "interval below 0 s", "-1.1 s (-1.348 s to -0.8516 s)", ""});
  c.below = -0.9;
  expect_verdict(evaluate(c, pairs("2", 1)),
                 {Holds::no, "interval below -0.9 s", "-1.1 s (-1.348 s to -0.8516 s)",
                  "-1.1 s (-1.348 s to -0.8516 s) at count=2"});
}

TEST(difference, holds_for_each_group_of_cells_that_differ_in_its_path_alone) {
  Claim c = claim(Claim::Form::difference);
  c.path = "transport";
  c.values = {"rdma", "tcp"};
  c.below = 0;
  std::vector<CellResult> cells = pairs("2", 1);
  for (CellResult& other : pairs("4", -1)) cells.push_back(std::move(other));
  const ClaimVerdict verdict = evaluate(c, cells);
  EXPECT_FALSE(verdict.met());
  EXPECT_EQ(verdict.got, "-1.1 s (-1.348 s to -0.8516 s); 0.9 s (0.6516 s to 1.148 s)");
  EXPECT_EQ(verdict.reason, "0.9 s (0.6516 s to 1.148 s) at count=4");
  EXPECT_DOUBLE_EQ(verdict.measure.value().greatest.value(), 0);
}

TEST(difference, needs_two_pairs) {
  Claim c = claim(Claim::Form::difference);
  c.path = "transport";
  c.values = {"rdma", "tcp"};
  c.below = 0;
  std::vector<CellResult> cells = pairs("2", 1);
  cells.resize(3);  // the second repetition has no rdma
  EXPECT_EQ(evaluate(c, cells).reason, "1 pair at count=2: an interval needs two or more");
}

}  // namespace
}  // namespace ferry
