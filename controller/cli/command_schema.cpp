#include <CLI/CLI.hpp>
#include <cstdio>

#include "controller/cli/commands.hpp"

namespace ferry {

void add_schema(CLI::App& program, Invocation& invocation) {
  CLI::App* command = program.add_subcommand("schema", "Print the JSON Schema of a kind of file");
  auto kind = std::make_shared<std::string>("scenario");
  command->add_option("kind", *kind, "scenario (the default), study, platform or cluster")
      ->type_name("KIND")
      ->check(CLI::IsMember({"scenario", "study", "platform", "cluster"}));
  command->footer(
      "Example, for an editor that completes and checks as you type:\n"
      "  ferry schema scenario > scenario.schema.json");
  command->callback([kind, &invocation] {
    invocation.action = [kind] {
      const FileKind file_kind = *kind == "study"      ? FileKind::study
                                 : *kind == "platform" ? FileKind::platform
                                 : *kind == "cluster"  ? FileKind::cluster
                                                       : FileKind::scenario;
      const std::string schema = json_schema(file_kind);
      std::fputs(schema.c_str(), stdout);
      if (schema.empty() || schema.back() != '\n') std::fputs("\n", stdout);
      return static_cast<int>(ExitStatus::done);
    };
  });
}

}  // namespace ferry
