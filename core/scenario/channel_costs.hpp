// A channel's profiles in the form that a platform file has: those of one socket, and what differs
// between two.
#pragma once

#include <vector>

#include "core/ports/transport_profile.hpp"
#include "core/units/units.hpp"

namespace ferry {

/// What differs between ranks on two sockets of a host.
struct OtherSocket {
  std::vector<TransportSegment> segments;  ///< empty: as on one
  Bandwidth copy;                          ///< zero: as on one
  bool packets = true;                     ///< `cma` carries none: copies do not matter

  [[nodiscard]] bool differs() const { return !segments.empty() || copy > Bandwidth(); }
};

struct ChannelCosts {
  TransportProfile profile;  ///< on one socket; without segments: there is no such channel
  OtherSocket other;
  bool sockets = true;  ///< `sriov` joins two hosts: sockets do not matter
};

ChannelCosts costs_of(const ChannelProfiles& profiles, Channel channel);
/// `costs` has segments.
void set_costs(ChannelProfiles& profiles, Channel channel, const ChannelCosts& costs);

}  // namespace ferry
