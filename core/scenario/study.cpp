#include "core/scenario/study.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "core/ports/randomness.hpp"
#include "core/scenario/describe_study.hpp"
#include "core/scenario/loading.hpp"
#include "core/scenario/reader.hpp"
#include "core/units/check.hpp"

namespace ferry {

/// What every cell starts from.
struct LoadedStudy::Base {
  ScenarioSource source;
  /// Texts that places in `source` and `settings` refer to, in the order of their numbers.
  std::vector<std::pair<std::string, SourceKind>> sources;
  std::vector<ParsedSetting> settings;  ///< of the command line
  /// The values of each varied path, by their text.
  std::map<std::string, std::map<std::string, YamlNode>> values;
  PlatformTexts platforms;
  std::uint64_t seed = 1;

  [[nodiscard]] Report new_report() const {
    Report report;
    for (const auto& [name, kind] : sources) report.add_source(name, kind);
    return report;
  }
  /// The value as it stands in the study file, so that errors lead there; else parsed anew.
  [[nodiscard]] ParsedSetting parsed(const Setting& setting) const {
    const auto path = values.find(setting.path);
    check(path != values.end(), "a cell sets a path that its study does not vary");
    const auto value = path->second.find(setting.value);
    check(value != path->second.end(), "a cell sets a value that its study does not have");
    return {setting.path, value->second, value->second.place};
  }
};

namespace {

constexpr std::size_t most_values = 10'000;
/// Nodes that may be copied and read while a study is checked.
constexpr std::size_t check_budget = 4'000'000;
constexpr std::size_t most_checked_cells = 2'000;

enum class MetricUnit { seconds, bytes, number };

MetricUnit unit_of(std::string_view metric) {
  if (metric == "bytes") return MetricUnit::bytes;
  if (metric.ends_with("_seconds")) return MetricUnit::seconds;
  return MetricUnit::number;
}

/// The value of a path as a number, for lines and ranges: seconds, bytes, bytes per second or
/// plain.
enum class QuantityKind { time, size, speed, number };
struct Numeric {
  QuantityKind kind;
  double value;
};
std::optional<Numeric> to_numeric(std::string_view text) {
  if (text != "0") {
    if (const auto time = parse_duration(text))
      return Numeric{QuantityKind::time, time->to_seconds()};
    if (const auto size = parse_bytes(text)) {
      return Numeric{QuantityKind::size, static_cast<double>(size->count())};
    }
    if (const auto speed = parse_bandwidth(text)) {
      return Numeric{QuantityKind::speed, speed->to_bytes_per_second()};
    }
  }
  if (const auto ratio = parse_ratio(text)) return Numeric{QuantityKind::number, ratio->value()};
  return std::nullopt;
}

/// Twelve digits are enough for a step of a grid, and hide what powers and logarithms leave over.
double round_digits(double value) {
  double rounded = 0;
  const std::string text = fmt::format("{:.12g}", value);
  const auto result = std::from_chars(text.data(), text.data() + text.size(), rounded);
  return result.ec == std::errc() ? rounded : value;
}

std::string to_step_text(Numeric at, bool whole) {
  switch (at.kind) {
    case QuantityKind::time: return to_text(Duration::seconds(round_digits(at.value)));
    case QuantityKind::size: return to_text(Bytes(1) * round_digits(at.value));
    case QuantityKind::speed: return to_text(Bandwidth::bytes_per_second(round_digits(at.value)));
    case QuantityKind::number:
      return whole ? fmt::format("{:.0f}", std::round(at.value))
                   : fmt::format("{}", round_digits(at.value));
  }
  return "";
}

/// Whether a simulation of it draws anything from its seed.
bool is_random(const Scenario& scenario) {
  if (scenario.platform.hypervisor.variation > Ratio(0)) return true;
  for (const VmGroup& vm : scenario.vms) {
    if (vm.memory.is_random() || vm.pages.working_set.is_random() ||
        vm.pages.dirty_rate.is_random() || vm.pages.idle_dirty_rate.is_random()) {
      return true;
    }
  }
  return std::any_of(scenario.jobs.begin(), scenario.jobs.end(),
                     [](const Job& job) { return is_random(job.workload); });
}

/// The dimensions of the grid: each the positions in `vary` that move together.
std::vector<std::vector<std::size_t>> dimensions_of(const Study& study) {
  std::vector<std::vector<std::size_t>> dimensions;
  std::vector<bool> taken(study.vary.size(), false);
  for (std::size_t i = 0; i < study.vary.size(); ++i) {
    if (taken[i]) continue;
    std::vector<std::size_t> dimension = {i};
    for (const std::vector<std::string>& group : study.together) {
      if (std::find(group.begin(), group.end(), study.vary[i].path) == group.end()) continue;
      for (std::size_t k = i + 1; k < study.vary.size(); ++k) {
        if (!taken[k] && std::find(group.begin(), group.end(), study.vary[k].path) != group.end()) {
          dimension.push_back(k);
          taken[k] = true;
        }
      }
    }
    dimensions.push_back(std::move(dimension));
  }
  return dimensions;
}

/// Cells of the grid before exceptions, repetitions included; stops counting beyond the limit.
std::uint64_t grid_size(const Study& study) {
  std::uint64_t size = study.repeat;
  for (const std::vector<std::size_t>& dimension : dimensions_of(study)) {
    size *= study.vary[dimension.front()].values.size();
    if (size > limits::cells) break;
  }
  return size;
}

bool holds(const Where& where, const std::vector<Setting>& settings) {
  return std::all_of(where.begin(), where.end(), [&](const Setting& wanted) {
    return std::find(settings.begin(), settings.end(), wanted) != settings.end();
  });
}

std::string assignment_text(const std::vector<Setting>& settings) {
  std::string text;
  for (const Setting& setting : settings) {
    if (!text.empty()) text += ", ";
    text += setting.path + "=" + setting.value;
  }
  return text;
}

/// Depends on nothing but the study's seed, the assignment (whatever the order of its paths) and
/// the repetition.
std::uint64_t cell_seed(std::uint64_t seed, std::vector<Setting> settings,
                        std::uint32_t repetition) {
  std::sort(settings.begin(), settings.end());
  std::string text = fmt::format("{}\n", seed);
  for (const Setting& setting : settings) text += setting.path + "=" + setting.value + "\n";
  text += fmt::format("{}", repetition);
  return stable_hash(text);
}

std::size_t node_count(const YamlNode& node) {  // NOLINT(misc-no-recursion): depth is limited
  std::size_t count = 1;
  for (const YamlNode& item : node.items) count += node_count(item);
  for (const YamlEntry& entry : node.entries) count += node_count(entry.value);
  return count;
}

YamlNode scalar_node(std::string text, SourcePlace place) {
  YamlNode node;
  node.type = YamlNode::Type::scalar;
  node.place = place;
  node.text = std::move(text);
  return node;
}

/// Reads what stands in a study besides its single values.
class StudyReader {
 public:
  StudyReader(const StudyText& text, Reader& reader, LoadedStudy::Base& base)
      : text_(text), reader_(reader), base_(base) {}

