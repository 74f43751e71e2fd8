#include "hw_backend/agent/frames.hpp"

#include <algorithm>
#include <array>

#include "core/ports/control.hpp"

namespace ferry::agent {
namespace {

constexpr std::array<std::byte, 4> mark = {std::byte{0xfe}, std::byte{'F'}, std::byte{'r'},
                                           std::byte{'y'}};

/// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78; RFC 3720, appendix B.4).
constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1U) ^ ((value & 1U) * 0x82f6'3b78U);
    table[i] = value;
  }
  return table;
}
constexpr std::array<std::uint32_t, 256> table = make_table();

std::uint32_t checksum(std::span<const std::byte> bytes) {
  std::uint32_t value = ~0U;
  for (const std::byte byte : bytes) {
    value = table[(value ^ std::to_integer<std::uint32_t>(byte)) & 0xffU] ^ (value >> 8U);
  }
  return ~value;
}

void put(std::vector<std::byte>& into, std::uint32_t value) {
  for (int i = 0; i < 4; ++i) into.push_back(static_cast<std::byte>(value >> 8 * i));
}

std::uint32_t get(std::span<const std::byte> from) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value |= std::to_integer<std::uint32_t>(from[i]) << 8 * i;
  return value;
}

}  // namespace

std::vector<std::byte> make_frame(std::span<const std::byte> message) {
  std::vector<std::byte> frame(mark.begin(), mark.end());
  frame.reserve(frame_head + message.size());
  put(frame, static_cast<std::uint32_t>(message.size()));
  put(frame, checksum(message));
  frame.insert(frame.end(), message.begin(), message.end());
  return frame;
}

void FrameReader::take(std::span<const std::byte> bytes) {
  // In pieces, so that no more is held than one frame and a piece.
  constexpr std::size_t piece = std::size_t{64} << 10U;
  while (!bytes.empty()) {
    const std::span<const std::byte> now = bytes.first(std::min(piece, bytes.size()));
    held_.insert(held_.end(), now.begin(), now.end());
    bytes = bytes.subspan(now.size());
    look();
  }
}

void FrameReader::look() {
  std::size_t at = 0;
  while (held_.size() - at >= frame_head) {
    const std::span<const std::byte> rest = std::span(held_).subspan(at);
    const std::size_t size = get(rest.subspan(4));
    const bool is_frame =
        std::equal(mark.begin(), mark.end(), rest.begin()) && size <= largest_control_message;
    if (is_frame && rest.size() < frame_head + size) break;
    if (is_frame && checksum(rest.subspan(frame_head, size)) == get(rest.subspan(8))) {
      const auto body = rest.subspan(frame_head, size);
      whole_.emplace_back(body.begin(), body.end());
      at += frame_head + size;
      continue;
    }
    const auto next = std::find(rest.begin() + 1, rest.end(), mark.front());
    const auto skipped = static_cast<std::size_t>(next - rest.begin());
    skipped_ += skipped;
    at += skipped;
  }
  held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(at));
}

std::optional<std::vector<std::byte>> FrameReader::next() {
  if (whole_.empty()) return std::nullopt;
  std::vector<std::byte> message = std::move(whole_.front());
  whole_.pop_front();
  return message;
}

void FrameReader::give_up() {
  if (held_.empty()) return;
  const auto next = std::find(held_.begin() + 1, held_.end(), mark.front());
  skipped_ += static_cast<std::uint64_t>(next - held_.begin());
  held_.erase(held_.begin(), next);
  look();
}

void FrameReader::reset() {
  skipped_ += held_.size();
  held_.clear();
}

}  // namespace ferry::agent
