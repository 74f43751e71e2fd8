#include "controller/cli/way_back.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/scenario/writer.hpp"
#include "core/units/check.hpp"

namespace ferry {
namespace {

Reference names_of(const std::vector<VmId>& vms, const Instance& instance) {
  std::string text;
  for (const VmId vm : vms) {
    text += fmt::format("{}{}", text.empty() ? "" : ",", instance.vms[vm.index].name);
  }
  return Reference{text};
}

/// The entry of `migrations` that moved the VM last; nothing if none does.
const Migration* last_migration_of(const Scenario& scenario, const Instance& instance, VmId vm) {
  const auto last = std::find_if(instance.moves.rbegin(), instance.moves.rend(),
                                 [&](const MoveSpec& move) { return move.vm == vm; });
  if (last == instance.moves.rend()) return nullptr;
  const auto entry =
      std::find_if(scenario.migrations.begin(), scenario.migrations.end(),
                   [&](const Migration& migration) { return migration.name == last->migration; });
  check(entry != scenario.migrations.end(), "a move belongs to an entry of the scenario");
  return &*entry;
}

}  // namespace

std::vector<HostId> places_after(const Instance& instance, const RunRecords& records) {
  std::vector<HostId> places;
  for (const VmSpec& vm : instance.vms) places.push_back(vm.host);
  for (const MoveRecord& move : records.moves()) places[move.vm.index] = move.to;
  return places;
}

std::optional<LoadedScenario> way_back(const LoadedScenario& loaded, const Instance& instance,
                                       const std::vector<HostId>& places) {
  check(places.size() == instance.vms.size(), "every VM is somewhere");
  LoadedScenario back;
  back.constants = loaded.constants;
  Scenario& scenario = back.scenario;
  scenario = loaded.scenario;
  scenario.name = fmt::format("{}.back", loaded.scenario.name).substr(0, 64);
  scenario.description = "the VMs go back to where the scenario starts";
  scenario.vms.clear();
  scenario.jobs.clear();
  scenario.migrations.clear();
  scenario.faults.clear();
  scenario.constraints.clear();
  for (std::uint32_t i = 0; i < instance.vms.size(); ++i) {
    const VmSpec& spec = instance.vms[i];
    VmGroup vm;
    vm.name = spec.name;
    vm.on = Reference{instance.hosts[places[i].index].name};
    vm.vcpus = spec.vcpus;
    vm.memory = {spec.memory};
    vm.virtual_functions = spec.virtual_function ? 1 : 0;
    vm.ivshmem = spec.ivshmem;
    vm.numa.number = spec.socket;
    vm.containers = spec.containers;
    vm.pages.zero = spec.zero;
    vm.pages.working_set = {spec.working_set};
    vm.pages.dirty_rate = {spec.dirty_rate};
    vm.pages.idle_dirty_rate = {spec.idle_dirty_rate};
    scenario.vms.push_back(std::move(vm));
    if (places[i] == spec.host) continue;
    Migration migration;
    if (const Migration* entry = last_migration_of(loaded.scenario, instance, VmId{i})) {
      migration = *entry;
    }
    migration.name = fmt::format("back_{}", i);
    migration.vms = Reference{spec.name};
    migration.evacuate.reset();
    migration.swap_with.reset();
    migration.to = Reference{instance.hosts[spec.host.index].name};
    migration.at = StartTime{};
    scenario.migrations.push_back(std::move(migration));
  }
  if (scenario.migrations.empty()) return std::nullopt;
  for (const JobSpec& spec : instance.jobs) {
    Job job;
    job.name = spec.name;
    job.vms = names_of(spec.vms, instance);
    job.ranks = spec.ranks_per_vm / std::max(spec.containers, 1U);
    job.channels = spec.channels;
    job.strategy = spec.strategy;
    job.suspend = spec.suspend;
    job.reconnect = spec.reconnect;
    scenario.jobs.push_back(std::move(job));
  }
  back.resolved = write_resolved(scenario, back.constants);
  return back;
}

}  // namespace ferry