  Study run() {
    study_.name = text_.name;
    study_.description = text_.description;
    study_.repeat = text_.repeat;
    study_.paired = text_.paired;
    for (const PlotKind kind : text_.plots) {
      study_.plots.emplace_back(EnumWords<PlotKind>::words[static_cast<std::size_t>(kind)]);
    }
    if (text_.vary != nullptr) read_vary(*text_.vary);
    if (text_.together != nullptr) read_together(*text_.together);
    if (text_.except != nullptr) read_except(*text_.except);
    if (text_.vary != nullptr && grid_size(study_) > limits::cells) {
      report(Problem::too_many, *text_.vary, "vary",
             fmt::format("the grid has more than {} cells, repetitions included; vary less",
                         limits::cells));
    }
    std::map<std::string_view, std::size_t> ids;
    for (std::size_t i = 0; i < text_.claims.size(); ++i) read_claim(text_.claims[i], i, ids);
    for (std::size_t i = 0; i < text_.curves.size(); ++i) check_curve(text_.curves[i], i);
    for (Claim& claim : study_.claims) claim.together = study_.together;
    return std::move(study_);
  }

 private:
  void report(Problem problem, const YamlNode& node, std::string path, std::string message) {
    reader_.report().add(problem, node.place, std::move(path), std::move(message));
  }
  void report(Problem problem, SourcePlace place, std::string path, std::string message) {
    reader_.report().add(problem, place, std::move(path), std::move(message));
  }
  bool is_map(const YamlNode& node, const std::string& path, std::string_view example) {
    if (node.is_map()) return true;
    report(Problem::wrong_type, node, path,
           fmt::format("this is {}; write a mapping such as {}", describe_node(node), example));
    return false;
  }
  bool is_list(const YamlNode& node, const std::string& path, std::string_view example) {
    if (node.is_list()) return true;
    report(Problem::wrong_type, node, path,
           fmt::format("this is {}; write a list such as {}", describe_node(node), example));
    return false;
  }

