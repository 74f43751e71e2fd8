#include "hw_backend/libvirt/host_facts.hpp"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <algorithm>

#include "hw_backend/libvirt/connection.hpp"
#include "hw_backend/libvirt/xml_tree.hpp"

namespace ferry {
namespace {

/// libvirt's name of a PCI device: pci_0000_03_00_1.
std::string node_device_name(std::string address) {
  std::ranges::replace(address, ':', '_');
  std::ranges::replace(address, '.', '_');
  return "pci_" + address;
}

void look_at_functions(virConnectPtr connection, const ClusterHost& description, HostFacts& facts) {
  for (const FunctionPool& pool : description.virtual_functions) {
    for (const std::string& address : pool.pci.addresses) {
      virNodeDevicePtr device =
          virNodeDeviceLookupByName(connection, node_device_name(address).c_str());
      facts.functions[address] = device != nullptr;
      if (device != nullptr) virNodeDeviceFree(device);
    }
  }
}

}  // namespace

std::string version_text(unsigned long version) {
  return std::to_string(version / 1'000'000) + "." + std::to_string(version / 1'000 % 1'000) + "." +
         std::to_string(version % 1'000);
}

std::string libvirt_library_version() {
  unsigned long version = 0;
  return virGetVersion(&version, nullptr, nullptr) < 0 ? std::string() : version_text(version);
}

void read_capabilities(std::string_view capabilities_xml, HostFacts& facts) {
  const auto document = XmlDocument::parse(capabilities_xml);
  if (!document) return;
  const XmlElement host = document->root().child("host");
  facts.uuid = host.child("uuid").content();
  if (host.child("iommu")) facts.iommu = host.child("iommu").attribute("support") == "yes";
  for (const XmlElement& guest : document->root().children("guest")) {
    for (const XmlElement& domain : guest.child("arch").children("domain")) {
      facts.kvm = facts.kvm || domain.attribute("type") == "kvm";
    }
  }
}

Result<HostFacts> look_at_host(HostConnections& host, const ClusterHost& description,
                               const std::vector<std::string>& domains) {
  const auto opened = host.calling();
  if (!opened) return tl::unexpected(opened.error());
  virConnectPtr connection = (*opened)->get();
  HostFacts facts;
  if (virConnectGetLibVersion(connection, &facts.libvirt) < 0 ||
      virConnectGetVersion(connection, &facts.hypervisor) < 0) {
    return tl::unexpected(last_error("versions"));
  }
  read_capabilities(taken(virConnectGetCapabilities(connection)), facts);
  facts.free_memory = Bytes(virNodeGetFreeMemory(connection));
  facts.lists_devices = virNodeNumOfDevices(connection, nullptr, 0) >= 0;
  if (facts.lists_devices) look_at_functions(connection, description, facts);
  for (const std::string& name : domains) {
    Result<DomainState> state = look_at(host, name);
    if (!state) return tl::unexpected(state.error());
    if (!state->active) continue;
    facts.domains[name] = std::move(*state);
    if (const auto can = can_limit_memory(host, name); !can) {
      facts.unlimited[name] = can.error().reason;
    }
  }
  return facts;
}

Result<> can_run_machine(HostConnections& host, const DomainFacts& domain) {
  const auto opened = host.calling();
  if (!opened) return tl::unexpected(opened.error());
  const std::string capabilities =
      taken(virConnectGetDomainCapabilities((*opened)->get(), nullptr, domain.architecture.c_str(),
                                            domain.machine.c_str(), domain.type.c_str(), 0));
  if (capabilities.empty()) return tl::unexpected(last_error("a guest of type " + domain.type));
  return {};
}

}  // namespace ferry
