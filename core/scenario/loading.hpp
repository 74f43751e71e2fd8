// The steps from bytes to a scenario that document.cpp and study.cpp share.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/scenario/document.hpp"
#include "core/scenario/report.hpp"
#include "core/scenario/settings.hpp"
#include "core/scenario/yaml_tree.hpp"

namespace ferry {

/// The bytes of a file, at most a little more than `most_yaml_bytes`; or a report.
std::optional<std::string> read_file(const std::filesystem::path& file, SourcePlace asked_from,
                                     std::string path, Report& report);
/// Reads and parses a file that a user named on the command line.
bool read_yaml_file(const std::filesystem::path& file, YamlNode& root, Report& report);

/// Platform files by their path, read once; what is not here is read when needed.
using PlatformTexts = std::map<std::string, std::string>;

struct ScenarioSource {
  YamlNode root;                 ///< as written: its platform still the name of a file, perhaps
  std::filesystem::path folder;  ///< where relative names of files begin
  bool needs_version = true;     ///< `ferry: 1` must be there
  TraceFiles traces = TraceFiles::here;
};

/// Settings, platform, reading, checks, dump. `report` has the scenario's sources; it ends empty.
Loaded<LoadedScenario> read_tree(ScenarioSource source, const std::vector<ParsedSetting>& settings,
                                 const PlatformTexts& platforms, Report& report);

}  // namespace ferry