  void read_vary(const YamlNode& node) {
    if (!is_map(node, "vary", "{vms.vm.count: [2, 4, 8]}")) return;
    for (const YamlEntry& entry : node.entries) {
      const std::string path = "vary." + entry.key;
      Vary vary;
      vary.path = entry.key;
      std::vector<YamlNode> values;
      if (entry.key == "seed") {
        report(Problem::bad_variation, entry.key_place, path,
               "each cell has a seed of its own already; write repeat instead");
        continue;
      }
      if (entry.value.is_list()) {
        values = entry.value.items;
      } else if (entry.value.is_map()) {
        values = range(entry.value, path);
        if (values.empty()) continue;
      } else {
        report(Problem::wrong_type, entry.value, path,
               fmt::format("this is {}; write a list of values, or {{from: A, to: B, steps: N}}",
                           describe_node(entry.value)));
        continue;
      }
      if (values.empty()) {
        report(Problem::empty_list, entry.value, path,
               "the list is empty; it needs a value, or leave the path out");
        continue;
      }
      if (values.size() > most_values) {
        report(Problem::too_many, entry.value, path,
               fmt::format("{} values; write at most {}", values.size(), most_values));
        continue;
      }
      std::map<std::string, YamlNode>& by_text = base_.values[entry.key];
      for (YamlNode& value : values) {
        std::string text = to_flow_text(value);
        const SourcePlace place = value.place;
        if (!by_text.emplace(text, std::move(value)).second) {
          report(Problem::named_twice, place, path,
                 fmt::format("the value {} is in the list twice; write it once", in_quotes(text)));
          continue;
        }
        vary.values.push_back(std::move(text));
      }
      study_.vary.push_back(std::move(vary));
    }
  }

  /// {from: 1GiB, to: 64GiB, steps: 7, scale: log}, written out; empty after a report.
  std::vector<YamlNode> range(const YamlNode& node, const std::string& path) {
    const std::size_t before = reader_.report().count();
    const Reader::At at_vary(reader_, {"vary"});
    const Reader::At at(reader_, {std::string_view(path).substr(5)});
    StructReader keys(reader_, node);
    const YamlNode* from_node = keys.raw("from", Need::required, RawShape::number, "");
    const YamlNode* to_node = keys.raw("to", Need::required, RawShape::number, "");
    std::uint32_t steps = 0;
    keys.required("steps", steps, Between{2U, static_cast<std::uint32_t>(most_values)}, "");
    std::string scale = "linear";
    static constexpr std::array<std::string_view, 2> scales = {"linear", "log"};
    keys.optional("scale", scale, OneOf{scales}, "");
    keys.finish();
    if (reader_.report().count() != before) return {};
    const auto numeric = [&](const YamlNode& end) -> std::optional<Numeric> {
      const std::optional<Numeric> value = end.is_scalar() ? to_numeric(end.text) : std::nullopt;
      if (!value) {
        report(Problem::bad_variation, end, path,
               fmt::format("{} is no number and no quantity with a unit; write one, such as 1GiB",
                           end.is_scalar() ? in_quotes(end.text) : describe_node(end)));
      }
      return value;
    };
    const std::optional<Numeric> from = numeric(*from_node);
    const std::optional<Numeric> to = numeric(*to_node);
    if (!from || !to) return {};
    if (from->kind != to->kind) {
      report(Problem::bad_variation, *to_node, path,
             fmt::format("{} and {} are not of one kind; give both the same kind of unit",
                         in_quotes(from_node->text), in_quotes(to_node->text)));
      return {};
    }
    if (to->value <= from->value) {
      report(Problem::reversed_range, *to_node, path,
             fmt::format("the range ends before it starts; write from: {}, to: {}", to_node->text,
                         from_node->text));
      return {};
    }
    if (scale == "log" && from->value <= 0) {
      report(Problem::bad_variation, *from_node, path,
             "a logarithmic scale cannot begin at zero; write a from above it, or scale: linear");
      return {};
    }
    const auto is_whole = [](const YamlNode& end) {
      return end.text.find_first_not_of("0123456789") == std::string::npos;
    };
    const bool whole = is_whole(*from_node) && is_whole(*to_node);
    std::vector<YamlNode> values;
    std::set<std::string> seen;
    for (std::uint32_t i = 0; i < steps; ++i) {
      const double share_done = static_cast<double>(i) / (steps - 1);
      Numeric at_step = *from;
      if (i + 1 == steps) {
        at_step.value = to->value;
      } else if (scale == "log") {
        at_step.value = from->value * std::pow(to->value / from->value, share_done);
      } else {
        at_step.value = from->value + (to->value - from->value) * share_done;
      }
      std::string text = to_step_text(at_step, whole);
      // Rounded to whole numbers, neighbours may be equal.
      if (seen.insert(text).second) values.push_back(scalar_node(std::move(text), node.place));
    }
    return values;
  }

