#include "controller/cli/claims.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "controller/cli/mean_interval.hpp"
#include "core/units/check.hpp"
#include "core/units/units.hpp"

namespace ferry {
namespace {

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

std::optional<double> number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(value)) {
    return std::nullopt;
  }
  return value;
}

/// What a cell is called in a reason: "cell-0003 (schedule.order=parallel)".
std::string cell_text(const CellResult& cell) {
  std::string settings;
  for (const Setting& setting : cell.cell.settings) {
    settings += fmt::format("{}{}={}", settings.empty() ? "" : ", ", setting.path, setting.value);
  }
  return settings.empty() ? cell.cell.name : fmt::format("{} ({})", cell.cell.name, settings);
}

std::string settings_text(const Where& settings) {
  std::string text;
  for (const Setting& setting : settings) {
    text += fmt::format("{}{}={}", text.empty() ? "" : ", ", setting.path, setting.value);
  }
  return text;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// The median over the repetitions of one assignment.
struct Point {
  Where assignment;
  double value = 0;

  [[nodiscard]] const std::string* at(std::string_view path) const {
    for (const Setting& setting : assignment) {
      if (setting.path == path) return &setting.value;
    }
    return nullptr;
  }
};

/// Points that differ in one path (or two) alone, in the order of the cells.
struct Group {
  Where common;
  std::vector<const Point*> points;

  [[nodiscard]] const Point* at(std::string_view path, std::string_view value) const {
    for (const Point* point : points) {
      const std::string* found = point->at(path);
      if (found != nullptr && *found == value) return point;
    }
    return nullptr;
  }
};

/// A path and those that move with it: points that differ in it alone differ in these as well.
std::vector<std::string> moving_with(const Claim& claim, const std::string& path) {
  for (const std::vector<std::string>& paths : claim.together) {
    if (std::find(paths.begin(), paths.end(), path) != paths.end()) return paths;
  }
  return {path};
}

std::vector<Group> group_by_all_but(const std::vector<Point>& points,
                                    const std::vector<std::string>& paths) {
  std::vector<Group> groups;
  for (const Point& point : points) {
    Where common;
    for (const Setting& setting : point.assignment) {
      if (std::find(paths.begin(), paths.end(), setting.path) == paths.end()) {
        common.push_back(setting);
      }
    }
    const auto found = std::find_if(groups.begin(), groups.end(),
                                    [&](const Group& group) { return group.common == common; });
    if (found != groups.end()) {
      found->points.push_back(&point);
    } else {
      groups.push_back({std::move(common), {&point}});
    }
  }
  return groups;
}

/// The name whose unit the claim's values have: none for the quotient of two metrics.
std::string_view unit_metric(const Claim& claim) {
  return claim.of ? std::string_view() : std::string_view(claim.metric);
}

std::string range_text(double low, double high, std::string_view metric) {
  const std::string first = value_text(low, metric);
  const std::string last = value_text(high, metric);
  return first == last ? first : fmt::format("{} to {}", first, last);
}

/// Without the rounding errors of the share's arithmetic.
std::string percent_text(double share) {
  return fmt::format("{:.3g} %", std::round(share * 1e6) / 1e4);
}

std::string bounds_text(const Claim& claim) {
  const std::string_view metric = unit_metric(claim);
  if (claim.below && claim.above) {
    return fmt::format("above {} and below {}", value_text(*claim.above, metric),
                       value_text(*claim.below, metric));
  }
  return claim.below ? fmt::format("below {}", value_text(*claim.below, metric))
                     : fmt::format("above {}", value_text(claim.above.value_or(0), metric));
}

/// What one form found.
struct Finding {
  std::string expected;
  std::string got;
  std::vector<std::string> broken;  ///< each way in which the claim does not hold
  std::optional<ClaimMeasure> measure;
};

/// What values are called: "total_seconds", "migration_seconds / total_seconds".
std::string quantity_text(const Claim& claim) {
  return claim.of ? fmt::format("{} / {}", claim.metric, *claim.of) : claim.metric;
}

/// A claim that compares nothing says nothing.
void check_compared(const Claim& claim, const std::vector<Group>& groups, Finding& finding) {
  if (std::any_of(groups.begin(), groups.end(),
                  [](const Group& group) { return group.points.size() > 1; })) {
    return;
  }
  finding.broken.push_back(fmt::format("no two cells differ in {} alone", claim.path));
}

Finding find_every_cell(const Claim& claim,
                        const std::vector<std::pair<const CellResult*, double>>& values) {
  Finding finding{bounds_text(claim), "", {}, {}};
  const std::string_view metric = unit_metric(claim);
  double low = values.front().second;
  double high = low;
  for (const auto& [cell, value] : values) {
    low = std::min(low, value);
    high = std::max(high, value);
    const bool within =
        (!claim.below || value < *claim.below) && (!claim.above || value > *claim.above);
    if (!within) {
      finding.broken.push_back(
          fmt::format("{} gave {}", cell_text(*cell), value_text(value, metric)));
    }
  }
  finding.got = range_text(low, high, metric);
  finding.measure = {quantity_text(claim), low, high, claim.above, claim.below};
  return finding;
}

Finding find_value(const Claim& claim, const std::vector<Point>& points) {
  std::vector<double> values;
  for (const Point& point : points) values.push_back(point.value);
  const double got = median(std::move(values));
  const double expect = claim.expect.value_or(0);
  const std::string_view metric = unit_metric(claim);
  Finding finding{
      fmt::format("{} +- {}", value_text(expect, metric), percent_text(claim.tolerance)),
      value_text(got, metric),
      {},
      ClaimMeasure{quantity_text(claim), got, got, expect - claim.tolerance * std::abs(expect),
                   expect + claim.tolerance * std::abs(expect)}};
  if (expect != 0) finding.got += fmt::format(" ({:+.1f} %)", (got / expect - 1) * 100);
  if (std::abs(got - expect) > claim.tolerance * std::abs(expect)) {
    finding.broken.push_back(fmt::format("{} is not within {} of {}", value_text(got, metric),
                                         percent_text(claim.tolerance),
                                         value_text(expect, metric)));
  }
  return finding;
}

Finding find_ratio(const Claim& claim, const std::vector<Point>& points) {
  check(claim.values.size() == 2, "the reader accepts a ratio of two values only");
  const double expect = claim.expect.value_or(0);
  Finding finding{
      fmt::format("{}{:.3g} +- {:.3g}", claim.best_over ? "at best " : "", expect, claim.tolerance),
      "",
      {},
      {}};
  struct Quotient {
    Where common;
    double value;
  };
  std::vector<Quotient> quotients;
  for (const Group& group : group_by_all_but(points, moving_with(claim, claim.path))) {
    const Point* first = group.at(claim.path, claim.values[0]);
    const Point* second = group.at(claim.path, claim.values[1]);
    if (first == nullptr || second == nullptr) continue;  // an excepted cell
    if (second->value == 0) {
      finding.broken.push_back(
          fmt::format("at {} the divisor is zero", settings_text(second->assignment)));
      continue;
    }
    quotients.push_back({group.common, first->value / second->value});
  }
  if (quotients.empty()) {
    if (finding.broken.empty()) {
      finding.broken.push_back(
          fmt::format("no cell pairs {} with {}", claim.values[0], claim.values[1]));
    }
    return finding;
  }
  if (claim.best_over) {
    // The smallest of those that differ in this path alone.
    std::vector<Quotient> best;
    const std::vector<std::string> over = moving_with(claim, *claim.best_over);
    for (const Quotient& quotient : quotients) {
      Where rest;
      for (const Setting& setting : quotient.common) {
        if (std::find(over.begin(), over.end(), setting.path) == over.end()) {
          rest.push_back(setting);
        }
      }
      const auto same_rest = [&](const Quotient& other) {
        return std::all_of(rest.begin(), rest.end(), [&](const Setting& setting) {
          return std::find(other.common.begin(), other.common.end(), setting) != other.common.end();
        });
      };
      const auto found = std::find_if(best.begin(), best.end(), same_rest);
      if (found == best.end()) {
        best.push_back(quotient);
      } else if (quotient.value < found->value) {
        *found = quotient;
      }
    }
    quotients = std::move(best);
  }
  const auto [low, high] =
      std::minmax_element(quotients.begin(), quotients.end(),
                          [](const Quotient& a, const Quotient& b) { return a.value < b.value; });
  finding.got = range_text(low->value, high->value, "");
  finding.measure = {
      fmt::format("{} at {} / at {}", quantity_text(claim), claim.values[0], claim.values[1]),
      low->value, high->value, expect - claim.tolerance, expect + claim.tolerance};
  if (claim.best_over && quotients.size() == 1) {
    for (const Setting& setting : quotients.front().common) {
      if (setting.path == *claim.best_over) {
        finding.got += fmt::format(" at {}={}", setting.path, setting.value);
      }
    }
  }
  for (const Quotient& quotient : quotients) {
    if (std::abs(quotient.value - expect) <= claim.tolerance) continue;
    const std::string where = settings_text(quotient.common);
    finding.broken.push_back(fmt::format("{:.3g}{}{} is not within {:.3g} of {:.3g}",
                                         quotient.value, where.empty() ? "" : " at ", where,
                                         claim.tolerance, expect));
  }
  return finding;
}

Finding find_ascending(const Claim& claim, const std::vector<Point>& points) {
  std::string order;
  for (const std::string& value : claim.values) {
    order += (order.empty() ? "" : " <= ") + value;
  }
  Finding finding{order, "", {}, {}};
  const std::string_view metric = unit_metric(claim);
  const std::vector<Group> groups = group_by_all_but(points, moving_with(claim, claim.path));
  std::vector<double> steps;
  for (const Group& group : groups) {
    const Point* before = nullptr;
    std::string got;
    for (const std::string& value : claim.values) {
      const Point* point = group.at(claim.path, value);
      if (point == nullptr) continue;  // an excepted cell
      got += (got.empty() ? "" : ", ") + value_text(point->value, metric);
      if (before != nullptr && before->value != 0) steps.push_back(point->value / before->value);
      if (before != nullptr && point->value < before->value) {
        finding.broken.push_back(
            fmt::format("{} at {} is less than {} at {}", value_text(point->value, metric),
                        settings_text(point->assignment), value_text(before->value, metric),
                        settings_text(before->assignment)));
      }
      before = point;
    }
    if (!got.empty()) finding.got += (finding.got.empty() ? "" : "; ") + got;
  }
  check_compared(claim, groups, finding);
  if (!steps.empty()) {
    const auto [least, greatest] = std::minmax_element(steps.begin(), steps.end());
    finding.measure = {fmt::format("{} / the one before", quantity_text(claim)), *least, *greatest,
                       1.0, std::nullopt};
  }
  return finding;
}

Finding find_similar(const Claim& claim, const std::vector<Point>& points) {
  Finding finding{
      fmt::format("largest at most {} above smallest", percent_text(claim.within)), "", {}, {}};
  double worst = 0;
  double low = points.front().value;
  double high = low;
  const std::vector<Group> groups = group_by_all_but(points, moving_with(claim, claim.path));
  for (const Group& group : groups) {
    const auto [smallest, largest] =
        std::minmax_element(group.points.begin(), group.points.end(),
                            [](const Point* a, const Point* b) { return a->value < b->value; });
    const double from = (*smallest)->value;
    const double to = (*largest)->value;
    low = std::min(low, from);
    high = std::max(high, to);
    if (to <= from * (1 + claim.within)) {
      if (from > 0) worst = std::max(worst, to / from - 1);
      continue;
    }
    const std::string_view metric = unit_metric(claim);
    finding.broken.push_back(fmt::format(
        "{} at {} against {} at {}", value_text(to, metric), settings_text((*largest)->assignment),
        value_text(from, metric), settings_text((*smallest)->assignment)));
    if (from > 0) worst = std::max(worst, to / from - 1);
  }
  finding.got =
      fmt::format("{} (+{})", range_text(low, high, unit_metric(claim)), percent_text(worst));
  finding.measure = {fmt::format("largest / smallest {} - 1", quantity_text(claim)), worst, worst,
                     std::nullopt, claim.within};
  check_compared(claim, groups, finding);
  return finding;
}

Finding find_linear(const Claim& claim, const std::vector<Point>& points) {
  Finding finding{
      fmt::format("off a line by at most {} of the mean", percent_text(claim.within)), "", {}, {}};
  double worst = 0;
  const std::vector<Group> groups = group_by_all_but(points, moving_with(claim, claim.path));
  for (const Group& group : groups) {
    std::vector<std::pair<double, double>> pairs;
    for (const Point* point : group.points) {
      const std::string* text = point->at(claim.path);
      const std::optional<double> x = text != nullptr ? numeric_value(*text) : std::nullopt;
      if (!x) {
        finding.broken.push_back(fmt::format("{} has values that are no numbers", claim.path));
        return finding;
      }
      pairs.emplace_back(*x, point->value);
    }
    // Least squares about the means.
    const auto count = static_cast<double>(pairs.size());
    double mean_x = 0;
    double mean_y = 0;
    for (const auto& [x, y] : pairs) {
      mean_x += x / count;
      mean_y += y / count;
    }
    double sum_xx = 0;
    double sum_xy = 0;
    for (const auto& [x, y] : pairs) {
      sum_xx += (x - mean_x) * (x - mean_x);
      sum_xy += (x - mean_x) * (y - mean_y);
    }
    const double slope = sum_xx > 0 ? sum_xy / sum_xx : 0;
    for (const auto& [x, y] : pairs) {
      const double residual = std::abs(y - (mean_y + slope * (x - mean_x)));
      const double share = mean_y != 0 ? residual / std::abs(mean_y) : (residual > 0 ? 1.0 : 0.0);
      worst = std::max(worst, share);
      if (share > claim.within) {
        finding.broken.push_back(fmt::format("{} at {:.6g} is off the line by {} of the mean",
                                             value_text(y, unit_metric(claim)), x,
                                             percent_text(share)));
      }
    }
  }
  finding.got = fmt::format("off by {}", percent_text(worst));
  finding.measure = {fmt::format("distance of {} from a line / mean", quantity_text(claim)), worst,
                     worst, std::nullopt, claim.within};
  check_compared(claim, groups, finding);
  return finding;
}

/// One for each group of cells that differ in the claim's path alone: pairs of one repetition.
Finding find_difference(const Claim& claim,
                        const std::vector<std::pair<const CellResult*, double>>& values) {
  check(claim.values.size() == 2, "the reader accepts a difference of two values only");
  const std::string_view metric = unit_metric(claim);
  Finding finding{"interval " + bounds_text(claim), "", {}, {}};
  const std::vector<std::string> paths = moving_with(claim, claim.path);
  std::map<Where, std::map<std::uint32_t, std::array<std::optional<double>, 2>>> groups;
  std::vector<Where> order;
  for (const auto& [cell, value] : values) {
    Where common;
    std::optional<std::size_t> side;
    for (const Setting& setting : cell->cell.settings) {
      if (setting.path == claim.path) {
        const auto found = std::find(claim.values.begin(), claim.values.end(), setting.value);
        if (found != claim.values.end()) side = found - claim.values.begin();
      } else if (std::find(paths.begin(), paths.end(), setting.path) == paths.end()) {
        common.push_back(setting);
      }
    }
    if (!side) continue;
    if (groups.count(common) == 0) order.push_back(common);
    groups[common][cell->cell.repetition].at(*side) = value;
  }
  ClaimMeasure measure{
      fmt::format("{} at {} - at {}", quantity_text(claim), claim.values[0], claim.values[1]), 0, 0,
      claim.above, claim.below};
  bool some = false;
  for (const Where& common : order) {
    std::vector<double> differences;
    for (const auto& [repetition, pair] : groups[common]) {
      if (pair[0] && pair[1]) differences.push_back(*pair[0] - *pair[1]);
    }
    const std::string where = settings_text(common);
    if (differences.size() < 2) {
      finding.broken.push_back(fmt::format("{} pair{}{}: an interval needs two or more",
                                           differences.size(), differences.size() == 1 ? "" : "s",
                                           where.empty() ? "" : " at " + where));
      continue;
    }
    const MeanInterval found = mean_interval(differences);
    const std::string text =
        fmt::format("{} ({} to {})", value_text(found.mean, metric), value_text(found.low, metric),
                    value_text(found.high, metric));
    finding.got += (finding.got.empty() ? "" : "; ") + text;
    measure.low = some ? std::min(measure.low, found.low) : found.low;
    measure.high = some ? std::max(measure.high, found.high) : found.high;
    some = true;
    const bool within =
        (!claim.below || found.high < *claim.below) && (!claim.above || found.low > *claim.above);
    if (!within) {
      finding.broken.push_back(where.empty() ? "got " + text
                                             : fmt::format("{} at {}", text, where));
    }
  }
  if (some) {
    finding.measure = measure;
  } else if (finding.broken.empty()) {
    finding.broken.push_back(
        fmt::format("no cell pairs {} with {}", claim.values[0], claim.values[1]));
  }
  return finding;
}

/// At most a few, so that a line can be read.
std::string join_reasons(const std::vector<std::string>& reasons) {
  constexpr std::size_t shown = 3;
  std::string text;
  for (std::size_t i = 0; i < std::min(shown, reasons.size()); ++i) {
    text += (text.empty() ? "" : "; ") + reasons[i];
  }
  if (reasons.size() > shown) text += fmt::format("; and {} more", reasons.size() - shown);
  return text;
}

}  // namespace

