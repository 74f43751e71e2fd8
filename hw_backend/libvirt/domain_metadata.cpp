#include "hw_backend/libvirt/domain_metadata.hpp"

#include <algorithm>
#include <array>

#include "hw_backend/libvirt/xml_tree.hpp"

namespace ferry {
namespace {}  // namespace

const TakenDevice* DomainMark::find(DeviceKind kind) const {
  const auto found = std::ranges::find(taken, kind, &TakenDevice::kind);
  return found == taken.end() ? nullptr : &*found;
}

void DomainMark::take(DeviceKind kind, std::string xml, std::string host) {
  give_back(kind);
  taken.push_back({kind, std::move(xml), std::move(host)});
}

void DomainMark::give_back(DeviceKind kind) {
  std::erase_if(taken, [kind](const TakenDevice& device) { return device.kind == kind; });
}

bool DomainMark::taken_on(DeviceKind kind, std::string_view host) const {
  const TakenDevice* device = find(kind);
  return device != nullptr && (device->host.empty() ? source : device->host) == host;
}

bool DomainMark::may_still_unplug(DeviceKind kind, std::string_view host) const {
  return taken_on(kind, host) && !find(kind)->gone &&
         (phase == Phase::detach_vf || phase == Phase::remove_ivshmem);
}

std::string to_xml(const DomainMark& mark) {
  const XmlDocument document = XmlDocument::with_root("move");
  const XmlElement move = document.root();
  move.set_attribute("run", mark.run);
  move.set_attribute("phase", std::string(to_name(mark.phase)));
  move.set_attribute("source", mark.source);
  if (!mark.destination.empty()) move.set_attribute("destination", mark.destination);
  for (const TakenDevice& device : mark.taken) {
    const XmlElement taken = move.add("taken");
    taken.set_attribute("device", std::string(to_name(device.kind)));
    if (!device.host.empty()) taken.set_attribute("host", device.host);
    if (device.gone) taken.set_attribute("gone", "yes");
    // As text: as elements the device would be read in Ferry's namespace.
    taken.set_content(device.xml);
  }
  return move.text();
}

std::optional<DomainMark> read_mark(std::string_view xml) {
  const auto document = XmlDocument::parse(xml);
  if (!document || document->root().name() != "move") return std::nullopt;
  const XmlElement move = document->root();
  DomainMark mark;
  mark.run = move.attribute("run");
  mark.source = move.attribute("source");
  mark.destination = move.attribute("destination");
  const auto phase = std::ranges::find_if(
      all_phases, [&](Phase each) { return to_name(each) == move.attribute("phase"); });
  if (phase == all_phases.end()) return std::nullopt;
  mark.phase = *phase;
  for (const XmlElement& taken : move.children("taken")) {
    for (const DeviceKind kind : all_device_kinds) {
      if (taken.attribute("device") == to_name(kind)) {
        mark.take(kind, taken.content(), taken.attribute("host"));
        mark.taken.back().gone = taken.attribute("gone") == "yes";
      }
    }
  }
  return mark;
}

}  // namespace ferry