  [[nodiscard]] const Vary* find_vary(std::string_view path) const {
    for (const Vary& vary : study_.vary) {
      if (vary.path == path) return &vary;
    }
    return nullptr;
  }
  /// The varied path, or a report that names the varied ones.
  const Vary* varied(std::string_view path, SourcePlace place, const std::string& where) {
    const Vary* vary = find_vary(path);
    // A path whose values were wrong has been reported.
    if (vary != nullptr || (text_.vary != nullptr && text_.vary->find(path) != nullptr)) {
      return vary;
    }
    std::vector<std::string_view> paths;
    for (const Vary& other : study_.vary) paths.push_back(other.path);
    const std::string_view near = nearest(path, paths);
    report(Problem::not_varied, place, where,
           fmt::format("{} is not varied by this study; {}", in_quotes(path),
                       !near.empty()   ? fmt::format("did you mean '{}'?", near)
                       : paths.empty() ? "it varies nothing"
                                       : fmt::format("varied: {}", listed(paths))));
    return nullptr;
  }
  /// The text of one of the path's values, or a report that names them.
  std::optional<std::string> value_of(const Vary& vary, const YamlNode& node,
                                      const std::string& where) {
    std::string text = to_flow_text(node);
    if (std::find(vary.values.begin(), vary.values.end(), text) != vary.values.end()) return text;
    const std::vector<std::string_view> values(vary.values.begin(), vary.values.end());
    report(Problem::not_varied, node, where,
           fmt::format("{} is no value that {} takes; it takes: {}", in_quotes(text), vary.path,
                       listed(values)));
    return std::nullopt;
  }

  void read_together(const YamlNode& node) {
    if (!is_list(node, "together", "[[PATH, PATH]]")) return;
    std::set<std::string> taken;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const YamlNode& item = node.items[i];
      const std::string where = fmt::format("together.{}", i);
      if (!is_list(item, where, "[PATH, PATH]")) continue;
      std::vector<std::string> group;
      std::size_t values = 0;
      bool good = true;
      for (const YamlNode& path : item.items) {
        if (!path.is_scalar()) {
          report(Problem::wrong_type, path, where,
                 fmt::format("this is {}; write a varied path", describe_node(path)));
          good = false;
          continue;
        }
        const Vary* vary = varied(path.text, path.place, where);
        if (vary == nullptr) {
          good = false;
          continue;
        }
        if (!taken.insert(path.text).second) {
          report(Problem::named_twice, path, where,
                 fmt::format("{} moves together with others already; name it once",
                             in_quotes(path.text)));
          good = false;
          continue;
        }
        if (!group.empty() && vary->values.size() != values) {
          report(
              Problem::bad_variation, path, where,
              fmt::format("{} has {} values and {} has {}; paths that move together have equally "
                          "many",
                          group.front(), values, path.text, vary->values.size()));
          good = false;
          continue;
        }
        values = vary->values.size();
        group.push_back(path.text);
      }
      if (good && group.size() < 2) {
        report(Problem::bad_variation, item, where,
               "one path alone moves together with nothing; write two or more");
        continue;
      }
      if (good) study_.together.push_back(std::move(group));
    }
  }

  Where read_where(const YamlNode& node, const std::string& where) {
    Where settings;
    if (!is_map(node, where, "{PATH: VALUE}")) return settings;
    for (const YamlEntry& entry : node.entries) {
      const Vary* vary = varied(entry.key, entry.key_place, where);
      if (vary == nullptr) continue;
      if (auto value = value_of(*vary, entry.value, where)) {
        settings.push_back({entry.key, std::move(*value)});
      }
    }
    if (node.entries.empty()) {
      report(Problem::empty_list, node, where,
             "this mapping is empty; write PATH: VALUE, or leave it out");
    }
    return settings;
  }

  void read_except(const YamlNode& node) {
    if (!is_list(node, "except", "[{PATH: VALUE}]")) return;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      study_.except.push_back(read_where(node.items[i], fmt::format("except.{}", i)));
    }
  }

  /// A number in the claim's unit that may be below zero.
  std::optional<double> signed_number(const YamlNode* node, MetricUnit unit,
                                      const std::string& where) {
    const bool negative = node != nullptr && node->is_scalar() && node->text.size() > 1 &&
                          node->text.front() == '-' &&
                          std::string_view("0123456789.").find(node->text[1]) != std::string::npos;
    if (!negative) return number(node, unit, where);
    YamlNode positive = *node;
    positive.text.erase(0, 1);
    const std::optional<double> value = number(&positive, unit, where);
    return value ? std::optional(0 - *value) : std::nullopt;
  }
  /// The same from zero on.
  std::optional<double> number(const YamlNode* node, MetricUnit unit, const std::string& where) {
    if (node == nullptr || !metric_known_) return std::nullopt;
    const auto bad = [&](const std::string& message) {
      report(Problem::bad_quantity, *node, where, message);
      return std::nullopt;
    };
    if (!node->is_scalar()) {
      return bad(fmt::format("this is {}; write a number or a quantity", describe_node(*node)));
    }
    switch (unit) {
      case MetricUnit::seconds: {
        const auto time = parse_duration(node->text);
        if (!time) return bad(time.error().message);
        return time->to_seconds();
      }
      case MetricUnit::bytes: {
        const auto size = parse_bytes(node->text);
        if (!size) return bad(size.error().message);
        return static_cast<double>(size->count());
      }
      case MetricUnit::number: {
        const auto ratio = parse_ratio(node->text);
        if (ratio) return ratio->value();
        return bad(
            fmt::format("{} is no number; write one such as 0.8 or 80%", in_quotes(node->text)));
      }
    }
    return std::nullopt;
  }