std::optional<double> CellResult::value(const std::string& metric) const {
  const auto found = metrics.find(metric);
  return found == metrics.end() ? std::nullopt : number(found->second);
}

std::string_view to_name(Holds holds) {
  switch (holds) {
    case Holds::yes: return "yes";
    case Holds::no: return "no";
    case Holds::not_reproduced: return "not reproduced";
  }
  return "?";
}

std::string Robustness::text() const {
  std::string result = changes.empty() ? "yes" : fmt::format("no: {}", fmt::join(changes, ", "));
  if (!not_tried.empty()) result += fmt::format("; not tried: {}", fmt::join(not_tried, ", "));
  return result;
}

bool selects(const Claim& claim, const StudyCell& cell) {
  return std::all_of(claim.where.begin(), claim.where.end(), [&](const Setting& setting) {
    return std::find(cell.settings.begin(), cell.settings.end(), setting) != cell.settings.end();
  });
}

ClaimVerdict evaluate(const Claim& claim, const std::vector<CellResult>& cells) {
  std::vector<std::pair<const CellResult*, double>> values;
  std::vector<std::string> missing;
  for (const CellResult& cell : cells) {
    if (!selects(claim, cell.cell)) continue;
    const std::optional<double> value = cell.value(claim.metric);
    const std::optional<double> divisor = claim.of ? cell.value(*claim.of) : std::optional(1.0);
    if (!value || !divisor) {
      missing.push_back(fmt::format("{} has no {}{}{}", cell_text(cell),
                                    value ? *claim.of : claim.metric,
                                    cell.reason.empty() ? "" : ": ", cell.reason));
    } else if (*divisor == 0) {
      missing.push_back(fmt::format("{} has a {} of zero", cell_text(cell), *claim.of));
    } else {
      values.emplace_back(&cell, *value / *divisor);
    }
  }

  std::vector<Point> points;
  std::vector<std::vector<double>> repetitions;
  for (const auto& [cell, value] : values) {
    const auto found = std::find_if(points.begin(), points.end(), [&, cell = cell](const Point& p) {
      return p.assignment == cell->cell.settings;
    });
    const auto index = static_cast<std::size_t>(found - points.begin());
    if (found == points.end()) {
      points.push_back({cell->cell.settings, 0});
      repetitions.emplace_back();
    }
    repetitions[index].push_back(value);
  }
  for (std::size_t i = 0; i < points.size(); ++i) points[i].value = median(repetitions[i]);

  Finding finding;
  if (values.empty()) {
    if (missing.empty()) missing.emplace_back("no cell is selected");
    if (claim.form == Claim::Form::every_cell) finding.expected = bounds_text(claim);
  } else {
    switch (claim.form) {
      case Claim::Form::every_cell: finding = find_every_cell(claim, values); break;
      case Claim::Form::value: finding = find_value(claim, points); break;
      case Claim::Form::ratio: finding = find_ratio(claim, points); break;
      case Claim::Form::ascending: finding = find_ascending(claim, points); break;
      case Claim::Form::similar: finding = find_similar(claim, points); break;
      case Claim::Form::difference: finding = find_difference(claim, values); break;
      case Claim::Form::linear: finding = find_linear(claim, points); break;
    }
  }
  finding.broken.insert(finding.broken.begin(), missing.begin(), missing.end());

  ClaimVerdict verdict;
  verdict.expected = finding.expected;
  verdict.got = finding.got;
  verdict.measure = finding.measure;
  if (finding.broken.empty()) {
    verdict.holds = Holds::yes;
  } else {
    verdict.holds = claim.note.empty() ? Holds::no : Holds::not_reproduced;
    verdict.reason = join_reasons(finding.broken);
    if (!claim.note.empty()) verdict.reason = fmt::format("{} ({})", claim.note, verdict.reason);
  }
  return verdict;
}

