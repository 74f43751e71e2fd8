#include "core/scenario/document.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <system_error>
#include <utility>

#include "core/scenario/describe_scenario.hpp"
#include "core/scenario/expand.hpp"
#include "core/scenario/loading.hpp"
#include "core/scenario/reader.hpp"
#include "core/scenario/writer.hpp"
#include "core/units/check.hpp"

namespace ferry {
namespace {

/// The node that a path of keys and positions leads to, or the last on the way; and the path's
/// text.
const YamlNode& follow(const YamlNode& root, const std::vector<PathStep>& steps,
                       std::string& path) {
  const YamlNode* node = &root;
  std::vector<PathStep> named;
  bool found = true;
  for (const PathStep& step : steps) {
    const YamlNode* next = nullptr;
    PathStep name = step;
    if (found && !step.key.empty()) {
      const YamlEntry* entry = node->find(step.key);
      if (entry != nullptr) next = &entry->value;
    } else if (found && node->is_list() && step.index < node->items.size()) {
      next = &node->items[step.index];
      name = item_step(*next, step.index);
    }
    named.push_back(name);
    found = next != nullptr;
    if (found) node = next;
  }
  path = to_path_text(named);
  return *node;
}

/// Reports what cannot work at the place where it is written.
class TreeProblems final : public ScenarioProblems {
 public:
  TreeProblems(const YamlNode& root, Report& report) : root_(root), report_(report) {}

  void add(Problem problem, const std::vector<PathStep>& where, std::string message) override {
    std::string path;
    const YamlNode& node = follow(root_, where, path);
    report_.add(problem, node.place, std::move(path), std::move(message));
  }
  [[nodiscard]] bool names_uncertain(std::string_view list) const override {
    return report_.any_path([&](std::string_view path) {
      if (path.empty() || path == list ||
          list.substr(0, path.size() + 1) == std::string(path) + ".") {
        return true;
      }
      if (path.substr(0, list.size() + 1) != std::string(list) + ".") return false;
      const std::string_view below = path.substr(list.size() + 1);
      const std::size_t dot = below.find('.');
      if (dot == std::string_view::npos) return true;
      const std::string_view key = below.substr(dot + 1);
      return key == "name" || key == "count";
    });
  }
  [[nodiscard]] bool has_errors_in(std::string_view key) const override {
    return report_.any_path([&](std::string_view path) {
      return path.empty() || path == key ||
             path.substr(0, key.size() + 1) == std::string(key) + ".";
    });
  }
  [[nodiscard]] bool any() const override { return !report_.empty(); }

