// What one message takes, in closed form: what decides between channels and protocols, and what
// `ferry explain` predicts. The simulated world charges the same constants packet by packet.
#pragma once

#include "core/channel/choice.hpp"
#include "core/ports/transport_profile.hpp"
#include "core/units/units.hpp"

namespace ferry {

// All of these are for open, idle channels and a receiver that waits; L, o, g and bandwidth are
// those of the packet's segment.

/// One packet from the sender's buffer into the receiver's:
/// o + size/copy + L + size/bandwidth + o + size/copy.
[[nodiscard]] Duration packet_time(const TransportProfile& profile, Bytes size);

/// Memory that the other side may read from now on: registration + size/registration_bandwidth.
[[nodiscard]] Duration registration_time(const TransportProfile& profile, Bytes size);

/// A read of the sender's memory, as its reader sees it: o + L of a packet of nothing, which asks,
/// + L + size/bandwidth.
[[nodiscard]] Duration read_time(const TransportProfile& profile, Bytes size);

/// Packets of `fragment` bytes, and the rest in a last one, through three stages that each does one
/// packet at a time: the sender (o + size/copy), the wire (max(g, size/bandwidth), which ends L +
/// size/bandwidth after its beginning), the receiver (o + size/copy).
[[nodiscard]] Duration fragments_time(const TransportProfile& profile, Bytes size, Bytes fragment);

/// How long the message keeps the sender's wire from others: max(g, size/bandwidth) of each packet,
/// or of the read.
[[nodiscard]] Duration wire_time(const Choice& choice, const TransportProfile& data, Bytes size);

/// From the call of the sender to the end of the receiver's, without what the calls
/// themselves cost (`RuntimeCosts`).
///   eager: packet_time(size)
///   rendezvous_read: registration_time(size) + packet_time(0) of the control channel +
///                    read_time(size) + o of the control channel, to say that it is done
///   rendezvous_fragments: 2 packet_time(0) of the control channel + fragments_time(size), and
///                         that o where the channel of the data can lose packets
[[nodiscard]] Duration message_time(const Choice& choice, const TransportProfile& control,
                                    const TransportProfile& data, Bytes size);

}  // namespace ferry