std::string basis_of(const Claim& claim, const std::vector<SourcedConstant>& constants) {
  const bool fitted =
      std::any_of(constants.begin(), constants.end(), [&](const SourcedConstant& constant) {
        return constant.kind == ConstantKind::fitted &&
               std::find(constant.fitted_to.begin(), constant.fitted_to.end(), claim.id) !=
                   constant.fitted_to.end();
      });
  if (fitted) return "fitted";
  return claim.by_construction ? "by construction" : "predicted";
}

std::string value_text(double value, std::string_view metric) {
  if (ends_with(metric, "_seconds")) {
    return std::abs(value) < 1e4 ? fmt::format("{:.4g} s", value) : fmt::format("{:.0f} s", value);
  }
  if (metric == "bytes") {
    constexpr double gibi = 1U << 30U;
    constexpr double mebi = 1U << 20U;
    if (std::abs(value) >= gibi) return fmt::format("{:.4g} GiB", value / gibi);
    if (std::abs(value) >= mebi) return fmt::format("{:.4g} MiB", value / mebi);
    return fmt::format("{:.0f} B", value);
  }
  return fmt::format("{:.3g}", value);
}

std::optional<double> numeric_value(std::string_view text) {
  if (const auto plain = number(text)) return plain;
  if (const auto time = parse_duration(text)) return time->to_seconds();
  if (const auto amount = parse_bytes(text)) return static_cast<double>(amount->count());
  if (const auto speed = parse_bandwidth(text)) return speed->to_bytes_per_second();
  if (const auto share = parse_ratio(text)) return share->value();
  return std::nullopt;
}

}  // namespace ferry
