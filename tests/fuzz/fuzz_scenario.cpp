// Any bytes at all: reading them ends in a scenario or in errors, and a scenario that is accepted
// can be expanded and survives its dump. A text that begins with "# --set PATH=VALUE" lines has
// settings; one that names `ferry_cluster` is read as a cluster file.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/scenario/cluster_file.hpp"
#include "core/scenario/document.hpp"
#include "core/scenario/instance.hpp"
#include "core/units/check.hpp"

namespace {

std::vector<ferry::Setting> settings_of(std::string_view text) {
  constexpr std::string_view mark = "# --set ";
  std::vector<ferry::Setting> settings;
  while (text.substr(0, mark.size()) == mark && settings.size() < 8) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(mark.size(), end - mark.size());
    const std::size_t equals = line.find('=');
    if (equals == std::string_view::npos || end == std::string_view::npos) break;
    settings.push_back({std::string(line.substr(0, equals)), std::string(line.substr(equals + 1))});
    text.remove_prefix(end + 1);
  }
  return settings;
}

void check_errors(const ferry::Diagnostics& errors) {
  ferry::check(!errors.empty(), "a refusal says why");
  for (const ferry::Diagnostic& diagnostic : errors) {
    ferry::check(diagnostic.line > 0 && diagnostic.column > 0, "an error has a place");
    ferry::check(!diagnostic.text().empty(), "an error has a text");
  }
}

void read_as_cluster(std::string_view text) {
  const auto loaded = ferry::read_cluster(text, "fuzz.yaml");
  if (!loaded) return check_errors(loaded.error());
  ferry::check(!loaded->cluster.hosts.empty(), "an accepted cluster has hosts");
  const auto again = ferry::read_cluster(loaded->resolved, "fuzz.yaml");
  ferry::check(again.has_value(), "the dump of an accepted cluster is accepted");
  ferry::check(again->resolved == loaded->resolved, "the dump of the dump is the dump");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.find("ferry_cluster") != std::string_view::npos) {
    read_as_cluster(text);
    return 0;
  }
  // Platforms are looked up beside this name: the good files' is found.
  const std::filesystem::path name = std::filesystem::path(FERRY_SCENARIO_TESTS) / "bad/fuzz.yaml";
  const auto loaded = ferry::read_scenario(text, name, settings_of(text));
  if (!loaded) {
    check_errors(loaded.error());
    return 0;
  }
  const ferry::Instance instance = ferry::expand(loaded->scenario);
  ferry::check(!instance.vms.empty(), "an accepted scenario has VMs");
  const auto again = ferry::read_scenario(loaded->resolved, name);
  ferry::check(again.has_value(), "the dump of an accepted scenario is accepted");
  ferry::check(again->resolved == loaded->resolved, "the dump of the dump is the dump");
  const auto leaves = ferry::leaf_settings(*loaded);
  ferry::check(leaves.size() > 20, "an accepted scenario has settings");
  return 0;
}