  /// `{PATH: [A, B]}`: one path and some of its values.
  void read_path_values(const YamlNode& node, std::size_t least, std::size_t most,
                        const std::string& where, Claim& claim) {
    if (!is_map(node, where, "{PATH: [A, B]}")) return;
    if (node.entries.size() != 1 || !node.entries.front().value.is_list()) {
      report(Problem::bad_claim, node, where,
             "write one varied path with its values, {PATH: [A, B]}");
      return;
    }
    const YamlEntry& entry = node.entries.front();
    const Vary* vary = varied(entry.key, entry.key_place, where);
    if (vary == nullptr) return;
    claim.path = entry.key;
    const std::vector<YamlNode>& items = entry.value.items;
    if (items.size() < least || items.size() > most) {
      report(Problem::bad_claim, entry.value, where,
             most == least ? fmt::format("{} values; write {}", items.size(), least)
                           : fmt::format("{} values; write at least {}", items.size(), least));
      return;
    }
    for (const YamlNode& item : items) {
      auto value = value_of(*vary, item, where);
      if (!value) continue;
      if (std::find(claim.values.begin(), claim.values.end(), *value) != claim.values.end()) {
        report(Problem::named_twice, item, where,
               fmt::format("{} is named twice; write each value once", in_quotes(*value)));
      }
      claim.values.push_back(std::move(*value));
    }
  }

  void read_claim(const ClaimText& text, std::size_t index,
                  std::map<std::string_view, std::size_t>& ids) {
    Claim claim;
    claim.id = text.id;
    claim.text = text.text;
    claim.source = text.source;
    claim.metric = text.metric;
    if (!text.of.empty()) claim.of = text.of;
    claim.by_construction = text.by_construction;
    claim.note = text.note;
    const std::string where =
        text.id.empty() ? fmt::format("claims.{}", index) : "claims." + text.id;
    // Where messages about the whole claim go.
    const SourcePlace place = text.id_node != nullptr ? text.id_node->place : SourcePlace{};
    claim.file = reader_.report().source_name(place.source);
    claim.line = place.line;
    if (!text.id.empty() && !ids.emplace(text.id, index).second) {
      report(Problem::duplicate_name, place, where + ".id",
             fmt::format("there are two claims called {}; give each an id of its own",
                         in_quotes(text.id)));
    }
    if (text.where != nullptr) claim.where = read_where(*text.where, where + ".where");
    std::vector<std::string_view> forms;
    if (text.every_cell) forms.emplace_back("every_cell");
    if (text.ratio != nullptr) forms.emplace_back("ratio");
    if (text.ascending != nullptr) forms.emplace_back("ascending");
    if (text.difference != nullptr) forms.emplace_back("difference");
    if (!text.similar.over.empty()) forms.emplace_back("similar");
    if (!text.linear.over.empty()) forms.emplace_back("linear");
    if (forms.empty() && text.expect != nullptr) forms.emplace_back("expect");
    if (forms.size() != 1) {
      report(Problem::bad_claim, place, where,
             forms.empty() ? "the claim says nothing that can be checked; write one of every_cell, "
                             "expect, ratio, ascending, difference, similar, linear"
                           : fmt::format("the claim has {} forms ({}); write one claim for each",
                                         forms.size(), listed(forms)));
      study_.claims.push_back(std::move(claim));
      return;
    }
    metric_known_ = !claim.metric.empty();
    const std::string_view form = forms.front();
    const MetricUnit unit = claim.of ? MetricUnit::number : unit_of(claim.metric);
    const bool expects = form == "expect" || form == "ratio";
    if (!expects && (text.expect != nullptr || text.tolerance != nullptr)) {
      report(Problem::bad_claim, place, where,
             fmt::format("expect and tolerance mean nothing with {}; leave them out", form));
    }
    if (form != "ratio" && !text.best_over.empty()) {
      report(Problem::bad_claim, place, where,
             fmt::format("best_over means nothing with {}; leave it out", form));
    }
    if (form != "difference" && text.interval) {
      report(Problem::bad_claim, place, where,
             fmt::format("interval means nothing with {}; leave it out", form));
    }
    if (form == "every_cell") {
      claim.form = Claim::Form::every_cell;
      read_bounds(text, unit, place, where + ".every_cell", claim);
    } else if (form == "difference") {
      claim.form = Claim::Form::difference;
      read_path_values(*text.difference, 2, 2, where + ".difference", claim);
      read_bounds(text, unit, place, where + ".interval", claim);
      if (!text_.paired || text_.repeat < 2) {
        report(
            Problem::bad_claim, place, where + ".difference",
            "a difference is one of pairs of repetitions; write paired: true and a repeat of two "
            "or more in the study");
      }
    } else if (form == "expect") {
      claim.form = Claim::Form::value;
      expectation(text, unit, place, where, claim);
    } else if (form == "ratio") {
      claim.form = Claim::Form::ratio;
      read_path_values(*text.ratio, 2, 2, where + ".ratio", claim);
      expectation(text, MetricUnit::number, place, where, claim);
      if (!text.best_over.empty()) {
        if (varied(text.best_over, place, where + ".best_over") != nullptr) {
          claim.best_over = text.best_over;
        }
        if (text.best_over == claim.path) {
          report(Problem::bad_claim, place, where + ".best_over",
                 "this is the path of the ratio itself; write another varied path");
        }
      }
    } else if (form == "ascending") {
      claim.form = Claim::Form::ascending;
      read_path_values(*text.ascending, 2, most_values, where + ".ascending", claim);
    } else {
      const bool linear = form == "linear";
      claim.form = linear ? Claim::Form::linear : Claim::Form::similar;
      const Along& along = linear ? text.linear : text.similar;
      const std::string along_where = fmt::format("{}.{}.over", where, form);
      const Vary* vary = varied(along.over, place, along_where);
      if (vary != nullptr) {
        claim.path = along.over;
        if (linear) check_line(*vary, place, along_where);
      }
      claim.within = along.within.value();
    }
    study_.claims.push_back(std::move(claim));
  }

