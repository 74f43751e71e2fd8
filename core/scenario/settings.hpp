// `--set path=value`: changes to a tree before it is read.
#pragma once

#include <string_view>
#include <vector>

#include "core/scenario/document.hpp"
#include "core/scenario/yaml_tree.hpp"

namespace ferry {

/// A setting whose value is parsed.
struct ParsedSetting {
  std::string path;
  YamlNode value;
  SourcePlace place;
};

/// Parses the values; each setting is a source of its own line of "--set". Reports what is no YAML.
std::vector<ParsedSetting> parse_settings(const std::vector<Setting>& settings, Report& report);

/// True for `platform.hypervisor...`: it changes what the platform says, not which it is.
bool is_inside_platform(std::string_view path);

/// Sets the value at the path: items by name or position, `*` for every item. Keys that are absent
/// are made (the reader knows whether they may be there); items that are absent are reported. A
/// constant
/// `{value, source, kind}` that is set to a single value keeps its source.
void apply_setting(YamlNode& root, const ParsedSetting& setting, Report& report);

/// `override` onto `base`: mappings key by key, everything else (constants, lists) as a whole.
void merge(YamlNode& base, YamlNode override_node);

}  // namespace ferry