 private:
  const YamlNode& root_;
  Report& report_;
};

/// The keys that only the file itself has, around the platform's.
struct PlatformFile {
  Platform& platform;
};
template <class Visitor>
void describe(Visitor& v, PlatformFile& file) {
  v.version("ferry_platform");
  describe(v, file.platform);
}

/// Puts the platform's file in place of its name; leaves the name if the file cannot be read.
void inline_platform(YamlNode& root, const std::filesystem::path& folder,
                     const PlatformTexts& platforms, Report& report) {
  YamlEntry* entry = root.find("platform");
  if (entry == nullptr) return;
  YamlNode& platform = entry->value;
  const YamlNode* file_node = nullptr;
  std::string path = "platform";
  if (platform.is_scalar()) {
    file_node = &platform;
  } else if (platform.is_map() && platform.find("base") != nullptr) {
    file_node = &platform.find("base")->value;
    path = "platform.base";
  } else {
    return;
  }
  // A platform that cannot be read becomes a scalar, about whose keys the reader says nothing.
  const auto give_up = [&] {
    platform.type = YamlNode::Type::scalar;
    platform.entries.clear();
  };
  if (!file_node->is_scalar() || file_node->text.empty()) {
    report.add(Problem::wrong_type, file_node->place, path,
               fmt::format("this is {}; write the name of a platform file",
                           file_node->is_scalar() ? "empty" : describe_node(*file_node)));
    give_up();
    return;
  }
  const std::filesystem::path file = (folder / file_node->text).lexically_normal();
  const auto known = platforms.find(file.string());
  const std::optional<std::string> text =
      known != platforms.end() ? known->second : read_file(file, file_node->place, path, report);
  YamlNode base;
  bool good = text.has_value();
  if (good) {
    const std::uint32_t source = report.add_source(file.string(), SourceKind::platform);
    good = parse_yaml(*text, source, base, report);
    if (good && !base.is_map()) {
      report.add(Problem::wrong_type, base.place, "",
                 fmt::format("this is {}; a platform file is a mapping that begins with "
                             "`ferry_platform: 1`",
                             describe_node(base)));
      good = false;
    }
  }
  if (!good) {
    give_up();
    return;
  }
  const YamlEntry* version = base.find("ferry_platform");
  if (version == nullptr) {
    report.add(Problem::missing_version, base.place, "platform.ferry_platform",
               "the format's version is missing; a platform file begins with `ferry_platform: 1`");
    give_up();
    return;
  }
  if (!version->value.is_scalar() || version->value.text != "1") {
    report.add(Problem::wrong_version, version->value.place, "platform.ferry_platform",
               fmt::format("{} is no version that this program reads; write `ferry_platform: 1`",
                           describe_node(version->value)));
  }
  std::erase_if(base.entries, [](const YamlEntry& item) { return item.key == "ferry_platform"; });
  if (platform.is_map()) {
    std::erase_if(platform.entries, [](const YamlEntry& item) { return item.key == "base"; });
    merge(base, std::move(platform));
  }
  platform = std::move(base);
}

Loaded<LoadedScenario> failed(Report& report) { return tl::unexpected<Diagnostics>(report.take()); }

void collect_leaves(const YamlNode& node, const std::string& path, std::vector<Setting>& leaves) {
  if (node.is_list() && std::any_of(node.items.begin(), node.items.end(), [](const YamlNode& item) {
        return item.is_map() && !(item.entries.size() == 1 && !item.entries[0].value.is_scalar());
      })) {
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      collect_leaves(node.items[i], path + "." + to_path_text({item_step(node.items[i], i)}),
                     leaves);
    }
    return;
  }
  constexpr std::array<std::string_view, 3> laws = {"uniform", "choice", "lognormal"};
  const bool is_law = node.is_map() && node.entries.size() == 1 &&
                      std::find(laws.begin(), laws.end(), node.entries[0].key) != laws.end();
  const bool is_constant = node.is_map() && node.find("value") != nullptr &&
                           node.find("kind") != nullptr && node.find("source") != nullptr;
  if (node.is_map() && !is_law && !is_constant) {
    for (const YamlEntry& entry : node.entries) {
      collect_leaves(entry.value, path.empty() ? entry.key : path + "." + entry.key, leaves);
    }
    return;
  }
  leaves.push_back({path, to_flow_text(is_constant ? node.find("value")->value : node)});
}

template <class Quantity>
std::optional<std::string> scaled_text(Parsed<Quantity> (*parse)(std::string_view),
                                       std::string_view value, double factor) {
  const Parsed<Quantity> parsed = parse(value);
  if (!parsed) return std::nullopt;
  return to_text(*parsed * factor);
}

}  // namespace

std::optional<std::string> read_file(const std::filesystem::path& file, SourcePlace asked_from,
                                     std::string path, Report& report) {
  const auto cannot = [&](std::string_view why) {
    report.add(Problem::unreadable_file, asked_from, path,
               fmt::format("cannot read {}: {}; write the name of a file that can be read",
                           in_quotes(file.string()), why));
    return std::nullopt;
  };
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(file, error);
  if (status.type() == std::filesystem::file_type::not_found)
    return cannot("there is no such file");
  if (error) return cannot(error.message());
  if (std::filesystem::is_directory(status)) return cannot("it is a folder");
  // A pipe or a device might never end.
  if (!std::filesystem::is_regular_file(status)) return cannot("it is no regular file");
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return cannot("permission denied");
  std::string text;
  std::array<char, 65536> block;
  while (text.size() <= most_yaml_bytes && stream) {
    stream.read(block.data(), block.size());
    text.append(block.data(), static_cast<std::size_t>(stream.gcount()));
  }
  if (stream.bad()) return cannot("reading failed");
  return text;
}

