#include "controller/cli/commands.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <string_view>

#include "controller/cli/cluster_use.hpp"
#include "controller/cli/worlds.hpp"

namespace ferry {

namespace {

/// Of a number that may not fit: what is wrong with it; nothing if it is a seed.
std::string refuse_seed(const std::string& text) {
  const auto is_number = [](std::string_view digits) {
    return !digits.empty() && digits.find_first_not_of("0123456789") == std::string_view::npos;
  };
  std::uint64_t seed = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (is_number(text) && read.ec == std::errc()) return "";
  const bool negative = text.starts_with('-') && is_number(std::string_view(text).substr(1));
  return fmt::format("'{}' is {}; write a whole number from 0 to {}", text,
                     negative          ? "negative"
                     : is_number(text) ? "too large"
                                       : "not a whole number",
                     ~std::uint64_t{0});
}

}  // namespace

void SettingOptions::add_to(CLI::App& command) {
  command
      .add_option("--set", texts,
                  "Change a value of the file: vms.vm.count=8, migrations.leave.transport=rdma; "
                  "* stands for every item. May be given several times.")
      ->type_name("PATH=VALUE")
      ->allow_extra_args(false);
  command.add_option("--seed", seed, "Seed of everything random, instead of the file's")
      ->type_name("N")
      ->check(CLI::Validator(refuse_seed, ""));
}

tl::expected<std::vector<Setting>, std::string> SettingOptions::settings() const {
  std::vector<Setting> settings;
  for (const std::string& text : texts) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return tl::unexpected(
          fmt::format("--set {}: is not PATH=VALUE; vms.vm.count=8 would be right", text));
    }
    settings.push_back({text.substr(0, equals), text.substr(equals + 1)});
  }
  if (seed) settings.push_back({"seed", fmt::to_string(*seed)});
  return settings;
}

void WorldOption::add_to(CLI::App& command) {
  command
      .add_option(
          "--on", name,
          "The world: sim (simulated; the default), threads (a rehearsal on this machine in real "
          "time, with a hypervisor that only takes the time it would need), hw (libvirt hosts, "
          "which --cluster names)")
      ->type_name("WORLD")
      ->check(CLI::IsMember({"sim", "threads", "hw"}));
  command
      .add_option("--speed", speed_option,
                  "With --on threads: how much faster than real time (default 1)")
      ->type_name("X")
      ->check(CLI::Range(1e-3, 1e6));
}

tl::expected<void, ExitStatus> WorldOption::check_speed() const {
  if (!speed_option || name == "threads") return {};
  return tl::unexpected(
      report_error(ExitStatus::bad_input,
                   "--speed: only a rehearsal has a speed; leave it out, or write --on threads"));
}

tl::expected<WorldKind, ExitStatus> WorldOption::world() const {
  if (name == "hw") {
    if (const auto there = libvirt_is_there(); !there) {
      return tl::unexpected(report_error(ExitStatus::no_world, there.error()));
    }
    return WorldKind::hw;
  }
  if (name == "sim" && !simulation_is_built_in) {
    return tl::unexpected(report_error(ExitStatus::no_world,
                                       "--on sim: this build has no simulated world (SimGrid was "
                                       "not there when it was configured); "
                                       "--on threads would be right"));
  }
  return name == "sim" ? WorldKind::sim : WorldKind::threads;
}

}  // namespace ferry
