#include "core/scenario/settings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "core/scenario/reader.hpp"

namespace ferry {
namespace {

std::vector<std::string_view> steps_of(std::string_view path) {
  std::vector<std::string_view> steps;
  std::size_t start = 0;
  for (std::size_t i = 0; i <= path.size(); ++i) {
    if (i < path.size() && path[i] != '.') continue;
    steps.push_back(path.substr(start, i - start));
    start = i + 1;
  }
  return steps;
}

void move_marks(YamlNode& node, SourcePlace place) {  // NOLINT(misc-no-recursion): depth is limited
  node.place = place;
  for (YamlNode& item : node.items) move_marks(item, place);
  for (YamlEntry& entry : node.entries) {
    entry.key_place = place;
    move_marks(entry.value, place);
  }
}

bool is_constant(const YamlNode& node) {
  return node.is_map() && node.find("value") != nullptr && node.find("kind") != nullptr;
}

std::string_view name_of(const YamlNode& item) {
  for (const std::string_view key : {"name", "id"}) {
    const YamlEntry* entry = item.find(key);
    if (entry != nullptr && entry->value.is_scalar()) return entry->value.text;
  }
  return {};
}

class Setter {
 public:
  Setter(const ParsedSetting& setting, Report& report)
      : setting_(setting), report_(report), steps_(steps_of(setting.path)) {}

  void run(YamlNode& root) {
    for (const std::string_view step : steps_) {
      if (!step.empty()) continue;
      add(Problem::bad_setting, "the path has an empty part; write a path such as vms.vm.count=8");
      return;
    }
    if (steps_.size() > most_yaml_depth) {
      add(Problem::bad_setting, "the path is deeper than any key");
      return;
    }
    set(root, 0);
  }

 private:
  void add(Problem problem, std::string message) {
    report_.add(problem, setting_.place, setting_.path, std::move(message));
  }

  /// False after a report.
  bool set(YamlNode& node, std::size_t step) {  // NOLINT(misc-no-recursion): depth is limited
    if (step == steps_.size()) {
      assign(node);
      return true;
    }
    const std::string_view key = steps_[step];
    switch (node.type) {
      case YamlNode::Type::null:
      case YamlNode::Type::map: {
        if (key == "*") {
          add(Problem::unmatched_path,
              fmt::format("'*' stands for the items of a list, and '{}' has none",
                          step == 0 ? "the file" : before(step)));
          return false;
        }
        const bool was_null = node.is_null();
        if (was_null) {
          node.type = YamlNode::Type::map;
          node.place = setting_.place;
        }
        const bool is_new = node.find(key) == nullptr;
        if (is_new) {
          YamlNode absent;
          absent.place = setting_.place;
          node.entries.push_back({std::string(key), setting_.place, std::move(absent)});
        }
        const bool good = set(node.find(key)->value, step + 1);
        // What was made for a setting that failed would only be a second error.
        if (!good && is_new) node.entries.pop_back();
        if (!good && was_null) node.type = YamlNode::Type::null;
        return good;
      }
      case YamlNode::Type::list: return set_in_list(node, step);
      case YamlNode::Type::scalar:
        add(Problem::unmatched_path,
            fmt::format("nothing is below '{}', which has the single value {}; set that",
                        before(step), in_quotes(node.text)));
        return false;
    }
    return false;
  }

  bool set_in_list(YamlNode& node, std::size_t step) {  // NOLINT(misc-no-recursion)
    const std::string_view key = steps_[step];
    if (key == "*") {
      if (node.items.empty()) {
        add(Problem::unmatched_path,
            fmt::format("'{}' has no items, so '*' matches nothing", before(step)));
      }
      bool good = !node.items.empty();
      for (YamlNode& item : node.items) good = set(item, step + 1) && good;
      return good;
    }
    bool found = false;
    bool good = true;
    for (YamlNode& item : node.items) {
      if (name_of(item) != key) continue;
      found = true;
      good = set(item, step + 1) && good;
    }
    if (found) return good;
    std::size_t index = 0;
    const auto result = std::from_chars(key.data(), key.data() + key.size(), index);
    if (result.ec == std::errc() && result.ptr == key.data() + key.size() &&
        index < node.items.size()) {
      return set(node.items[index], step + 1);
    }
    std::vector<std::string_view> names;
    for (const YamlNode& item : node.items) {
      const std::string_view name = name_of(item);
      if (!name.empty()) names.push_back(name);
    }
    const std::string_view near = nearest(key, names);
    std::string message = fmt::format("'{}' has no item {}", before(step), in_quotes(key));
    if (!near.empty()) {
      message += fmt::format("; did you mean '{}'?", near);
    } else if (!names.empty()) {
      message += fmt::format("; its items: {}", listed(names));
    } else if (!node.items.empty()) {
      message += fmt::format("; its items have no names: write 0 to {}", node.items.size() - 1);
    } else {
      message += "; it has none";
    }
    add(Problem::unmatched_path, std::move(message));
    return false;
  }

  void assign(YamlNode& node) {
    if (is_constant(node) && setting_.value.is_scalar()) {
      node.find("value")->value = setting_.value;
      return;
    }
    node = setting_.value;
  }

  /// The path up to, without, a step.
  [[nodiscard]] std::string before(std::size_t step) const {
    std::string text;
    for (std::size_t i = 0; i < step; ++i) {
      if (i > 0) text += '.';
      text += steps_[i];
    }
    return text;
  }

  const ParsedSetting& setting_;
  Report& report_;
  std::vector<std::string_view> steps_;
};

}  // namespace

std::vector<ParsedSetting> parse_settings(const std::vector<Setting>& settings, Report& report) {
  std::vector<ParsedSetting> parsed;
  if (settings.empty()) return parsed;
  const std::uint32_t source = report.add_source("--set", SourceKind::setting);
  for (std::size_t i = 0; i < settings.size(); ++i) {
    ParsedSetting setting;
    setting.path = settings[i].path;
    setting.place = {source, static_cast<std::uint32_t>(i) + 1, 1};
    // Parsed apart, so that its errors get the setting's place and path.
    Report inner;
    const std::uint32_t inner_source = inner.add_source("--set", SourceKind::setting);
    const bool good = parse_yaml(settings[i].value, inner_source, setting.value, inner);
    const bool inner_errors = !inner.empty();
    for (const Diagnostic& diagnostic : inner.take()) {
      report.add(Problem::bad_setting, setting.place, setting.path,
                 diagnostic.problem == Problem::empty
                     ? "the setting has no value; write PATH=VALUE"
                     : fmt::format("the value {} cannot be read: {}", in_quotes(settings[i].value),
                                   diagnostic.message));
    }
    if (!good || inner_errors) continue;
    move_marks(setting.value, setting.place);
    parsed.push_back(std::move(setting));
  }
  return parsed;
}

bool is_inside_platform(std::string_view path) { return path.substr(0, 9) == "platform."; }

void apply_setting(YamlNode& root, const ParsedSetting& setting, Report& report) {
  Setter(setting, report).run(root);
}

void merge(YamlNode& base, YamlNode override_node) {  // NOLINT(misc-no-recursion): depth is limited
  if (!base.is_map() || !override_node.is_map() || is_constant(base) ||
      is_constant(override_node)) {
    base = std::move(override_node);
    return;
  }
  for (YamlEntry& entry : override_node.entries) {
    if (YamlEntry* below = base.find(entry.key)) {
      below->key_place = entry.key_place;
      merge(below->value, std::move(entry.value));
    } else {
      base.entries.push_back(std::move(entry));
    }
  }
}

}  // namespace ferry