bool read_yaml_file(const std::filesystem::path& file, YamlNode& root, Report& report) {
  const std::uint32_t source = report.add_source(file.string(), SourceKind::scenario);
  const std::optional<std::string> text = read_file(file, {source, 1, 1}, "", report);
  return text && parse_yaml(*text, source, root, report);
}

/// Traces by their absolute names, so that the resolved scenario can be read from anywhere.
void find_traces(Scenario& scenario, const std::filesystem::path& folder, TreeProblems& problems) {
  for (std::size_t i = 0; i < scenario.jobs.size(); ++i) {
    Workload& workload = scenario.jobs[i].workload;
    if (workload.type != WorkloadType::trace || workload.file.empty()) continue;
    const std::filesystem::path file = std::filesystem::absolute(folder / workload.file);
    std::error_code error;
    if (std::filesystem::is_regular_file(file, error)) {
      workload.file = file.lexically_normal().string();
      continue;
    }
    problems.add(Problem::unreadable_file, {{"jobs"}, {{}, i}, {"workload"}, {"file"}},
                 fmt::format("there is no file {}; write a trace's name relative to this file",
                             in_quotes(workload.file)));
  }
}

Loaded<LoadedScenario> read_tree(ScenarioSource source, const std::vector<ParsedSetting>& settings,
                                 const PlatformTexts& platforms, Report& report) {
  YamlNode& root = source.root;
  if (!root.is_map()) {
    report.add(Problem::wrong_type, root.place, "",
               fmt::format("this is {}; a scenario is a mapping that begins with `ferry: 1`",
                           describe_node(root)));
    return failed(report);
  }
  for (const ParsedSetting& setting : settings) {
    if (!is_inside_platform(setting.path)) apply_setting(root, setting, report);
  }
  inline_platform(root, source.folder, platforms, report);
  for (const ParsedSetting& setting : settings) {
    const YamlEntry* platform = root.find("platform");
    // A platform that could not be read has been reported; settings inside it are no further error.
    if (is_inside_platform(setting.path) && platform != nullptr && platform->value.is_map()) {
      apply_setting(root, setting, report);
    }
  }
  if (!source.needs_version && root.find("ferry") == nullptr) {
    YamlNode version;
    version.type = YamlNode::Type::scalar;
    version.text = "1";
    version.place = root.place;
    root.entries.push_back({"ferry", root.place, std::move(version)});
  }
  LoadedScenario loaded;
  Reader reader(report);
  reader.read(root, loaded.scenario, Mapping{});
  loaded.constants = reader.take_constants();
  TreeProblems problems(root, report);
  if (source.traces == TraceFiles::here) find_traces(loaded.scenario, source.folder, problems);
  expand_checked(loaded.scenario, problems);
  if (!report.empty()) return failed(report);
  loaded.resolved = write_resolved(loaded.scenario, loaded.constants);
  return loaded;
}

namespace {

/// Whether a file that is to be a scenario is not one of the other kinds; reports which it is.
bool no_other_kind(YamlNode& root, Report& report) {
  struct Kind {
    const char* key;
    const char* advice;
  };
  constexpr std::array<Kind, 3> others = {
      {{"study", "this file is a study; write `ferry sweep FILE`, or the scenario that it varies"},
       {"ferry_platform",
        "this file is a platform; write a scenario, which names it by `platform: FILE`"},
       {"ferry_cluster",
        "this file tells a real cluster's hosts; write a scenario, and this one after --cluster"}}};
  for (const Kind& other : others) {
    const YamlEntry* entry = root.is_map() ? root.find(other.key) : nullptr;
    if (entry == nullptr) continue;
    report.add(Problem::unknown_key, entry->key_place, other.key, other.advice);
    return false;
  }
  return true;
}

}  // namespace

