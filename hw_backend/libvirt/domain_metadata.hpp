// What Ferry leaves in a domain's metadata while it moves it, so that another controller knows what
// was going on: pure conversion between a struct and the element. libvirt carries it with the
// domain to the destination.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/ports/types.hpp"

namespace ferry {

/// Namespace and prefix of the element under `<metadata>`.
inline constexpr const char* metadata_namespace = "urn:ferry:migration:1";
inline constexpr const char* metadata_prefix = "ferry";

/// A device that was taken away, or is about to be.
struct TakenDevice {
  DeviceKind kind = DeviceKind::virtual_function;
  std::string xml;    ///< as it was plugged in before
  std::string host;   ///< where: its name in the scenario; empty: on the mark's source
  bool gone = false;  ///< it has gone, and is about to be plugged in again
};

struct DomainMark {
  std::string run;  ///< of the controller that moves the VM
  Phase phase = Phase::set_pre_migration;
  std::string source;       ///< host's name in the scenario
  std::string destination;  ///< empty: not known yet
  std::vector<TakenDevice> taken;

  /// Nothing if that device was not taken.
  [[nodiscard]] const TakenDevice* find(DeviceKind kind) const;
  /// Replaces what was known of it.
  void take(DeviceKind kind, std::string xml, std::string host);
  void give_back(DeviceKind kind);
  /// Was it taken away on that host?
  [[nodiscard]] bool taken_on(DeviceKind kind, std::string_view host) const;
  /// For a domain that runs on `host` and has the device although it was taken: may the guest still
  /// be about to let it go? Not on another host than the one where it was asked to, not if it was
  /// seen to be gone, and not once a migration was asked for, which devices must be gone for: then
  /// it was plugged in again, and the controller ended before it could note that.
  [[nodiscard]] bool may_still_unplug(DeviceKind kind, std::string_view host) const;
};

/// The element, without namespace: libvirt adds it.
std::string to_xml(const DomainMark& mark);
/// Nothing if it is not such an element.
std::optional<DomainMark> read_mark(std::string_view xml);

}  // namespace ferry
