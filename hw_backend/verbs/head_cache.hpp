// Packets whose head is what the one before leads to expect go without it: header caching, as MPI
// libraries over RDMA have it. A body that just fills a packet of the network then needs no second
// one for its head of 88 bytes.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "hw_backend/verbs/frame.hpp"

namespace ferry::verbs {

/// What a packet without its head carries of `PacketHeader::checksum`.
inline constexpr std::uint64_t checksum_bits_without_head = 0xffff'ffffU;

/// What both sides of a link remember of the packets that go one way. They hear of the same
/// packets in the same order, thus expect the same.
class HeadCache {
 public:
  struct Head {
    std::uint32_t number = 0;  ///< as `FrameHead::number`
    std::uint32_t taken = 0;   ///< as `FrameHead::taken`
    PacketHeader header;
  };

  /// A new link: its first packet has a head.
  void forget() { *this = {}; }
  /// None before the first packet of a link has been noted.
  [[nodiscard]] bool knows() const { return known_; }

  /// Of the next packet, if it has so many bytes of body: numbered on; what was taken, sequence,
  /// credits and tag (which counts collectives) go on by as much as they did between the two
  /// before; size the body's if that was so before; the rest as before, the checksum zero.
  [[nodiscard]] Head expected(std::size_t body_size) const {
    Head next = last_;
    ++next.number;
    next.taken += taken_step_;
    next.header.sequence += sequence_step_;
    next.header.credits += credits_step_;
    next.header.tag = static_cast<std::int32_t>(unsigned_tag(last_) + tag_step_);
    next.header.checksum = 0;
    if (size_is_of_body_) next.header.size = body_size;
    return next;
  }

  /// Whether that is this one, but for the checksum.
  [[nodiscard]] bool expects(const Head& head, std::size_t body_size) const {
    if (!known_ || head.number != last_.number + 1 || head.taken != last_.taken + taken_step_) {
      return false;
    }
    Head next = expected(body_size);
    next.header.checksum = head.header.checksum;
    static_assert(std::has_unique_object_representations_v<PacketHeader>);
    return std::memcmp(&next.header, &head.header, sizeof next.header) == 0;
  }

  /// This one has gone, or has come, with its head or without.
  void note(const Head& head, std::size_t body_size) {
    if (known_) {
      taken_step_ = head.taken - last_.taken;
      sequence_step_ = head.header.sequence - last_.header.sequence;
      credits_step_ = head.header.credits - last_.header.credits;
      tag_step_ = unsigned_tag(head) - unsigned_tag(last_);
    }
    known_ = true;
    size_is_of_body_ = head.header.size == body_size;
    last_ = head;
  }

 private:
  [[nodiscard]] static std::uint32_t unsigned_tag(const Head& head) {
    return static_cast<std::uint32_t>(head.header.tag);
  }

  Head last_;
  std::uint64_t sequence_step_ = 1;
  std::uint32_t credits_step_ = 0;
  std::uint32_t tag_step_ = 0;
  std::uint32_t taken_step_ = 0;
  bool known_ = false;
  bool size_is_of_body_ = false;
};

}  // namespace ferry::verbs
