#include "core/scenario/channel_costs.hpp"

namespace ferry {

ChannelCosts costs_of(const ChannelProfiles& profiles, Channel channel) {
  ChannelCosts costs;
  costs.other.packets = channel != Channel::cma;
  costs.sockets = channel != Channel::sriov;
  const TransportProfile* one = profiles.find(channel, true);
  const TransportProfile* two = profiles.find(channel, false);
  if (one == nullptr) return costs;
  costs.profile = *one;
  if (two == nullptr) return costs;
  if (two->segments != one->segments) costs.other.segments = two->segments;
  if (two->copy != one->copy) costs.other.copy = two->copy;
  return costs;
}

void set_costs(ChannelProfiles& profiles, Channel channel, const ChannelCosts& costs) {
  TransportProfile two = costs.profile;
  if (!costs.other.segments.empty()) two.segments = costs.other.segments;
  if (costs.other.copy > Bandwidth()) two.copy = costs.other.copy;
  profiles.set(channel, true, costs.profile);
  profiles.set(channel, false, std::move(two));
}

}  // namespace ferry
