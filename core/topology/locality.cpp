#include "core/topology/locality.hpp"

#include <algorithm>

#include "core/units/check.hpp"

namespace ferry {

std::string_view to_name(Nearness nearness) {
  switch (nearness) {
    case Nearness::same_container: return "same_container";
    case Nearness::same_vm: return "same_vm";
    case Nearness::same_host: return "same_host";
    case Nearness::other_host: return "other_host";
  }
  return "?";
}

RankSite site_of(const JobSpec& job, const VmSpec& vm, RankId rank) {
  const std::uint32_t place = rank.index / job.ranks_per_vm;
  const std::uint64_t within = rank.index % job.ranks_per_vm;
  check(place < job.vms.size(), "a job has this rank");
  RankSite site;
  site.vm = job.vms[place];
  if (job.containers > 0) {
    site.container = 1 + static_cast<std::uint32_t>(within * job.containers / job.ranks_per_vm);
  }
  site.vcpu = static_cast<std::uint32_t>(within * vm.vcpus / job.ranks_per_vm);
  return site;
}

Locality::Locality(const Instance& instance) : places_(instance.vms.size()) {
  for (const HostSpec& host : instance.hosts) {
    hosts_.push_back({std::max(host.sockets, 1U), host.cores / std::max(host.sockets, 1U)});
    free_.emplace_back(hosts_.back().sockets, hosts_.back().cores_per_socket);
  }
  for (const VmSpec& vm : instance.vms) vms_.push_back({vm.vcpus, vm.socket});
  const auto place = [&](std::uint32_t i) {
    const VmSpec& vm = instance.vms[i];
    store(VmId{i},
          {vm.host.index, settle(VmId{i}, vm.host), vm.virtual_function, vm.ivshmem > Bytes()});
  };
  // Those that are kept somewhere take their cores before the others look for some.
  for (std::uint32_t i = 0; i < instance.vms.size(); ++i) {
    if (instance.vms[i].socket) place(i);
  }
  for (std::uint32_t i = 0; i < instance.vms.size(); ++i) {
    if (!instance.vms[i].socket) place(i);
  }
}

std::uint32_t Locality::socket(VmId vm, std::uint32_t vcpu) const {
  const Place place = unpack(vm);
  if (place.socket != spread) return place.socket;
  const std::uint64_t sockets = hosts_[place.host].sockets;
  return static_cast<std::uint32_t>(vcpu * sockets / vms_[vm.index].vcpus);
}

bool Locality::has(VmId vm, DeviceKind device) const {
  const Place place = unpack(vm);
  return device == DeviceKind::virtual_function ? place.virtual_function : place.ivshmem;
}

Locality::Relation Locality::between(const RankSite& a, const RankSite& b) const {
  if (a.vm == b.vm) {
    return {a.container == b.container ? Nearness::same_container : Nearness::same_vm,
            socket(a.vm, a.vcpu) == socket(b.vm, b.vcpu)};
  }
  if (host(a.vm) != host(b.vm)) return {Nearness::other_host, true};
  return {Nearness::same_host, socket(a.vm, a.vcpu) == socket(b.vm, b.vcpu)};
}

void Locality::moved(VmId vm, HostId host) {
  Place place = unpack(vm);
  add_cores(vm, place, 1);
  place.host = host.index;
  place.socket = settle(vm, host);
  store(vm, place);
  generation_.fetch_add(1, std::memory_order_release);
}

void Locality::set_device(VmId vm, DeviceKind device, bool there) {
  Place place = unpack(vm);
  (device == DeviceKind::virtual_function ? place.virtual_function : place.ivshmem) = there;
  store(vm, place);
  generation_.fetch_add(1, std::memory_order_release);
}

std::uint16_t Locality::settle(VmId vm, HostId host) {
  const Vm& spec = vms_[vm.index];
  const std::vector<std::int64_t>& free = free_[host.index];
  std::uint16_t socket = spread;
  if (spec.kept_on && *spec.kept_on < free.size()) {
    socket = static_cast<std::uint16_t>(*spec.kept_on);
  } else {
    const auto most = std::max_element(free.begin(), free.end());
    if (*most >= spec.vcpus || free.size() == 1) {
      socket = static_cast<std::uint16_t>(most - free.begin());
    }
  }
  add_cores(vm, {host.index, socket}, -1);
  return socket;
}

void Locality::add_cores(VmId vm, Place place, std::int64_t factor) {
  std::vector<std::int64_t>& free = free_[place.host];
  const std::uint32_t vcpus = vms_[vm.index].vcpus;
  if (place.socket != spread) {
    free[place.socket] += factor * vcpus;
    return;
  }
  for (std::uint64_t vcpu = 0; vcpu < vcpus; ++vcpu) {
    free[vcpu * free.size() / vcpus] += factor;
  }
}

Locality::Place Locality::unpack(VmId vm) const {
  const std::uint64_t word = places_[vm.index].load(std::memory_order_acquire);
  return {static_cast<std::uint32_t>(word >> 32U), static_cast<std::uint16_t>(word >> 16U),
          (word & 1U) != 0, (word & 2U) != 0};
}

void Locality::store(VmId vm, Place place) {
  places_[vm.index].store(std::uint64_t{place.host} << 32U | std::uint64_t{place.socket} << 16U |
                              (place.virtual_function ? 1U : 0U) | (place.ivshmem ? 2U : 0U),
                          std::memory_order_release);
}

}  // namespace ferry