  void read_bounds(const ClaimText& text, MetricUnit unit, SourcePlace place,
                   const std::string& where, Claim& claim) {
    const auto bound = [&](const YamlNode* node, const char* key) {
      const bool may_be_negative = claim.form == Claim::Form::difference;
      return may_be_negative ? signed_number(node, unit, where + key)
                             : number(node, unit, where + key);
    };
    claim.below = bound(text.below, ".below");
    claim.above = bound(text.above, ".above");
    if (text.below == nullptr && text.above == nullptr) {
      report(Problem::bad_claim, place, where, "write below, above or both");
    } else if (claim.below && claim.above && *claim.below <= *claim.above) {
      report(Problem::reversed_range, *text.below, where + ".below",
             "nothing is below this and above the other; write a below larger than above");
    }
  }

  /// Its picture is drawn from the study's folder; here only what would be in its way.
  void check_curve(const CurveText& curve, std::size_t index) {
    const std::string where = fmt::format("curves.{}", index);
    if (curve.x_node != nullptr && !curve.x.empty()) {
      const SourcePlace place = curve.x_node->place;
      const Vary* vary = varied(curve.x, place, where + ".x");
      if (vary != nullptr) check_line(*vary, place, where + ".x");
    }
    if (curve.by_node == nullptr || curve.by.empty()) return;
    if (curve.by == curve.x) {
      report(Problem::contradiction, *curve.by_node, where + ".by",
             "this is the path of x; write another varied path");
    } else {
      varied(curve.by, curve.by_node->place, where + ".by");
    }
  }

  void expectation(const ClaimText& text, MetricUnit unit, SourcePlace place,
                   const std::string& where, Claim& claim) {
    if (text.expect == nullptr || text.tolerance == nullptr) {
      const std::string_view key = text.expect == nullptr ? "expect" : "tolerance";
      report(Problem::missing_key, place, fmt::format("{}.{}", where, key),
             fmt::format("this key is required and missing; add `{}: {}`", key,
                         key == "expect" ? "0.80" : "0.02"));
    }
    claim.expect = number(text.expect, unit, where + ".expect");
    claim.tolerance = number(text.tolerance, MetricUnit::number, where + ".tolerance").value_or(0);
  }

  void check_line(const Vary& vary, SourcePlace place, const std::string& where) {
    std::optional<QuantityKind> kind;
    for (const std::string& value : vary.values) {
      const std::optional<Numeric> numeric = to_numeric(value);
      if (!numeric || (kind && *kind != numeric->kind)) {
        report(Problem::bad_claim, place, where,
               fmt::format("a line needs numbers, and {} takes the value {}; choose a path with "
                           "numbers or quantities of one kind",
                           vary.path, in_quotes(value)));
        return;
      }
      kind = numeric->kind;
    }
  }

  const StudyText& text_;
  Reader& reader_;
  LoadedStudy::Base& base_;
  Study study_;
  bool metric_known_ = true;  ///< of the claim that is read: without it there is no unit
};

Loaded<LoadedScenario> read_cell(const LoadedStudy::Base& base,
                                 const std::vector<Setting>& assignment,
                                 std::optional<std::uint64_t> seed,
                                 const std::vector<Setting>& extra) {
  Report report = base.new_report();
  std::vector<ParsedSetting> settings = base.settings;
  for (const Setting& setting : assignment) settings.push_back(base.parsed(setting));
  if (seed) {
    settings.push_back({"seed", scalar_node(fmt::format("{}", *seed), {}), SourcePlace{}});
  }
  for (ParsedSetting& setting : parse_settings(extra, report)) {
    settings.push_back(std::move(setting));
  }
  return read_tree(base.source, settings, base.platforms, report);
}

