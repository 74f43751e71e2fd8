// Messages in a stream of bytes that may begin, or go on, in the midst of one: a channel into a
// guest loses what was on its way when it breaks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

namespace ferry::agent {

/// A mark of four bytes, the size and a checksum (CRC-32C of the message), four bytes each, little-
/// endian, and the message.
[[nodiscard]] std::vector<std::byte> make_frame(std::span<const std::byte> message);
inline constexpr std::size_t frame_head = 12;

/// Finds the whole messages in what has come; skips everything else. Keeps no more than one frame.
class FrameReader {
 public:
  void take(std::span<const std::byte> bytes);
  /// The next message, in their order.
  [[nodiscard]] std::optional<std::vector<std::byte>> next();
  /// The stream begins anew.
  void reset();
  /// Whether the beginning of a message is held; its end may have been lost.
  [[nodiscard]] bool waits() const { return !held_.empty(); }
  /// It was: looks for messages behind that beginning.
  void give_up();
  /// Bytes that belonged to no message.
  [[nodiscard]] std::uint64_t skipped() const { return skipped_; }

 private:
  void look();
  std::vector<std::byte> held_;
  std::deque<std::vector<std::byte>> whole_;
  std::uint64_t skipped_ = 0;
};

}  // namespace ferry::agent
