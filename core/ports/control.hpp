// Messages between the controller and an agent in a guest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/ports/clock.hpp"

namespace ferry {

/// The largest message of a control link.
inline constexpr std::size_t largest_control_message = std::size_t{1} << 20U;

/// One end of a link that may drop messages, repeat them, and break at any time: a channel into a
/// guest does at the switch-over of a migration. A broken link is opened again by itself. What
/// arrives is whole, and as it was sent; messages of one opening come in their order. So both sides
/// say what they want until they see that it was done, and take what they have had for nothing.
class Control {
 public:
  virtual ~Control() = default;
  /// Never blocks. False: it was dropped, as there is no link now or it is full. True promises
  /// nothing.
  virtual bool send(std::span<const std::byte> message) = 0;

  struct Received {
    Wake wake = Wake::timed_out;
    std::vector<std::byte> message;  ///< empty: the link was opened anew, or `notify` was called
  };
  /// Blocks until there is a message, the link was opened anew (what was sent before may not have
  /// come), or somebody has called `notify`; both are told as an empty message. One task at a time.
  virtual Received receive(TimePoint deadline) = 0;
  /// Ends the present or the next `receive`. From any task; never blocks.
  virtual void notify() = 0;
  /// Why there is no link now, for people; empty: there is one, or it is not known.
  [[nodiscard]] virtual std::string trouble() const { return {}; }
  /// How often the link was opened.
  [[nodiscard]] virtual std::uint64_t openings() const = 0;
};

}  // namespace ferry