/// The study's seed is its scenario's, or that of the command line. A seed that is no number is
/// reported when the scenario is read.
std::uint64_t seed_of(const LoadedStudy::Base& base) {
  std::string text;
  if (const YamlEntry* entry = base.source.root.find("seed")) text = entry->value.text;
  for (const ParsedSetting& setting : base.settings) {
    if (setting.path == "seed") text = setting.value.text;
  }
  std::uint64_t seed = Scenario().seed;
  std::from_chars(text.data(), text.data() + text.size(), seed);
  return seed;
}

/// Reads the platform files that cells will ask for.
void preload_platforms(LoadedStudy::Base& base) {
  std::set<std::string> names;
  const auto add = [&](const YamlNode& node) {
    if (node.is_scalar()) names.insert(node.text);
    if (const YamlEntry* entry = node.find("base"); entry && entry->value.is_scalar()) {
      names.insert(entry->value.text);
    }
  };
  if (const YamlEntry* entry = base.source.root.find("platform")) add(entry->value);
  for (const std::string_view path : {"platform", "platform.base"}) {
    const auto values = base.values.find(std::string(path));
    if (values == base.values.end()) continue;
    for (const auto& [text, node] : values->second) add(node);
  }
  for (const std::string& name : names) {
    const std::filesystem::path file = base.source.folder / name;
    Report ignored;  // what cannot be read is reported when a cell asks for it
    ignored.add_source("", SourceKind::scenario);
    if (auto text = read_file(file, {}, "", ignored)) {
      base.platforms.emplace(file.string(), std::move(*text));
    }
  }
}

/// The tree of a scenario file, whose keys are not those of a study.
bool is_scenario(const YamlNode& root) {
  return root.is_map() && root.find("study") == nullptr && root.find("scenario") == nullptr &&
         root.find("vms") != nullptr;
}

/// A scenario as the study of its one cell.
void wrap_scenario(YamlNode& root, const std::filesystem::path& file) {
  YamlNode study;
  study.type = YamlNode::Type::map;
  study.place = root.place;
  const auto add = [&](const char* key, YamlNode value) {
    study.entries.push_back({key, root.place, std::move(value)});
  };
  YamlNode version;
  version.type = YamlNode::Type::scalar;
  version.text = "1";
  version.place = root.place;
  YamlNode name = version;
  name.text = file.stem().string();
  if (const YamlEntry* entry = root.find("name"); entry != nullptr && entry->value.is_scalar()) {
    name = entry->value;
  }
  add("ferry", std::move(version));
  add("study", std::move(name));
  add("scenario", root);
  root = std::move(study);
}

/// Cells that between them have every value of every path first, then the others.
std::vector<std::size_t> checking_order(const std::vector<StudyCell>& cells) {
  std::vector<std::size_t> covering;
  std::vector<std::size_t> others;
  std::set<Setting> seen;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (cells[i].repetition > 0) continue;
    bool covers = i == 0;
    for (const Setting& setting : cells[i].settings) covers = seen.insert(setting).second || covers;
    (covers ? covering : others).push_back(i);
  }
  covering.insert(covering.end(), others.begin(), others.end());
  return covering;
}

struct CellCheck {
  Diagnostics problems;
  bool any_random = false;
};

CellCheck check_cells(const LoadedStudy& study, const LoadedStudy::Base& base) {
  CellCheck result;
  const auto base_only = read_cell(base, {}, std::nullopt, {});
  std::set<std::string> of_base;
  if (!base_only) {
    for (const Diagnostic& diagnostic : base_only.error()) of_base.insert(diagnostic.text());
  }
  const std::vector<StudyCell> cells = study.cells();
  const std::size_t most =
      std::clamp<std::size_t>(check_budget / node_count(base.source.root), 1, most_checked_cells);
  std::set<std::string> known;
  std::size_t checked = 0;
  for (const std::size_t i : checking_order(cells)) {
    if (checked++ >= most || result.problems.size() > 1000) break;
    const auto scenario = study.scenario(cells[i]);
    if (scenario) {
      result.any_random = result.any_random || is_random(scenario->scenario);
      continue;
    }
    for (Diagnostic diagnostic : scenario.error()) {
      // The same problem of the same path in another cell, or with another value, is no news.
      if (!known.insert(diagnostic.path + ": " + diagnostic.message).second) continue;
      const std::string text = diagnostic.text();
      if (of_base.count(text) == 0 && !cells[i].settings.empty()) {
        diagnostic.message += fmt::format(" (in the cell {})", assignment_text(cells[i].settings));
      }
      result.problems.push_back(std::move(diagnostic));
    }
  }
  return result;
}

}  // namespace

LoadedStudy::LoadedStudy(Study study, std::shared_ptr<const Base> base)
    : study_(std::move(study)), base_(std::move(base)) {}

