// How a pair of ranks talks: by which channel and protocol, by size of the message. What decides it
// is behind `ChannelChooser`; the MPI engine knows only this.
#pragma once

#include <cstdint>
#include <vector>

#include "core/ports/transport_profile.hpp"
#include "core/ports/types.hpp"
#include "core/units/units.hpp"

namespace ferry {

/// How the bytes of a message travel.
enum class Protocol : std::uint8_t {
  eager,      ///< with the envelope, at once
  read,       ///< rendezvous: the sender announces, the receiver reads, and says when it is done
  fragments,  ///< rendezvous: the sender announces, the receiver clears it to send, packets follow
};

/// For messages from `from_size` up to the next choice.
struct Choice {
  Bytes from_size;
  Channel control = Channel::shm;  ///< of envelopes, eager bodies and answers
  Channel data = Channel::shm;     ///< of what rendezvous reads or sends; of eager the same
  Protocol protocol = Protocol::eager;
};

/// Ascending, the first from zero bytes; never empty.
struct PairChoices {
  std::vector<Choice> by_size;
  [[nodiscard]] const Choice& for_size(std::size_t size) const {
    const Choice* choice = by_size.data();
    for (const Choice* next = choice + 1; next != by_size.data() + by_size.size(); ++next) {
      if (next->from_size.count() > size) break;
      choice = next;
    }
    return *choice;
  }
};

/// Whether packets on `channel` can be lost when a device goes: their senders keep them until they
/// are acknowledged.
[[nodiscard]] constexpr bool can_lose(Channel channel) {
  return channel != Channel::shm && channel != Channel::cma;
}

/// Decides for one rank of a job; called by its tasks, one at a time.
class ChannelChooser {
 public:
  virtual ~ChannelChooser() = default;
  /// Between this rank and `peer` of its job, which is another one; the peer's chooser says the
  /// same for it. Asked once per pair and generation, when they first talk. Lives as long as the
  /// chooser. Never blocks.
  [[nodiscard]] virtual const PairChoices& choices_with(RankId peer) = 0;
};

}  // namespace ferry
