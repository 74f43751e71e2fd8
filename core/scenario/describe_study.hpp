// The keys of a study file. What needs the whole study to be understood (paths, values,
// expectations) stays a node of the tree; `study.cpp` reads it.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/scenario/describe_values.hpp"
#include "core/scenario/yaml_tree.hpp"

namespace ferry {

/// The metrics of summary.csv that claims may use.
inline constexpr std::array<std::string_view, 28> metric_words = {"makespan_seconds",
                                                                  "total_seconds",
                                                                  "total_max_seconds",
                                                                  "downtime_seconds",
                                                                  "downtime_max_seconds",
                                                                  "outage_seconds",
                                                                  "outage_max_seconds",
                                                                  "bytes",
                                                                  "rounds",
                                                                  "migrations",
                                                                  "failed",
                                                                  "set_pre_migration_seconds",
                                                                  "detach_vf_seconds",
                                                                  "remove_ivshmem_seconds",
                                                                  "migration_seconds",
                                                                  "attach_vf_seconds",
                                                                  "add_ivshmem_seconds",
                                                                  "set_post_migration_seconds",
                                                                  "lost_traffic_seconds",
                                                                  "throughput",
                                                                  "elapsed_seconds",
                                                                  "unmigrated_seconds",
                                                                  "exposed_seconds",
                                                                  "exposed_max_seconds",
                                                                  "lost_rank_seconds",
                                                                  "overlap",
                                                                  "overlap_bound",
                                                                  "messages"};

enum class PlotKind : std::uint8_t {
  breakdown,
  multi_vm,
  timeline,
  downtime_cdf,
  latency,
  overlap,
  application,
  curve,
  sensitivity,
  report
};
template <>
struct EnumWords<PlotKind> {
  static constexpr std::array<std::string_view, 10> words = {
      "breakdown", "multi_vm",    "timeline", "downtime_cdf", "latency",
      "overlap",   "application", "curve",    "sensitivity",  "report"};
  static constexpr std::array<std::string_view, 1> unsupported = {"compare"};
};

/// A claim's comparison along one path.
struct Along {
  std::string over;
  Ratio within;
};
template <class Visitor>
void describe(Visitor& v, Along& along) {
  v.about("A comparison of medians along the values of one path.");
  v.required("over", along.over, FreeText{1}, "The varied path.");
  v.required("within", along.within, Between{Ratio(0), Ratio(10)}, "The largest deviation.");
}

/// A claim as written.
struct ClaimText {
  std::string id;
  std::string text;
  std::string source;
  std::string metric;
  std::string of;
  const YamlNode* id_node = nullptr;
  const YamlNode* where = nullptr;
  bool every_cell = false;
  const YamlNode* below = nullptr;
  const YamlNode* above = nullptr;
  const YamlNode* expect = nullptr;
  const YamlNode* tolerance = nullptr;
  const YamlNode* ratio = nullptr;
  const YamlNode* ascending = nullptr;
  const YamlNode* difference = nullptr;
  bool interval = false;
  std::string best_over;
  Along similar;
  Along linear;
  bool by_construction = false;
  std::string note;
};

template <class Visitor>
void describe(Visitor& v, ClaimText& claim) {
  v.about("A statement about the results that is checked.");
  claim.id_node = v.peek("id");
  v.required("id", claim.id, ItemName{}, "The claim's name: C1.");
  v.required("text", claim.text, FreeText{1}, "What is claimed, in words.");
  v.optional("source", claim.source, FreeText{1}, "Who claims it, and where.");
  v.required("metric", claim.metric, OneOf{metric_words}, "The metric of summary.csv it is about.");
  v.optional("of", claim.of, OneOf{metric_words}, "Divide by this metric of the same cell.");
  claim.where =
      v.raw("where", Need::optional, RawShape::assignments, "Only the cells with these values.");
  v.group("every_cell", Need::optional, "Each cell's value lies between these.", [&](auto& bounds) {
    bounds.about("Bounds; at least one.");
    claim.every_cell = true;
    claim.below = bounds.raw("below", Need::optional, RawShape::number, "Each value is below.");
    claim.above = bounds.raw("above", Need::optional, RawShape::number, "Each value is above.");
  });
  claim.ratio = v.raw("ratio", Need::optional, RawShape::pair,
                      "Median at the first value over median at the second, all else equal.");
  v.optional("best_over", claim.best_over, FreeText{1},
             "With ratio: the smallest over this path's values counts.");
  claim.expect = v.raw("expect", Need::optional, RawShape::number,
                       "The expected ratio, or without `ratio` the expected median.");
  claim.tolerance = v.raw("tolerance", Need::optional, RawShape::number,
                          "Of expect: absolute with `ratio`, else a share of it (6%).");
  claim.ascending = v.raw("ascending", Need::optional, RawShape::order,
                          "Medians do not decrease along these values.");
  claim.difference =
      v.raw("difference", Need::optional, RawShape::pair,
            "Metric at the first value less metric at the second, all else and the repetition "
            "equal; in a study that is paired.");
  v.group("interval", Need::optional,
          "With difference: the 95 % confidence interval of its mean lies between these.",
          [&](auto& bounds) {
            bounds.about("Bounds; at least one.");
            claim.interval = true;
            claim.below = bounds.raw("below", Need::optional, RawShape::number, "It ends below.");
            claim.above = bounds.raw("above", Need::optional, RawShape::number, "It begins above.");
          });
  v.optional("similar", claim.similar, Mapping{},
             "Largest over smallest median along the path is at most 1 + within.");
  v.optional("linear", claim.linear, Mapping{},
             "The medians' distance from a straight line is at most within x their mean.");
  if (v.fixed("basis", "by_construction", {}, Need::optional,
              "The author's word that the model makes it true.")) {
    claim.by_construction = true;
  }
  v.optional("note", claim.note, FreeText{}, "Why it is not reproduced, as far as is known.");
}

/// One picture of the kind `curve`; what is left out is chosen by what the study varies.
struct CurveText {
  std::string y;
  std::string x;
  std::string by;
  const YamlNode* x_node = nullptr;
  const YamlNode* by_node = nullptr;
};

template <class Visitor>
void describe(Visitor& v, CurveText& curve) {
  v.about("A metric over a varied path.");
  curve.x_node = v.peek("x");
  curve.by_node = v.peek("by");
  v.required("y", curve.y, OneOf{metric_words}, "The metric of summary.csv that is drawn.");
  v.optional("x", curve.x, FreeText{1}, "The varied path of numbers that it is drawn over.");
  v.optional("by", curve.by, FreeText{1}, "The varied path with a line for each value.");
}

/// A study file as written.
struct StudyText {
  std::string name;
  std::string description;
  const YamlNode* scenario = nullptr;
  const YamlNode* vary = nullptr;
  const YamlNode* together = nullptr;
  const YamlNode* except = nullptr;
  std::uint32_t repeat = 1;
  bool paired = false;
  std::vector<ClaimText> claims;
  std::vector<PlotKind> plots;
  std::vector<CurveText> curves;
};

template <class Visitor>
void describe(Visitor& v, StudyText& study) {
  v.about("Ferry study: a scenario varied over a grid, with repetitions, claims and plots.");
  v.version("ferry");
  v.required("study", study.name, TitleName{}, "The study's name; its folder is named by it.");
  v.optional("description", study.description, FreeText{}, "What it shows, for people.");
  study.scenario = v.raw("scenario", Need::required, RawShape::scenario,
                         "The scenario that is varied: a file, or a mapping with its keys.");
  study.vary = v.raw("vary", Need::optional, RawShape::variations,
                     "Paths and the values that each takes; every combination is a cell.");
  study.together = v.raw("together", Need::optional, RawShape::path_lists,
                         "Lists of varied paths that move in lock-step.");
  study.except =
      v.raw("except", Need::optional, RawShape::assignment_list, "Combinations that are left out.");
  v.optional("repeat", study.repeat, Between{1U, 10'000U},
             "How often each cell runs, each time with another seed.");
  v.optional("paired", study.paired, YesOrNo{},
             "Repetition n has the same seed in every cell, so that cells differ in what is varied "
             "alone, and not in what is drawn.");
  v.list("claims", study.claims, Need::optional, 0, "What the results are held against.");
  v.optional("plots", study.plots, Words{0}, "The pictures that are made.");
  v.list("curves", study.curves, Need::optional, 0,
         "What `curve` draws, a picture each; without it one that suits the study.");
}

}  // namespace ferry
