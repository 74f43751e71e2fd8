#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <set>

#include "controller/cli/commands.hpp"
#include "controller/cli/text_table.hpp"
#include "controller/plan.hpp"
#include "core/scenario/cluster_file.hpp"
#include "core/scenario/instance.hpp"
#include "core/scenario/study.hpp"

namespace ferry {
namespace {

std::string_view to_word(ConstantKind kind) {
  switch (kind) {
    case ConstantKind::measured: return "measured";
    case ConstantKind::documented: return "documented";
    case ConstantKind::fitted: return "fitted";
    case ConstantKind::assumed: return "assumed";
    case ConstantKind::unstated: return "unstated";
  }
  return "?";
}

std::string constants_text(const std::vector<SourcedConstant>& constants) {
  std::vector<std::vector<std::string>> rows;
  for (const SourcedConstant& constant : constants) {
    std::string kind(to_word(constant.kind));
    if (!constant.fitted_to.empty()) {
      kind += fmt::format(" to {}", fmt::join(constant.fitted_to, ", "));
    }
    rows.push_back({constant.path, constant.value, std::move(kind), constant.source,
                    fmt::format("{}:{}", constant.file, constant.line)});
  }
  if (rows.empty()) return "no constants\n";
  return text_table({{"path"}, {"value"}, {"kind"}, {"source"}, {"where"}}, rows, 140);
}

/// A file that was read, or the lines that say what is wrong with it.
struct Checked {
  std::vector<std::string> errors;
  std::vector<SourcedConstant> constants;
  std::string note;  ///< behind "ok"

  void add(const Diagnostics& diagnostics) {
    for (const Diagnostic& diagnostic : diagnostics) errors.push_back(diagnostic.text());
  }
  void add_constants(const std::vector<SourcedConstant>& more) {
    for (const SourcedConstant& constant : more) {
      const auto same = [&](const SourcedConstant& other) {
        return other.path == constant.path && other.value == constant.value &&
               other.file == constant.file && other.line == constant.line;
      };
      if (std::none_of(constants.begin(), constants.end(), same)) constants.push_back(constant);
    }
  }
};

void check_plan(const std::string& file, const std::string& cell, const LoadedScenario& loaded,
                Checked& checked) {
  Instance instance = expand(loaded.scenario);
  const auto plan = make_plan(loaded.scenario, instance);
  if (!plan) checked.errors.push_back(fmt::format("{}: {}{}", file, cell, plan.error()));
}

void check_study(const std::string& file, const std::vector<Setting>& settings, Checked& checked) {
  auto study = load_study(file, settings);
  if (!study && study.error().size() == 1 &&
      study.error().front().problem == Problem::nothing_random) {
    study = load_study(file, settings, {.repeat = {}, .world_varies = true});
    checked.note = "; nothing is random, so only a sweep --on hw or threads can repeat its cells";
  }
  if (!study) return checked.add(study.error());
  for (const StudyCell& cell : study->cells()) {
    if (cell.repetition != 0) continue;  // only draws differ
    const auto loaded = study->scenario(cell);
    if (!loaded) {
      checked.add(loaded.error());
      continue;
    }
    check_plan(file, cell.name + ": ", *loaded, checked);
    checked.add_constants(loaded->constants);
  }
}

Checked check_file(const std::string& file, const std::vector<Setting>& settings) {
  Checked checked;
  const auto kind = detect_file_kind(file);
  if (!kind) {
    checked.add(kind.error());
  } else if (*kind == FileKind::study) {
    check_study(file, settings, checked);
  } else if (*kind == FileKind::platform) {
    const auto loaded = load_platform(file);
    if (loaded) {
      checked.constants = loaded->constants;
    } else {
      checked.add(loaded.error());
    }
  } else if (*kind == FileKind::cluster) {
    const auto loaded = load_cluster(file);
    if (!loaded) checked.add(loaded.error());
  } else {
    const auto loaded = load_scenario(file, settings);
    if (loaded) {
      check_plan(file, "", *loaded, checked);
      checked.constants = loaded->constants;
    } else {
      checked.add(loaded.error());
    }
  }
  return checked;
}

}  // namespace

void add_check(CLI::App& program, Invocation& invocation) {
  struct Options {
    std::vector<std::string> files;
    bool sources = false;
    SettingOptions settings;
  };
  CLI::App* command = program.add_subcommand(
      "check", "Read scenario, study, platform and cluster files; print every error, or \"ok\"");
  auto options = std::make_shared<Options>();
  command->add_option("files", options->files, "The files")->type_name("FILE")->required();
  command->add_flag("--sources", options->sources,
                    "List every constant with its value, kind, source and place");
  options->settings.add_to(*command);
  command->footer(
      "Exit status 2 if a file is not right.\n"
      "Example:\n  ferry check sixteen-vms.yaml --sources");
  command->callback([options, &invocation] {
    invocation.action = [options] {
      const auto settings = options->settings.settings();
      if (!settings) {
        return static_cast<int>(report_error(ExitStatus::bad_input, settings.error()));
      }
      ExitStatus status = ExitStatus::done;
      for (const std::string& file : options->files) {
        const Checked checked = check_file(file, *settings);
        std::fflush(stdout);  // so that the lines come in order where both go to one place
        for (const std::string& error : checked.errors) fmt::print(stderr, "{}\n", error);
        if (!checked.errors.empty()) {
          status = ExitStatus::bad_input;
          continue;
        }
        fmt::print("{}: ok{}\n", file, checked.note);
        if (options->sources) std::fputs(constants_text(checked.constants).c_str(), stdout);
      }
      return static_cast<int>(status);
    };
  });
}

}  // namespace ferry
