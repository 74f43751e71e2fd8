// Reading the files that a user writes: every error of a file at once, each with its place.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "core/scenario/problem.hpp"
#include "core/scenario/scenario.hpp"

namespace ferry {

/// One thing that is wrong with a file.
struct Diagnostic {
  std::string file;  ///< as the user named it; "--set" for a setting
  std::size_t line = 0;
  std::size_t column = 0;
  std::string path;     ///< `vms.vm.memory`; empty for errors of the YAML text itself
  std::string message;  ///< "what is wrong; what would be right"
  Problem problem = Problem::unreadable_file;

  /// `FILE:LINE:COLUMN: PATH: message`
  [[nodiscard]] std::string text() const;
};
using Diagnostics = std::vector<Diagnostic>;
template <class T>
using Loaded = tl::expected<T, Diagnostics>;

/// `--set path=value`, or one assignment of a study cell; the value is YAML text.
struct Setting {
  std::string path;
  std::string value;
  auto operator<=>(const Setting&) const = default;
};

enum class ConstantKind { measured, documented, fitted, assumed, unstated };

/// A constant with its origin, in a platform or a scenario.
struct SourcedConstant {
  std::string path;   ///< that `--set` accepts: `platform.hypervisor.prepare`
  std::string value;  ///< as written
  std::string source;
  ConstantKind kind = ConstantKind::unstated;
  std::vector<std::string> fitted_to;  ///< ids of claims (key `to`), for kind fitted
  std::string file;
  std::size_t line = 0;
};

struct LoadedScenario {
  Scenario scenario;
  std::vector<SourcedConstant> constants;  ///< in the order of reading
  std::string resolved;  ///< YAML with every default written out and the platform inlined
};

enum class FileKind { scenario, study, platform, cluster };

/// What kind of file this is, by its keys (`study:`, `ferry_platform:`, `ferry_cluster:`).
Loaded<FileKind> detect_file_kind(const std::filesystem::path& file);

/// Where the traces that a scenario names are; `elsewhere`: their names stay as they are written.
enum class TraceFiles { here, elsewhere };

Loaded<LoadedScenario> load_scenario(const std::filesystem::path& file,
                                     const std::vector<Setting>& settings = {},
                                     TraceFiles traces = TraceFiles::here);
/// The same over text in memory (tests, fuzzing). `name` stands for the file in messages; relative
/// platform paths are looked up beside it.
Loaded<LoadedScenario> read_scenario(std::string_view text, const std::filesystem::path& name,
                                     const std::vector<Setting>& settings = {});

/// A platform file by itself, with its constants.
struct LoadedPlatform {
  Platform platform;
  std::vector<SourcedConstant> constants;
};
Loaded<LoadedPlatform> load_platform(const std::filesystem::path& file);

/// Every path that `--set` accepts and that holds a single value in this scenario, defaults
/// included, with that value: for tests and for tools that offer settings.
std::vector<Setting> leaf_settings(const LoadedScenario& scenario);

/// The text of a quantity or number times `factor`, in the same kind of unit ("0.55s" x 2 is
/// "1.1s"); nothing for a text that is no quantity. Whole numbers stay whole and at least 1.
std::optional<std::string> scaled_value(std::string_view value, double factor);

/// JSON Schema (draft 2020-12) of a kind of file, generated from the readers' descriptions.
std::string json_schema(FileKind kind);

}  // namespace ferry
