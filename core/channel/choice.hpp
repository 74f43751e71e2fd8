// Which channel and protocol a pair of ranks uses for a message: what the engine asks on its fast
// path. How it is decided: `coordinator.hpp`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/ports/transport_profile.hpp"
#include "core/ports/types.hpp"

namespace ferry {

/// Whether packets by `channel` can be lost, when a device goes: who sends the bytes of a
/// rendezvous keeps them until the receiver has said that all are there.
[[nodiscard]] constexpr bool can_lose(Channel channel) {
  return channel != Channel::shm && channel != Channel::cma;
}

/// How a message of one size travels.
enum class Protocol : std::uint8_t {
  eager,                 ///< one packet, copied on either side
  rendezvous_read,       ///< announced; the receiver reads the sender's memory; done
  rendezvous_fragments,  ///< announced; cleared to send; packets of at most `fragment`
};
std::string_view to_name(Protocol protocol);

struct Choice {
  Protocol protocol = Protocol::eager;
  Channel channel = Channel::shm;  ///< of the eager packet, or of a rendezvous's control packets
  Channel data = Channel::shm;     ///< of the bytes; with `eager` the same
  std::uint32_t fragment = 0;      ///< the most bytes of one packet of the data, above 0
};

/// The choices of one class of pairs by size of the message. Never changes once made.
class Route {
 public:
  struct Range {
    std::size_t last = std::numeric_limits<std::size_t>::max();  ///< largest size that it holds
    Choice choice;
  };

  /// Pairs that no channel joins; the reason is for people.
  explicit Route(std::string unreachable) : unreachable_(std::move(unreachable)) {}
  /// Ranges ascend and the last one has no end.
  explicit Route(std::vector<Range> ranges);

  [[nodiscard]] bool reaches() const { return !ranges_.empty(); }
  [[nodiscard]] const std::string& unreachable() const { return unreachable_; }
  /// Only if it `reaches`. A comparison for each range below the size; there are few.
  [[nodiscard]] const Choice& choose(std::size_t size) const {
    const Range* range = ranges_.data();
    while (size > range->last) ++range;
    return range->choice;
  }
  /// The channel of control packets (announcements, clearances, credits): the same for all sizes.
  [[nodiscard]] Channel control() const { return control_; }
  [[nodiscard]] std::span<const Range> ranges() const { return ranges_; }

 private:
  std::vector<Range> ranges_;
  Channel control_ = Channel::shm;
  std::string unreachable_;
};

/// Routes of the pairs of one job. The engine keeps the pointer for each pair that has spoken,
/// with the generation that it is of, and asks again when that has changed. From any task.
class ChannelChooser {
 public:
  virtual ~ChannelChooser() = default;
  /// Between these ranks of the job, as things are placed now; both ends get the same. It lives as
  /// long as the chooser. Costs a few look-ups: nothing is made for each pair.
  [[nodiscard]] virtual const Route& route(RankId from, RankId to) const = 0;
  /// Changes whenever a route may have: when a VM has moved or lost a device.
  [[nodiscard]] virtual std::uint64_t generation() const = 0;
};

/// One route for all pairs, for ever: of tests, and of jobs whose ranks share one place.
class UniformChooser final : public ChannelChooser {
 public:
  explicit UniformChooser(Route route) : route_(std::move(route)) {}
  [[nodiscard]] const Route& route(RankId /*from*/, RankId /*to*/) const override { return route_; }
  [[nodiscard]] std::uint64_t generation() const override { return 0; }

 private:
  Route route_;
};

}  // namespace ferry
