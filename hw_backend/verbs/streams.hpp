// Numbers of packets, in both directions of a connection. What was posted is kept until the other
// side has taken it, whatever becomes of queue pairs meanwhile.
#pragma once

#include <cstdint>

#include "core/units/check.hpp"
#include "hw_backend/verbs/handshake.hpp"

namespace ferry::verbs {

/// What goes there. Packet n is kept in place n modulo the window.
class OutgoingStream {
 public:
  explicit OutgoingStream(std::uint32_t window) : window_(window) {}

  [[nodiscard]] std::uint64_t incarnation() const { return incarnation_; }
  [[nodiscard]] bool has_room() const { return next_ - taken_ < window_; }
  [[nodiscard]] bool is_empty() const { return next_ == taken_; }
  [[nodiscard]] std::uint32_t place_of(std::uint64_t number) const {
    return static_cast<std::uint32_t>(number % window_);
  }
  /// Of the next packet; there is room for it.
  [[nodiscard]] std::uint64_t next() const { return next_; }
  void add() {
    check(has_room(), "a packet is added where there is room");
    ++next_;
  }

  /// The first packet that has not left by this link.
  [[nodiscard]] std::uint64_t to_send() const { return to_send_; }
  [[nodiscard]] bool has_to_send() const { return to_send_ != next_; }
  void sent() { ++to_send_; }
  /// The other side has taken so many, by their low 32 bits; what it said before was less.
  void taken(std::uint32_t low_bits) {
    const std::uint32_t more = low_bits - static_cast<std::uint32_t>(taken_);
    if (more <= next_ - taken_) taken_ += more;  // else it is no news, or nonsense
    if (to_send_ < taken_) to_send_ = taken_;
  }
  /// A new link; how many packets leave again by it.
  std::uint64_t synchronise(StreamPosition received) {
    const std::uint64_t sent_before = to_send_;
    // Of an incarnation that it has not heard of it has nothing.
    const std::uint64_t has = received.incarnation == incarnation_ ? received.next : 0;
    to_send_ = has < taken_ ? taken_ : has > next_ ? next_ : has;
    return sent_before > to_send_ ? sent_before - to_send_ : 0;
  }
  /// What is kept is dropped, and numbers begin anew.
  void begin_anew() {
    ++incarnation_;
    next_ = taken_ = to_send_ = 0;
  }

 private:
  std::uint32_t window_;
  std::uint64_t incarnation_ = 1;
  std::uint64_t next_ = 0;
  std::uint64_t taken_ = 0;    ///< by who polls there
  std::uint64_t to_send_ = 0;  ///< at least `taken_`
};

/// What comes from there.
class IncomingStream {
 public:
  explicit IncomingStream(std::uint32_t window) : window_(window) {}

  [[nodiscard]] StreamPosition position() const { return {incarnation_, received_}; }
  [[nodiscard]] std::uint64_t closed_incarnation() const { return closed_; }

  /// The stream that comes by a new link. What came of an earlier one counts no more.
  void synchronise(std::uint64_t incarnation) {
    full_seen_ = false;
    if (incarnation == incarnation_) return;
    incarnation_ = incarnation;
    received_ = taken_ = told_ = 0;
  }
  /// Whether the packet with these low bits of its number is the next one: it is received then.
  [[nodiscard]] bool accept(std::uint32_t low_bits) {
    if (low_bits != static_cast<std::uint32_t>(received_)) return false;
    ++received_;
    return true;
  }
  /// Who polls has taken one of this incarnation.
  void take(std::uint64_t incarnation) {
    if (incarnation == incarnation_) ++taken_;
  }
  [[nodiscard]] std::uint64_t incarnation() const { return incarnation_; }
  /// How many were taken; with this the other side knows.
  [[nodiscard]] std::uint32_t tell() {
    if (told_ != taken_) full_seen_ = false;
    told_ = taken_;
    return static_cast<std::uint32_t>(taken_);
  }
  /// All that has come by now is known: may the other side be standing still?
  void look_whether_full() { full_seen_ = full_seen_ || received_ - told_ >= window_; }
  /// The other side says that it stands still.
  void is_full() { full_seen_ = true; }
  /// Whether the other side should be told without a packet that goes there anyway: half of its
  /// window, or at once if it used all of it and may be waiting.
  [[nodiscard]] bool must_tell() const {
    return taken_ - told_ >= (window_ + 1) / 2 || (full_seen_ && taken_ != told_);
  }

  /// It ends here.
  void close() {
    closed_ = incarnation_;
    received_ = taken_ = told_ = 0;
    full_seen_ = false;
  }

 private:
  std::uint32_t window_;
  std::uint64_t incarnation_ = 0;
  std::uint64_t closed_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t taken_ = 0;
  std::uint64_t told_ = 0;
  bool full_seen_ = false;
};

}  // namespace ferry::verbs
