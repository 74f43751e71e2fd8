#include "hw_backend/libvirt/domain_xml.hpp"

#include <array>
#include <charconv>
#include <cstdio>
#include <map>

#include "hw_backend/libvirt/xml_tree.hpp"

namespace ferry {
namespace {

std::optional<std::uint64_t> number(std::string_view text, int base = 10) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> hexadecimal_or_decimal(std::string_view text) {
  if (text.starts_with("0x")) return number(text.substr(2), 16);
  return number(text);
}

/// libvirt's units of memory; its default is KiB.
std::optional<Bytes> memory(const XmlElement& element) {
  if (!element) return std::nullopt;
  static const std::map<std::string, std::uint64_t> units = {{"", 1ULL << 10U},
                                                             {"b", 1},
                                                             {"bytes", 1},
                                                             {"KB", 1'000},
                                                             {"k", 1ULL << 10U},
                                                             {"KiB", 1ULL << 10U},
                                                             {"MB", 1'000'000},
                                                             {"M", 1ULL << 20U},
                                                             {"MiB", 1ULL << 20U},
                                                             {"GB", 1'000'000'000},
                                                             {"G", 1ULL << 30U},
                                                             {"GiB", 1ULL << 30U},
                                                             {"TB", 1'000'000'000'000},
                                                             {"T", 1ULL << 40U},
                                                             {"TiB", 1ULL << 40U}};
  const auto unit = units.find(element.attribute("unit"));
  const auto count = number(element.content());
  if (unit == units.end() || !count) return std::nullopt;
  return Bytes(*count * unit->second);
}

std::string pci_of(const XmlElement& address) {
  return pci_text(address.attribute("domain"), address.attribute("bus"), address.attribute("slot"),
                  address.attribute("function"))
      .value_or(std::string());
}

std::string alias_of(const XmlElement& device) { return device.child("alias").attribute("name"); }

DiskFacts disk_facts(const XmlElement& disk) {
  const XmlElement source = disk.child("source");
  std::string where;
  for (const char* name : {"file", "dev", "name", "volume", "dir"}) {
    if (where.empty()) where = source.attribute(name);
  }
  return {disk.child("target").attribute("dev"), where, disk.child("driver").attribute("cache"),
          static_cast<bool>(disk.child("readonly"))};
}

void read_device(const XmlElement& device, DomainFacts& facts) {
  const std::string name = device.name();
  const XmlElement source = device.child("source");
  if (name == "hostdev") {
    facts.host_devices.push_back({alias_of(device), device.attribute("type") == "pci"
                                                        ? pci_of(source.child("address"))
                                                        : std::string()});
  } else if (name == "interface" && device.attribute("type") == "hostdev") {
    facts.host_devices.push_back({alias_of(device), pci_of(source.child("address"))});
  } else if (name == "interface") {
    facts.interfaces.push_back(
        {alias_of(device), source.attribute("bridge"), device.child("mac").attribute("address")});
  } else if (name == "shmem") {
    facts.shared_memories.push_back(
        {alias_of(device), device.child("model").attribute("type"), device.attribute("role")});
  } else if (name == "disk") {
    facts.disks.push_back(disk_facts(device));
  } else if (name == "emulator") {
    facts.emulator = device.content();
  } else if (name == "channel") {
    const XmlElement target = device.child("target");
    if (target.attribute("name") == "org.qemu.guest_agent.0" &&
        target.attribute("state") == "connected") {
      facts.agent_answers = true;
    }
  }
}

/// A copy without what libvirt adds to a device while it is plugged in.
void forget_what_is_of_the_host(const XmlElement& device) {
  const XmlElement target = device.child("target");
  if (target && device.name() == "interface") target.remove();  // the tap device's name
  if (device.name() == "interface") device.remove_children("backend");
}

void set_source_address(const XmlElement& device, const std::string& pci) {
  device.remove_children("source");
  const XmlElement address = device.add("source").add("address");
  // DDDD:BB:SS.F, as the cluster file's reader has checked
  address.set_attribute("type", "pci");
  address.set_attribute("domain", "0x" + pci.substr(0, 4));
  address.set_attribute("bus", "0x" + pci.substr(5, 2));
  address.set_attribute("slot", "0x" + pci.substr(8, 2));
  address.set_attribute("function", "0x" + pci.substr(11));
}

void set_alias(const XmlElement& device, const std::string& alias) {
  device.remove_children("alias");
  device.add("alias").set_attribute("name", alias);
}

XmlElement guest_address(const XmlElement& device) { return device.child("address"); }

}  // namespace

std::optional<std::string> pci_text(const std::string& domain, const std::string& bus,
                                    const std::string& slot, const std::string& function) {
  const auto d = hexadecimal_or_decimal(domain.empty() ? "0" : domain);
  const auto b = hexadecimal_or_decimal(bus);
  const auto s = hexadecimal_or_decimal(slot);
  const auto f = hexadecimal_or_decimal(function);
  if (!d || !b || !s || !f || *d > 0xffff || *b > 0xff || *s > 0x1f || *f > 7) return std::nullopt;
  std::array<char, 16> text{};
  std::snprintf(text.data(), text.size(), "%04x:%02x:%02x.%x", static_cast<unsigned>(*d),
                static_cast<unsigned>(*b), static_cast<unsigned>(*s), static_cast<unsigned>(*f));
  return text.data();
}

Result<DomainFacts> read_domain(std::string_view domain_xml) {
  const auto document = XmlDocument::parse(domain_xml);
  if (!document || document->root().name() != "domain") {
    return failure(FailureKind::failed, "libvirt's description of a domain is no domain XML");
  }
  const XmlElement domain = document->root();
  DomainFacts facts;
  facts.name = domain.child("name").content();
  facts.type = domain.attribute("type");
  facts.memory = memory(domain.child("memory")).value_or(Bytes());
  facts.vcpus = static_cast<std::uint32_t>(number(domain.child("vcpu").content()).value_or(1));
  facts.hard_limit = memory(domain.child("memtune").child("hard_limit"));
  facts.cpu = domain.child("cpu").text();
  facts.cpu_mode = domain.child("cpu").attribute("mode");
  facts.machine = domain.child("os").child("type").attribute("machine");
  facts.architecture = domain.child("os").child("type").attribute("arch");
  for (const XmlElement& device : domain.child("devices").children()) read_device(device, facts);
  return facts;
}

std::optional<std::string> find_device(std::string_view domain_xml, const std::string& alias) {
  const auto document = XmlDocument::parse(domain_xml);
  if (!document || alias.empty()) return std::nullopt;
  for (const XmlElement& device : document->root().child("devices").children()) {
    if (alias_of(device) == alias) return device.text();
  }
  return std::nullopt;
}

Result<std::string> virtual_function_xml(const ChosenFunction& chosen, const std::string& alias,
                                         std::string_view unplugged) {
  const auto before = XmlDocument::parse(unplugged);
  const XmlElement old = before ? before->root() : XmlElement();
  const bool was_interface = old.name() == "interface";
  if (chosen.pool->stands_in()) {
    if (!was_interface || mac_of(unplugged).empty()) {
      return failure(
          FailureKind::refused,
          "the device " + alias +
              " is no <interface> with a MAC address, so no NIC can stand in for it; use "
              "pools of PCI functions, or plug in an <interface> before the move");
    }
    forget_what_is_of_the_host(old);
    old.set_attribute("type", "bridge");
    old.remove_attribute("managed");
    old.remove_children("source");
    old.add("source").set_attribute("bridge", chosen.pool->bridge);
    old.remove_children("model");
    old.add("model").set_attribute("type",
                                   chosen.pool->nic == StandInNic::e1000e ? "e1000e" : "virtio");
    set_alias(old, alias);
    return old.text();
  }
  if (was_interface && old.attribute("type") == "hostdev") {  // an Ethernet function: the MAC stays
    old.set_attribute("managed", "yes");
    set_source_address(old, chosen.pci);
    set_alias(old, alias);
    return old.text();
  }
  const XmlDocument made = XmlDocument::with_root("hostdev");
  const XmlElement device = made.root();
  device.set_attribute("mode", "subsystem");
  device.set_attribute("type", "pci");
  device.set_attribute("managed", "yes");
  set_source_address(device, chosen.pci);
  set_alias(device, alias);
  if (old.child("rom")) device.add_copy(old.child("rom"));
  if (guest_address(old)) device.add_copy(guest_address(old));
  return device.text();
}

Result<std::string> plugged_again_xml(std::string_view unplugged) {
  const auto document = XmlDocument::parse(unplugged);
  if (!document) return failure(FailureKind::failed, "the XML of the unplugged device is broken");
  forget_what_is_of_the_host(document->root());
  return document->root().text();
}

std::string mac_of(std::string_view device_xml) {
  const auto document = XmlDocument::parse(device_xml);
  if (!document) return {};
  return document->root().child("mac").attribute("address");
}

}  // namespace ferry