Loaded<LoadedScenario> read_scenario(std::string_view text, const std::filesystem::path& name,
                                     const std::vector<Setting>& settings) {
  Report report;
  const std::uint32_t id = report.add_source(name.string(), SourceKind::scenario);
  ScenarioSource source;
  source.folder = name.parent_path();
  const bool good = parse_yaml(text, id, source.root, report);
  const std::vector<ParsedSetting> parsed = parse_settings(settings, report);
  if (!good) return failed(report);
  return read_tree(std::move(source), parsed, {}, report);
}

Loaded<LoadedScenario> load_scenario(const std::filesystem::path& file,
                                     const std::vector<Setting>& settings, TraceFiles traces) {
  Report report;
  ScenarioSource source;
  source.folder = file.parent_path();
  source.traces = traces;
  const bool good = read_yaml_file(file, source.root, report) && no_other_kind(source.root, report);
  const std::vector<ParsedSetting> parsed = parse_settings(settings, report);
  if (!good) return failed(report);
  return read_tree(std::move(source), parsed, {}, report);
}

Loaded<LoadedPlatform> load_platform(const std::filesystem::path& file) {
  Report report;
  const std::uint32_t source = report.add_source(file.string(), SourceKind::platform);
  const std::optional<std::string> text = read_file(file, {source, 1, 1}, "", report);
  YamlNode root;
  LoadedPlatform loaded;
  if (text && parse_yaml(*text, source, root, report)) {
    Reader reader(report);
    const Reader::At at(reader, {"platform"});
    PlatformFile keys{loaded.platform};
    reader.read(root, keys, Mapping{});
    loaded.constants = reader.take_constants();
  }
  if (!report.empty()) return tl::unexpected<Diagnostics>(report.take());
  return loaded;
}

Loaded<FileKind> detect_file_kind(const std::filesystem::path& file) {
  Report report;
  YamlNode root;
  if (!read_yaml_file(file, root, report)) return tl::unexpected<Diagnostics>(report.take());
  if (root.find("ferry_platform") != nullptr) return FileKind::platform;
  if (root.find("ferry_cluster") != nullptr) return FileKind::cluster;
  if (root.find("study") != nullptr) return FileKind::study;
  return FileKind::scenario;
}

std::vector<Setting> leaf_settings(const LoadedScenario& scenario) {
  Report report;
  YamlNode root;
  const std::uint32_t source = report.add_source("resolved", SourceKind::scenario);
  const bool good = parse_yaml(scenario.resolved, source, root, report);
  check(good, "the resolved dump is YAML");
  std::vector<Setting> leaves;
  collect_leaves(root, "", leaves);
  return leaves;
}

std::optional<std::string> scaled_value(std::string_view value, double factor) {
  std::uint64_t count = 0;
  const auto result = std::from_chars(value.data(), value.data() + value.size(), count);
  if (!value.empty() && result.ec == std::errc() && result.ptr == value.data() + value.size()) {
    const double scaled = std::round(static_cast<double>(count) * factor);
    if (!(scaled < 9e15)) return std::nullopt;
    return fmt::format("{}", std::max<std::uint64_t>(1, static_cast<std::uint64_t>(scaled)));
  }
  if (auto text = scaled_text<Duration>(parse_duration, value, factor)) return text;
  if (auto text = scaled_text<Bytes>(parse_bytes, value, factor)) return text;
  if (auto text = scaled_text<Bandwidth>(parse_bandwidth, value, factor)) return text;
  const Parsed<Ratio> ratio = parse_ratio(value);
  if (ratio) return to_text(Ratio(ratio->value() * factor));
  return std::nullopt;
}

}  // namespace ferry
