#include "hw_backend/verbs/handshake.hpp"

#include <algorithm>

namespace ferry::verbs {
namespace {

/// Of these messages and of frames. 2: packets without heads.
constexpr std::uint8_t version = 2;

/// Messages are lost seldom, but who computes answers late.
constexpr std::chrono::milliseconds first_pause(100);
constexpr std::chrono::milliseconds last_pause(1000);
/// The other side has an answer and says nothing: perhaps its device has gone since.
constexpr std::chrono::milliseconds silence(5000);

template <class Number>
void put(std::vector<std::byte>& bytes, Number value) {
  for (std::size_t i = 0; i < sizeof value; ++i) {
    bytes.push_back(static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * i)));
  }
}

/// Reading beyond the end is noticed by what is left over.
template <class Number>
void take(std::span<const std::byte>& bytes, bool& good, Number& value) {
  good = good && bytes.size() >= sizeof value;
  if (!good) return;
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < sizeof value; ++i) {
    number |= static_cast<std::uint64_t>(bytes[i]) << (8 * i);
  }
  value = static_cast<Number>(number);
  bytes = bytes.subspan(sizeof value);
}

}  // namespace

std::vector<std::byte> encode(const HandshakeMessage& message) {
  std::vector<std::byte> bytes;
  put(bytes, version);
  put(bytes, static_cast<std::uint8_t>(message.kind));
  put(bytes, static_cast<std::uint8_t>(message.channel));
  put(bytes, message.attempt);
  put(bytes, message.incarnation);
  put(bytes, message.received.incarnation);
  put(bytes, message.received.next);
  const QueuePairAddress& address = message.address;
  put(bytes, address.number);
  put(bytes, address.first_packet);
  put(bytes, address.lid);
  for (const std::uint8_t each : address.gid) put(bytes, each);
  put(bytes, address.path_mtu);
  put(bytes, address.reads);
  put(bytes, address.table_address);
  put(bytes, address.table_key);
  put(bytes, address.device_generation);
  return bytes;
}

std::optional<HandshakeMessage> decode_handshake(std::span<const std::byte> bytes) {
  HandshakeMessage message;
  bool good = true;
  std::uint8_t its_version = 0;
  std::uint8_t kind = 0;
  std::uint8_t channel = 0;
  take(bytes, good, its_version);
  take(bytes, good, kind);
  take(bytes, good, channel);
  take(bytes, good, message.attempt);
  take(bytes, good, message.incarnation);
  take(bytes, good, message.received.incarnation);
  take(bytes, good, message.received.next);
  QueuePairAddress& address = message.address;
  take(bytes, good, address.number);
  take(bytes, good, address.first_packet);
  take(bytes, good, address.lid);
  for (std::uint8_t& each : address.gid) take(bytes, good, each);
  take(bytes, good, address.path_mtu);
  take(bytes, good, address.reads);
  take(bytes, good, address.table_address);
  take(bytes, good, address.table_key);
  take(bytes, good, address.device_generation);
  using Kind = HandshakeMessage::Kind;
  if (!good || !bytes.empty() || its_version != version || channel >= channel_count ||
      kind < static_cast<std::uint8_t>(Kind::wish) ||
      kind > static_cast<std::uint8_t>(Kind::full)) {
    return std::nullopt;
  }
  message.kind = static_cast<Kind>(kind);
  message.channel = static_cast<Channel>(channel);
  return message;
}

HandshakeMessage Pairing::message(HandshakeMessage::Kind kind) const {
  HandshakeMessage said;
  said.kind = kind;
  said.channel = channel_;
  said.attempt = attempt_;
  said.incarnation = host_.incarnation();
  said.received = host_.received();
  said.address = mine_;
  return said;
}

void Pairing::to_idle() {
  host_.destroy_queue_pair();
  state_ = State::idle;
  next_look_.reset();
}

void Pairing::want(RealTime now) {
  wanted_ = true;
  if (state_ != State::idle || suspended_ || next_look_) return;
  begin(now);
}

void Pairing::begin(RealTime now) {
  pause_ = {};
  if (active_) return offer(now);
  state_ = State::wishing;
  host_.send(message(HandshakeMessage::Kind::wish));
  repeat_after_a_while(now);
}

void Pairing::offer(RealTime now) {
  host_.destroy_queue_pair();
  ++attempt_;
  const Result<QueuePairAddress> made = host_.make_queue_pair();
  if (!made) return fail(made.error(), now);
  mine_ = *made;
  state_ = State::offering;
  host_.send(message(HandshakeMessage::Kind::offer));
  repeat_after_a_while(now);
}

/// Of the own device; it is tried again.
void Pairing::fail(const Failure& failure, RealTime now) {
  host_.note_problem(failure.reason);
  to_idle();
  wanted_ = true;
  repeat_after_a_while(now);
}

void Pairing::repeat_after_a_while(RealTime now) {
  pause_ = std::clamp(pause_ * 2, first_pause, last_pause);
  next_look_ = now + pause_;
}

