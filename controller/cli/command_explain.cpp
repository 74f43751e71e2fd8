#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "controller/cli/commands.hpp"
#include "controller/cli/explain.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {
namespace {

struct ExplainArguments {
  std::string scenario;
  SettingOptions settings;
  std::optional<std::string> job;
  std::optional<std::uint32_t> from;
  std::optional<std::uint32_t> to;
  bool csv = false;
  bool json = false;
};

int run_explain(const ExplainArguments& options) {
  const auto settings = options.settings.settings();
  if (!settings) return static_cast<int>(report_error(ExitStatus::bad_input, settings.error()));
  const auto loaded = load_scenario(options.scenario, *settings);
  if (!loaded) return static_cast<int>(report_bad_input(loaded.error()));
  ExplainRequest request;
  request.job = options.job;
  if (options.from) request.ranks = {*options.from, *options.to};
  const Instance instance = expand(loaded->scenario);
  const auto jobs = explain(loaded->scenario, instance, request);
  if (!jobs) return static_cast<int>(report_bad_plan(options.scenario, jobs.error()));
  const auto print = options.csv ? explained_csv : options.json ? explained_json : explained_text;
  std::fputs(print(loaded->scenario, instance, *jobs).c_str(), stdout);
  return static_cast<int>(ExitStatus::done);
}

}  // namespace

void add_explain(CLI::App& program, Invocation& invocation) {
  CLI::App* command = program.add_subcommand(
      "explain",
      "Show which channel and protocol the ranks of jobs use by message size, how long a message "
      "takes, and why not another way");
  auto options = std::make_shared<ExplainArguments>();
  command->add_option("scenario", options->scenario, "A scenario file")
      ->type_name("SCENARIO")
      ->required();
  options->settings.add_to(*command);
  command->add_option("--job", options->job, "Only this job")->type_name("NAME");
  CLI::Option* from =
      command->add_option("--from", options->from, "Only this pair of ranks, with --to")
          ->type_name("RANK");
  CLI::Option* to = command->add_option("--to", options->to, "The other rank")->type_name("RANK");
  from->needs(to);
  to->needs(from);
  CLI::Option* csv = command->add_flag(
      "--csv", options->csv, "CSV: a row for each job, class of pairs and range of sizes");
  command->add_flag("--json", options->json, "JSON: also the reasons, and times by size")
      ->excludes(csv);
  command->footer(
      "Pairs that are alike (one VM, one host, one socket, two hosts) are shown once, where the "
      "scenario places\nthem at its beginning.\nExample:\n"
      "  ferry explain sixteen-vms.yaml --job lu --set jobs.lu.channels.mode=two_layer");
  command->callback(
      [options, &invocation] { invocation.action = [options] { return run_explain(*options); }; });
}

}  // namespace ferry
