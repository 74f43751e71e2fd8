// What Ferry reads from a domain's XML, and the XML of the devices that it plugs. Pure functions of
// text; the format is https://libvirt.org/formatdomain.html.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ports/result.hpp"
#include "core/scenario/cluster_file.hpp"
#include "core/units/units.hpp"

namespace ferry {

/// A host device that the guest holds: `<hostdev>`, or `<interface type='hostdev'>`.
struct HostDeviceFacts {
  std::string alias;
  std::string pci;  ///< `0000:03:00.1`; empty: no PCI device (a USB one)
};

struct SharedMemoryFacts {
  std::string alias;
  std::string model;  ///< ivshmem-plain, ivshmem-doorbell
  std::string role;   ///< master, peer, or empty: QEMU's default, which is peer
};

struct InterfaceFacts {
  std::string alias;
  std::string bridge;
  std::string mac;
};

struct DiskFacts {
  std::string target;
  std::string source;  ///< file, device or volume; empty: no medium
  std::string cache;
  bool read_only = false;
};

/// Of a domain's XML, as far as Ferry decides by it.
struct DomainFacts {
  std::string name;
  std::string type;  ///< kvm, qemu
  Bytes memory;      ///< the most that it may have
  std::uint32_t vcpus = 1;
  std::optional<Bytes> hard_limit;  ///< of `<memtune>`
  std::string cpu;                  ///< the `<cpu>` element; empty: none
  std::string cpu_mode;             ///< custom, host-model, host-passthrough
  std::string machine;
  std::string architecture;
  std::string emulator;
  std::vector<HostDeviceFacts> host_devices;
  std::vector<SharedMemoryFacts> shared_memories;
  std::vector<InterfaceFacts> interfaces;
  std::vector<DiskFacts> disks;
  bool agent_answers = false;  ///< QEMU's guest agent has opened its channel
};

/// `failed` if it is no domain XML.
Result<DomainFacts> read_domain(std::string_view domain_xml);

/// The device with this alias, as XML; nothing if there is none.
std::optional<std::string> find_device(std::string_view domain_xml, const std::string& alias);

/// A function of a host's pool: a PCI function, or a stand-in NIC.
struct ChosenFunction {
  const FunctionPool* pool = nullptr;
  std::string pci;  ///< empty: a stand-in
};

/// XML to plug the virtual function `chosen` as the VM's device `alias`. `unplugged` is the device
/// that was taken away: its MAC, its model and its place in the guest's PCI topology are kept, so
/// that the guest finds it under the same name. `refused` if `unplugged` does not fit: a stand-in
/// needs an
/// `<interface>` with a MAC.
Result<std::string> virtual_function_xml(const ChosenFunction& chosen, const std::string& alias,
                                         std::string_view unplugged);

/// XML to plug a device again as it was: without what libvirt made up while it was there.
Result<std::string> plugged_again_xml(std::string_view unplugged);

/// MAC of an `<interface>`; empty: the device has none.
std::string mac_of(std::string_view device_xml);

/// `0000:03:00.1` of the attributes of an `<address>`, which may be hexadecimal or decimal.
/// Nothing if they are no PCI address.
std::optional<std::string> pci_text(const std::string& domain, const std::string& bus,
                                    const std::string& slot, const std::string& function);

}  // namespace ferry