void Pairing::look(RealTime now) {
  if (!next_look_ || now < *next_look_) return;
  next_look_.reset();
  switch (state_) {
    case State::idle:
      if (wanted_ && !suspended_) begin(now);
      return;
    case State::wishing:
      host_.send(message(HandshakeMessage::Kind::wish));
      return repeat_after_a_while(now);
    case State::offering:
      host_.send(message(HandshakeMessage::Kind::offer));
      return repeat_after_a_while(now);
    case State::answered: return break_down(now);
    case State::up: return;
  }
}

void Pairing::hear(const HandshakeMessage& said, RealTime now) {
  using Kind = HandshakeMessage::Kind;
  if (said.kind == Kind::broken || said.kind == Kind::disconnect) return hear_end(said, now);
  if (said.kind == Kind::gone) return to_idle();
  if (said.incarnation <= host_.closed_incarnation()) {
    // It has not heard yet that this stream was disconnected, or not of all of it.
    HandshakeMessage again = message(Kind::disconnect);
    again.attempt = said.attempt;
    again.received = {host_.closed_incarnation(), 0};
    return host_.send(again);
  }
  if (suspended_) {
    wanted_ = true;  // later
    return;
  }
  switch (said.kind) {
    case Kind::wish: {
      if (!active_) return;
      // Else an offer is on its way. Had it come to anything there, there would be no wish.
      const bool had_it = said.attempt >= attempt_;
      if (state_ == State::idle || had_it) {
        offer(now);
      } else if (state_ == State::offering) {
        host_.send(message(Kind::offer));
      }
      return;
    }
    case Kind::offer: return hear_offer(said, now);
    case Kind::answer: return hear_answer(said, now);
    case Kind::full:
      if (state_ == State::up) host_.wants_room();
      return;
    default: return;
  }
}

void Pairing::hear_offer(const HandshakeMessage& said, RealTime now) {
  if (active_ || said.attempt < attempt_) return;
  if (said.attempt == attempt_) {
    if (state_ == State::answered) host_.send(message(HandshakeMessage::Kind::answer));
    // What was made for it is gone: only another offer leads further.
    if (state_ == State::idle && !next_look_) begin(now);
    return;
  }
  host_.destroy_queue_pair();
  attempt_ = said.attempt;
  const Result<QueuePairAddress> made = host_.make_queue_pair();
  if (!made) return fail(made.error(), now);
  mine_ = *made;
  if (const Result<> connected = host_.connect_queue_pair(said.address); !connected) {
    return fail(connected.error(), now);
  }
  host_.synchronise(said.incarnation, said.received);
  state_ = State::answered;
  next_look_ = now + silence;
  host_.send(message(HandshakeMessage::Kind::answer));
}

void Pairing::hear_answer(const HandshakeMessage& said, RealTime now) {
  if (state_ != State::offering || said.attempt != attempt_) return;
  if (const Result<> connected = host_.connect_queue_pair(said.address); !connected) {
    return fail(connected.error(), now);
  }
  host_.synchronise(said.incarnation, said.received);
  state_ = State::up;
  next_look_.reset();
  host_.link_up();
}

void Pairing::hear_end(const HandshakeMessage& said, RealTime now) {
  const bool of_this_stream = said.kind == HandshakeMessage::Kind::disconnect &&
                              said.received.incarnation == host_.incarnation();
  // A wish or an offer that is under way is for a later connection.
  const bool of_this_link =
      said.attempt >= attempt_ && (state_ == State::up || state_ == State::answered ||
                                   (state_ == State::offering && of_this_stream));
  if (of_this_link) to_idle();
  if (of_this_stream) {
    wanted_ = false;
    host_.drop_packets();
  } else if (of_this_link) {
    // Who has broken it begins again; but what is here has to get there too.
    begin(now);
  }
}

void Pairing::ask_for_room() {
  if (state_ == State::up) host_.send(message(HandshakeMessage::Kind::full));
}

void Pairing::hear_word() {
  if (state_ != State::answered) return;
  state_ = State::up;
  next_look_.reset();
  host_.link_up();
}

void Pairing::break_down(RealTime now) {
  if (state_ == State::idle || state_ == State::wishing) return;
  to_idle();
  wanted_ = true;
  if (!suspended_) begin(now);
}

void Pairing::disconnect() {
  to_idle();
  wanted_ = false;
  HandshakeMessage end = message(HandshakeMessage::Kind::disconnect);
  end.received.incarnation = host_.closed_incarnation();
  host_.send(end);
}

void Pairing::suspend() {
  if (state_ != State::idle) wanted_ = true;
  to_idle();
  suspended_ = true;
  host_.send(message(HandshakeMessage::Kind::broken));
}

void Pairing::resume(RealTime now) {
  suspended_ = false;
  if (wanted_) begin(now);
}

}  // namespace ferry::verbs