std::vector<StudyCell> LoadedStudy::cells() const {
  const std::vector<std::vector<std::size_t>> dimensions = dimensions_of(study_);
  std::vector<std::size_t> at(dimensions.size(), 0);
  std::vector<StudyCell> cells;
  for (bool more = true; more;) {
    std::vector<Setting> settings(study_.vary.size());
    for (std::size_t d = 0; d < dimensions.size(); ++d) {
      for (const std::size_t i : dimensions[d]) {
        settings[i] = {study_.vary[i].path, study_.vary[i].values[at[d]]};
      }
    }
    const bool left_out = std::any_of(study_.except.begin(), study_.except.end(),
                                      [&](const Where& where) { return holds(where, settings); });
    for (std::uint32_t n = 0; !left_out && n < study_.repeat; ++n) {
      StudyCell cell;
      cell.name = fmt::format("cell-{:04}", cells.size());
      cell.settings = settings;
      cell.repetition = n;
      cell.seed = cell_seed(base_->seed, study_.paired ? std::vector<Setting>{} : settings, n);
      cells.push_back(std::move(cell));
    }
    // The last path counts fastest.
    more = false;
    for (std::size_t d = dimensions.size(); d > 0 && !more; --d) {
      if (++at[d - 1] < study_.vary[dimensions[d - 1].front()].values.size()) {
        more = true;
      } else {
        at[d - 1] = 0;
      }
    }
  }
  return cells;
}

Loaded<LoadedScenario> LoadedStudy::scenario(const StudyCell& cell,
                                             const std::vector<Setting>& extra) const {
  return read_cell(*base_, cell.settings, cell.seed, extra);
}

Loaded<LoadedStudy> load_study(const std::filesystem::path& file,
                               const std::vector<Setting>& settings, const StudyOptions& options) {
  Report report;
  const auto failed = [&] { return tl::unexpected<Diagnostics>(report.take()); };
  YamlNode root;
  if (!read_yaml_file(file, root, report)) return failed();
  const bool wrapped = is_scenario(root);
  if (wrapped) wrap_scenario(root, file);
  auto base = std::make_shared<LoadedStudy::Base>();
  base->sources.emplace_back(file.string(), SourceKind::scenario);
  Reader reader(report);
  StudyText text;
  reader.read(root, text, Mapping{});
  Study study = StudyReader(text, reader, *base).run();
  study.repeat = options.repeat.value_or(study.repeat);

  bool has_scenario = false;
  if (text.scenario != nullptr) {
    const YamlNode& node = *text.scenario;
    if (node.is_map()) {
      base->source.root = node;
      base->source.folder = file.parent_path();
      base->source.needs_version = wrapped;
      has_scenario = true;
    } else if (node.is_scalar() && !node.text.empty()) {
      const std::filesystem::path name = file.parent_path() / node.text;
      const std::optional<std::string> bytes = read_file(name, node.place, "scenario", report);
      if (bytes) {
        const std::uint32_t source = report.add_source(name.string(), SourceKind::scenario);
        base->sources.emplace_back(name.string(), SourceKind::scenario);
        base->source.folder = name.parent_path();
        has_scenario = parse_yaml(*bytes, source, base->source.root, report);
      }
    } else {
      report.add(Problem::wrong_type, node.place, "scenario",
                 fmt::format("this is {}; write the name of a scenario file, or its keys",
                             node.is_scalar() ? "empty" : describe_node(node)));
    }
  }
  base->settings = parse_settings(settings, report);
  if (!settings.empty()) base->sources.emplace_back("--set", SourceKind::setting);
  for (const ParsedSetting& setting : base->settings) {
    if (base->values.count(setting.path) == 0) continue;
    report.add(Problem::contradiction, setting.place, setting.path,
               "the study varies this path; leave out the setting, or take it out of vary");
  }
  if (!report.empty() || !has_scenario) return failed();

  base->seed = seed_of(*base);
  preload_platforms(*base);
  LoadedStudy loaded(study, base);
  const CellCheck found = check_cells(loaded, *base);
  if (!found.problems.empty()) return tl::unexpected<Diagnostics>(found.problems);
  if (study.repeat > 1 && !found.any_random && !options.world_varies) {
    const YamlEntry* repeat = root.find("repeat");
    check(repeat != nullptr || options.repeat, "a study repeats if its file or an option says so");
    const SourcePlace place = options.repeat
                                  ? SourcePlace{report.add_source("--repeat", SourceKind::setting)}
                                  : repeat->value.place;
    report.add(Problem::nothing_random, place, "repeat",
               "nothing is random in this scenario, so all repetitions would be equal; leave out "
               "repeat, or write a quantity such as {uniform: [1GiB, 2GiB]}");
    return failed();
  }
  if (loaded.cells().empty()) {
    check(text.except != nullptr, "cells are left out only by except");
    report.add(Problem::bad_variation, text.except->place, "except",
               "every cell is left out; write fewer exceptions");
    return failed();
  }
  return loaded;
}

}  // namespace ferry
