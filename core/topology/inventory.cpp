#include "core/topology/inventory.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/units/check.hpp"

namespace ferry {

Demand Demand::of(const VmSpec& vm) {
  return {.memory = vm.memory,
          .cores = vm.vcpus,
          .virtual_function = vm.virtual_function,
          .ivshmem = vm.ivshmem};
}

Inventory::Inventory(const Instance& instance)
    : instance_(instance), closed_(instance.hosts.size(), false) {
  free_.reserve(instance.hosts.size());
  for (const HostSpec& host : instance.hosts) {
    free_.push_back({host.memory, host.cores, host.virtual_functions, host.ivshmem});
    std::vector<std::uint32_t> functions(host.virtual_functions);
    for (std::uint32_t i = 0; i < functions.size(); ++i) {
      functions[i] = host.virtual_functions - 1 - i;
    }
    free_functions_.push_back(std::move(functions));
  }
  holdings_.resize(instance.vms.size());
  for (std::uint32_t i = 0; i < instance.vms.size(); ++i) {
    reserve(VmId{i}, instance.vms[i].host);
  }
  for (std::size_t i = 0; i < instance.constraints.size(); ++i) {
    if (instance.constraints[i].kind != ConstraintSpec::Kind::apart) continue;
    for (const VmId vm : instance.constraints[i].vms) {
      apart_[vm].push_back(i);
      kept_apart_[{i, instance.vms[vm.index].host}].push_back(vm);
    }
  }
}

std::optional<VmId> Inventory::kept_away_by(VmId vm, HostId host) const {
  const auto groups = apart_.find(vm);
  if (groups == apart_.end()) return std::nullopt;
  for (const std::size_t group : groups->second) {
    const auto there = kept_apart_.find({group, host});
    if (there == kept_apart_.end()) continue;
    for (const VmId other : there->second) {
      if (other != vm) return other;
    }
  }
  return std::nullopt;
}

bool Inventory::fits(VmId vm, HostId host) const {
  const Demand demand = Demand::of(instance_.vms[vm.index]);
  const Free& left = free_[host.index];
  return !closed_[host.index] && find(vm, host) == nullptr && demand.memory <= left.memory &&
         demand.cores <= left.cores && (!demand.virtual_function || left.virtual_functions > 0) &&
         demand.ivshmem <= left.ivshmem && !kept_away_by(vm, host);
}

std::optional<std::string> Inventory::refusal(VmId vm, HostId host) const {
  if (fits(vm, host)) return std::nullopt;
  const HostSpec& spec = instance_.hosts[host.index];
  const Demand demand = Demand::of(instance_.vms[vm.index]);
  const Free& left = free_[host.index];
  if (find(vm, host) != nullptr) return fmt::format("{} is where it runs", spec.name);
  if (closed_[host.index]) return fmt::format("{} does not answer", spec.name);
  if (const std::optional<VmId> other = kept_away_by(vm, host)) {
    return fmt::format("{} has {}, which must stay apart", spec.name,
                       instance_.vms[other->index].name);
  }
  if (demand.memory > left.memory) {
    return fmt::format("{} has {} of memory free, not {}", spec.name, to_text(left.memory),
                       to_text(demand.memory));
  }
  if (demand.cores > left.cores) {
    return fmt::format("{} has {} cores free, not {}", spec.name, left.cores, demand.cores);
  }
  if (demand.virtual_function && left.virtual_functions == 0) {
    return fmt::format("{} has no free virtual function (it has {})", spec.name,
                       spec.virtual_functions);
  }
  return fmt::format("{} has {} of IVShmem free, not {}", spec.name, to_text(left.ivshmem),
                     to_text(demand.ivshmem));
}

void Inventory::reserve(VmId vm, HostId host) {
  check(fits(vm, host), "a VM is reserved only where it fits");
  const Demand demand = Demand::of(instance_.vms[vm.index]);
  Free& left = free_[host.index];
  left.memory = left.memory - demand.memory;
  left.cores -= demand.cores;
  left.ivshmem = left.ivshmem - demand.ivshmem;
  Holding holding{host, std::nullopt};
  if (demand.virtual_function) holding.virtual_function = take_virtual_function(host);
  holdings_[vm.index].push_back(holding);
  if (const auto groups = apart_.find(vm); groups != apart_.end()) {
    for (const std::size_t group : groups->second) kept_apart_[{group, host}].push_back(vm);
  }
}

void Inventory::release(VmId vm, HostId host) {
  const Holding* holding = find(vm, host);
  check(holding != nullptr, "a VM releases only what it holds");
  const Demand demand = Demand::of(instance_.vms[vm.index]);
  Free& left = free_[host.index];
  left.memory += demand.memory;
  left.cores += demand.cores;
  left.ivshmem += demand.ivshmem;
  if (holding->virtual_function) {
    std::vector<std::uint32_t>& functions = free_functions_[host.index];
    const auto place = std::lower_bound(functions.begin(), functions.end(),
                                        *holding->virtual_function, std::greater<>());
    functions.insert(place, *holding->virtual_function);
    left.virtual_functions += 1;
  }
  std::erase_if(holdings_[vm.index], [&](const Holding& h) { return h.host == host; });
  if (const auto groups = apart_.find(vm); groups != apart_.end()) {
    for (const std::size_t group : groups->second) {
      std::erase(kept_apart_[{group, host}], vm);
    }
  }
}

bool Inventory::replace_virtual_function(VmId vm, HostId host) {
  Holding* holding = const_cast<Holding*>(find(vm, host));
  check(holding != nullptr && holding->virtual_function.has_value(),
        "only a held virtual function can be replaced");
  if (free_[host.index].virtual_functions == 0) return false;
  holding->virtual_function = take_virtual_function(host);
  return true;
}

bool Inventory::holds(VmId vm, HostId host) const { return find(vm, host) != nullptr; }

std::optional<std::uint32_t> Inventory::virtual_function(VmId vm, HostId host) const {
  const Holding* holding = find(vm, host);
  return holding == nullptr ? std::nullopt : holding->virtual_function;
}

std::vector<HostId> Inventory::hosts_of(VmId vm) const {
  std::vector<HostId> hosts;
  for (const Holding& holding : holdings_[vm.index]) hosts.push_back(holding.host);
  return hosts;
}

const Inventory::Holding* Inventory::find(VmId vm, HostId host) const {
  const std::vector<Holding>& held = holdings_[vm.index];
  const auto found =
      std::find_if(held.begin(), held.end(), [&](const Holding& h) { return h.host == host; });
  return found == held.end() ? nullptr : &*found;
}

std::uint32_t Inventory::take_virtual_function(HostId host) {
  std::vector<std::uint32_t>& functions = free_functions_[host.index];
  const std::uint32_t taken = functions.back();
  functions.pop_back();
  free_[host.index].virtual_functions -= 1;
  return taken;
}

}  // namespace ferry
