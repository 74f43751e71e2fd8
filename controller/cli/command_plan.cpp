#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "controller/cli/commands.hpp"
#include "controller/cli/text_table.hpp"
#include "controller/plan.hpp"
#include "core/migration/prediction.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {
namespace {

/// What keeps moves from completing even on an idle network, a line each.
std::string hopeless_moves(const LoadedScenario& loaded, const Instance& instance,
                           const Plan& plan) {
  constexpr std::size_t shown = 8;
  std::string text;
  std::size_t count = 0;
  for (const PlannedMove& planned : plan.moves) {
    const MoveSpec& spec = instance.moves[planned.move];
    const Platform& platform = loaded.scenario.platform;
    const TransferPrediction transfer =
        predict_move(instance, platform, spec, idle_bandwidth(instance, platform, spec.transfer))
            .transfer;
    std::string why;
    if (!transfer.converges) {
      why = fmt::format("alone, too, it does not converge in {} rounds", spec.transfer.max_rounds);
    } else if (transfer.time > spec.timeouts.migration && !transfer.switched) {
      why = fmt::format("alone, too, its memory takes {:.3f} s, longer than timeouts.migration",
                        transfer.time.to_seconds());
    } else {
      continue;
    }
    if (++count > shown) continue;
    text += fmt::format("{} will not complete: {}.\n", instance.vms[spec.vm.index].name, why);
  }
  if (count > shown) text += fmt::format("And {} more will not.\n", count - shown);
  return text;
}

std::string plan_text(const LoadedScenario& loaded, const Instance& instance, const Plan& plan) {
  const bool forecast = plan.schedules_compared > 0;
  std::vector<std::vector<std::string>> rows;
  for (std::size_t wave = 0; wave < plan.waves.size(); ++wave) {
    for (const std::size_t move : plan.waves[wave].moves) {
      const PlannedMove& planned = plan.moves[move];
      const MoveSpec& spec = instance.moves[move];
      std::vector<std::string>& row = rows.emplace_back();
      row = {fmt::to_string(wave + 1),
             instance.vms[spec.vm.index].name,
             instance.hosts[planned.from.index].name,
             instance.hosts[planned.to.index].name,
             std::string(to_name(spec.transfer.transport)),
             fmt::format("{:.3f}", plan.waves[wave].not_before.to_seconds()),
             fmt::format("{:.3f}", planned.predicted_total.to_seconds())};
      if (!forecast) continue;
      row.push_back(fmt::format("{:.3f}", planned.predicted_start.to_seconds()));
      row.push_back(fmt::format("{:.3f}", planned.predicted_end.to_seconds()));
    }
  }
  const char* order = plan.order == Order::sequential ? "one after the other"
                      : plan.order == Order::planned  ? "the best of several schedules"
                                                      : "as limits allow";
  std::string text = fmt::format("{}: {} moves in {} waves, {}\n", loaded.scenario.name,
                                 plan.moves.size(), plan.waves.size(), order);
  if (rows.empty()) return text;
  std::vector<TextColumn> columns = {{"wave", Align::right},
                                     {"vm"},
                                     {"from"},
                                     {"to"},
                                     {"transport"},
                                     {"not before (s)", Align::right},
                                     {"predicted total (s)", Align::right}};
  if (forecast) {
    columns.push_back({"expected start (s)", Align::right});
    columns.push_back({"expected end (s)", Align::right});
  }
  text += "\n" + text_table(columns, rows) +
          "\nA predicted total is that of the move alone on an idle network.\n" +
          hopeless_moves(loaded, instance, plan);
  if (!forecast) return text;
  return text + fmt::format(
                    "Expected to take {:.3f} s, with a mean downtime of {:.2f} ms: {} (the best of "
                    "{} schedules that were forecast).\nAt least {:.3f} s, {}.\n",
                    plan.predicted_makespan.to_seconds(),
                    1000 * plan.predicted_downtime.to_seconds(), plan.schedule,
                    plan.schedules_compared, plan.least_makespan.to_seconds(), plan.bounded_by);
}

}  // namespace

void add_plan(CLI::App& program, Invocation& invocation) {
  struct Options {
    std::string scenario;
    SettingOptions settings;
  };
  CLI::App* command = program.add_subcommand(
      "plan", "Show which VM would move where and when, and how long alone; nothing is touched");
  auto options = std::make_shared<Options>();
  command->add_option("scenario", options->scenario, "A scenario file")
      ->type_name("SCENARIO")
      ->required();
  options->settings.add_to(*command);
  command->footer("Example:\n  ferry plan sixteen-vms.yaml --set schedule.order=sequential");
  command->callback([options, &invocation] {
    invocation.action = [options] {
      const auto settings = options->settings.settings();
      if (!settings) {
        return static_cast<int>(report_error(ExitStatus::bad_input, settings.error()));
      }
      const auto loaded = load_scenario(options->scenario, *settings);
      if (!loaded) return static_cast<int>(report_bad_input(loaded.error()));
      Instance instance = expand(loaded->scenario);
      const auto plan = make_plan(loaded->scenario, instance);
      if (!plan) return static_cast<int>(report_bad_plan(options->scenario, plan.error()));
      std::fputs(plan_text(*loaded, instance, *plan).c_str(), stdout);
      return static_cast<int>(ExitStatus::done);
    };
  });
}

}  // namespace ferry
