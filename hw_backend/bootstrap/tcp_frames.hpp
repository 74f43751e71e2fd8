// What goes over a connection of the TCP bootstrap, as bytes and back. Nothing that arrives is
// trusted: lengths are bounded, and a wrong byte ends the connection.
//
// Frame: length of what follows (32 bits, little-endian), kind (8 bits), then by kind
//   hello    magic (32), version (16), rank (32), job (text)
//   message  topic (8), the rest is its bytes
//   ask      number (64), key (text)
//   answer   number (64), value (text)
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/ports/bootstrap.hpp"

namespace ferry {

inline constexpr std::size_t longest_job_name = 64;
inline constexpr std::size_t longest_key = 256;

struct HelloFrame {
  std::uint32_t rank = 0;
  std::string job;
  bool operator==(const HelloFrame&) const = default;
};
struct MessageFrame {
  BootstrapTopic topic = BootstrapTopic::connections;
  std::vector<std::byte> bytes;
  bool operator==(const MessageFrame&) const = default;
};
struct AskFrame {
  std::uint64_t number = 0;
  std::string key;
  bool operator==(const AskFrame&) const = default;
};
struct AnswerFrame {
  std::uint64_t number = 0;
  std::string value;
  bool operator==(const AnswerFrame&) const = default;
};
using Frame = std::variant<HelloFrame, MessageFrame, AskFrame, AnswerFrame>;

[[nodiscard]] std::vector<std::byte> encode(const Frame& frame);

/// Frames out of a stream of bytes that comes in any pieces.
class FrameReader {
 public:
  void add(std::span<const std::byte> bytes);
  /// The next whole frame; none: more bytes are needed, or `broken`.
  [[nodiscard]] std::optional<Frame> next();
  /// What came is no frame of this version; nothing more is read.
  [[nodiscard]] bool broken() const { return broken_; }

 private:
  std::vector<std::byte> bytes_;
  std::size_t read_ = 0;
  bool broken_ = false;
};

}  // namespace ferry
