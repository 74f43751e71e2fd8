// The program `ferry-host`: looks at the host that it runs on, once, and changes what it is told
// to.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "hw_backend/host/adapters.hpp"
#include "hw_backend/host/function_settings.hpp"
#include "hw_backend/host/guid.hpp"
#include "hw_backend/host/host_report.hpp"
#include "hw_backend/host/report_json.hpp"
#include "hw_backend/host/report_text.hpp"
#include "hw_backend/host/shared_memory.hpp"

namespace ferry::host {
namespace {

/// As those of `ferry`.
enum class Status { done = 0, failed = 1, bad_input = 2, no_world = 3 };

struct Arguments {
  std::string root = "/";
  bool json = false;
  std::string function;
  std::string node_guid;
  std::string port_guid;
  std::string policy;
  std::uint32_t port = 1;
  std::vector<std::string> names;
  bool remove = false;
};

Status complain(Status status, const std::string& text) {
  fmt::print(stderr, "ferry-host: {}\n", text);
  return status;
}

void say(const std::string& text) { std::fputs(text.c_str(), stdout); }

std::unique_ptr<Links> links_of(const Tree& tree) {
  if (tree.is_system()) return std::make_unique<KernelLinks>();
  return std::make_unique<NoLinks>();
}

Status report(const Arguments& arguments) {
  const Tree tree(arguments.root);
  const Report report = look_at_host(tree, *links_of(tree));
  say(arguments.json ? to_json(report) : report_text(report));
  return has_failed(report) ? Status::failed : Status::done;
}

Result<std::optional<std::uint64_t>> guid_of(const std::string& option, const std::string& text) {
  if (text.empty()) return std::nullopt;
  const auto guid = parse_guid(text);
  if (guid && is_guid(*guid)) return guid;
  return failure(FailureKind::refused,
                 fmt::format("{} {}: is no GUID; 16 hexadecimal digits, not all 0 or all f, as in "
                             "00:11:22:33:44:55:66:77 would be right",
                             option, text));
}

Result<FunctionSettings> settings_of(const Arguments& arguments) {
  FunctionSettings settings;
  settings.port = arguments.port;
  const auto node = guid_of("--node-guid", arguments.node_guid);
  if (!node) return tl::unexpected(node.error());
  const auto port = guid_of("--port-guid", arguments.port_guid);
  if (!port) return tl::unexpected(port.error());
  settings.node_guid = *node;
  settings.port_guid = *port;
  for (const Policy policy : {Policy::follow, Policy::up, Policy::down}) {
    if (to_word(policy) == arguments.policy) settings.policy = policy;
  }
  if (!arguments.policy.empty() && !settings.policy) {
    return failure(FailureKind::refused,
                   fmt::format("--policy {}: up, down or follow would be right", arguments.policy));
  }
  if (!settings.node_guid && !settings.port_guid && !settings.policy) {
    return failure(FailureKind::refused,
                   "set: nothing to set; --node-guid, --port-guid or --policy would be right");
  }
  return settings;
}

Status set(const Arguments& arguments) {
  const auto settings = settings_of(arguments);
  if (!settings) return complain(Status::bad_input, settings.error().reason);
  if (!is_pci_address(arguments.function)) {
    return complain(Status::bad_input, fmt::format("set {}: is no PCI address; 0000:03:00.1 would "
                                                   "be right",
                                                   arguments.function));
  }
  const Tree tree(arguments.root);
  const auto changed = change_function(tree, *links_of(tree), arguments.function, *settings);
  if (!changed) {
    const bool is_refused = changed.error().kind == FailureKind::refused;
    return complain(is_refused ? Status::bad_input : Status::failed, changed.error().reason);
  }
  const auto show = [](std::string_view what, const std::string& before, const std::string& after) {
    if (before == after) return;
    say(fmt::format("{}: {} -> {}\n", what, before.empty() ? "none" : before, after));
  };
  show("node GUID", changed->before.node_guid, changed->after.node_guid);
  show("port GUID", changed->before.port_guid, changed->after.port_guid);
  show("policy", changed->before.policy, changed->after.policy);
  const std::string& driver = changed->after.driver;
  if (!driver.empty() && driver.find("vfio") == std::string::npos) {
    say(fmt::format("the host's {} goes on with what it read before, until it is bound anew\n",
                    driver));
  }
  return Status::done;
}

Result<std::vector<SharedMemory>> wanted_memory(const Tree& tree,
                                                const std::vector<std::string>& names) {
  const Processes processes = look_at_processes(tree);
  std::vector<SharedMemory> files = look_at_shared_memory(tree, processes, names);
  if (names.empty()) return files;
  for (const std::string& name : names) {
    const bool is_there =
        std::ranges::any_of(files, [&name](const SharedMemory& file) { return file.name == name; });
    if (is_there) continue;
    return failure(FailureKind::refused,
                   fmt::format("there is no file /dev/shm/{}; ferry-host memory lists those that "
                               "it knows",
                               name));
  }
  std::erase_if(files, [&names](const SharedMemory& file) {
    return std::ranges::count(names, file.name) == 0;
  });
  return files;
}

/// Those that are needed stay; that is a failure if the user named them.
Status remove(const Tree& tree, const std::vector<SharedMemory>& files, bool are_named) {
  Status status = Status::done;
  for (const SharedMemory& file : files) {
    const Result<> removed = remove_shared_memory(tree, file);
    say(removed ? fmt::format("removed {}\n", file.name)
                : fmt::format("kept {}: {}\n", file.name, removed.error().reason));
    if (!removed && (are_named || file.kept.empty())) status = Status::failed;
  }
  if (files.empty()) say("there is no shared memory of Ferry's ranks or of domains\n");
  return status;
}

Status memory(const Arguments& arguments) {
  if (arguments.json && arguments.remove) {
    return complain(Status::bad_input, "memory: --json lists; leave --remove out, or --json");
  }
  const Tree tree(arguments.root);
  const auto files = wanted_memory(tree, arguments.names);
  if (!files) return complain(Status::bad_input, files.error().reason);
  if (arguments.remove) return remove(tree, *files, !arguments.names.empty());
  if (arguments.json) {
    say(to_json(*files));
  } else {
    say(files->empty() ? "there is no shared memory of Ferry's ranks or of domains\n"
                       : memory_text(*files));
  }
  return Status::done;
}

using Action = Status (*)(const Arguments&);

void add_set(CLI::App& program, Arguments& arguments, Action& action) {
  CLI::App* const command =
      program.add_subcommand("set", "Give a virtual function its GUIDs, and its link a policy");
  command->add_option("function", arguments.function, "Its PCI address")
      ->type_name("FUNCTION")
      ->required();
  command->add_option("--node-guid", arguments.node_guid, "GUID of its node")->type_name("GUID");
  command->add_option("--port-guid", arguments.port_guid, "GUID of its port")->type_name("GUID");
  command
      ->add_option("--policy", arguments.policy, "up, down, or follow: as the adapter's own link")
      ->type_name("POLICY");
  command->add_option("--port", arguments.port, "Port of a ConnectX-3 (default: 1)")
      ->type_name("NUMBER");
  command->callback([&action] { action = &set; });
}

void add_memory(CLI::App& program, Arguments& arguments, Action& action) {
  CLI::App* const command = program.add_subcommand(
      "memory",
      "List the shared memory of VMs and ranks in /dev/shm, and remove what nobody needs");
  command->add_option("names", arguments.names, "These files alone, whatever they are")
      ->type_name("NAME");
  command->add_flag("--remove", arguments.remove,
                    "Remove those that no process has and no running domain names");
  command->add_flag("--json", arguments.json, "As JSON");
  command->callback([&action] { action = &memory; });
}

int run(int argc, char** argv) {
  CLI::App program(
      "What libvirt cannot tell or do on a host: virtual functions and their GUIDs, IOMMU groups, "
      "shared memory that was left behind. Runs once, where it is needed.");
  program.name("ferry-host");
  program.set_version_flag("--version", std::string("ferry-host ") + FERRY_VERSION);
  program.require_subcommand(1);
  program.fallthrough();
  Arguments arguments;
  Action action = nullptr;
  program
      .add_option("--root", arguments.root,
                  "A folder that stands for /: sysfs and procfs of another system")
      ->type_name("DIR");
  CLI::App* const look = program.add_subcommand(
      "report", "Everything that matters for VMs with virtual functions; nothing is touched");
  look->add_flag("--json", arguments.json, "As JSON: what ferry doctor reads");
  look->callback([&action] { action = &report; });
  add_set(program, arguments, action);
  add_memory(program, arguments, action);
  program.footer(
      "Exit status: 0 done; 1 a check failed, a driver refused or shared memory that was named "
      "stays; 2 bad input; 3 the system refused.\n"
      "Examples:\n"
      "  ferry-host report\n"
      "  ferry-host set 0000:03:00.1 --node-guid 00:11:22:33:44:55:66:01 "
      "--port-guid 00:11:22:33:44:55:66:81 --policy follow\n"
      "  ferry-host memory --remove");
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return program.exit(error);  // --help, --version
    return static_cast<int>(
        complain(Status::bad_input, fmt::format("{}; --help shows what is right", error.what())));
  }
  std::error_code error;
  if (!std::filesystem::is_directory(arguments.root, error)) {
    return static_cast<int>(
        complain(Status::bad_input, fmt::format("--root {}: is no folder", arguments.root)));
  }
  return static_cast<int>(action(arguments));
}

}  // namespace
}  // namespace ferry::host

int main(int argc, char** argv) {
  try {
    return ferry::host::run(argc, argv);
  } catch (const std::exception& error) {
    std::fputs((std::string("ferry-host: ") + error.what() + "\n").c_str(), stderr);
    return 3;
  }
}
