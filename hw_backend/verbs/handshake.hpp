// How two ranks come to a connection, and to another one when it broke: by messages that may be
// lost, repeated or late. Knows no device; `Pairing::Host` has the queue pair and the packets.
//
// Of a pair the lower rank is active: it makes a queue pair and sends an *offer* until it gets an
// *answer*; the other one makes its own for each offer with a higher number and answers. Who wants
// a connection and is not active sends a *wish*. Each side says how far it has received: the rest
// is sent again. The active side's first word over the queue pair tells the other that it may send.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/ports/result.hpp"
#include "core/ports/transport_profile.hpp"

namespace ferry::verbs {

/// What the other side must know of a queue pair and of the device that it belongs to.
struct QueuePairAddress {
  std::uint32_t number = 0;
  std::uint32_t first_packet = 0;  ///< 24 bits
  std::uint16_t lid = 0;
  std::array<std::uint8_t, 16> gid{};
  std::uint8_t path_mtu = 0;  ///< as libibverbs counts them
  std::uint8_t reads = 0;     ///< that it answers at a time
  /// Where records of exposed memory are; see exposures.hpp.
  std::uint64_t table_address = 0;
  std::uint32_t table_key = 0;
  std::uint32_t device_generation = 0;  ///< how often its rank has opened a device
  bool operator==(const QueuePairAddress&) const = default;
};

/// Packets of one rank to another are numbered from zero in each incarnation of their stream; a
/// disconnection ends one. Zero: there is none.
struct StreamPosition {
  std::uint64_t incarnation = 0;
  std::uint64_t next = 0;
  bool operator==(const StreamPosition&) const = default;
};

struct HandshakeMessage {
  enum class Kind : std::uint8_t {
    wish = 1,    ///< make an offer; `attempt`: the last one that is known to have ended
    offer,       ///< here is a queue pair
    answer,      ///< here is the other one
    broken,      ///< mine of this attempt is gone; more may follow
    disconnect,  ///< the same, and packets of `received.incarnation` are of no use any more
    gone,        ///< this rank is closed: nothing will reach it again
    full,        ///< packets wait here for room there
  };
  Kind kind = Kind::wish;
  Channel channel = Channel::sriov;
  std::uint64_t attempt = 0;
  std::uint64_t incarnation = 0;  ///< of the sender's stream
  StreamPosition received;        ///< of the receiver's stream
  QueuePairAddress address;       ///< of offers and answers
  bool operator==(const HandshakeMessage&) const = default;
};
[[nodiscard]] std::vector<std::byte> encode(const HandshakeMessage& message);
/// None: these bytes are no such message.
[[nodiscard]] std::optional<HandshakeMessage> decode_handshake(std::span<const std::byte> bytes);

class Pairing {
 public:
  using RealTime = std::chrono::steady_clock::time_point;
  enum class State : std::uint8_t {
    idle,
    wishing,   ///< a wish was sent
    offering,  ///< there is a queue pair, and an offer was sent
    answered,  ///< the queue pair is connected; the other side has not been heard by it
    up,
  };

  class Host {
   public:
    virtual ~Host() = default;
    virtual void send(const HandshakeMessage& message) = 0;
    /// Destroys the one there was.
    [[nodiscard]] virtual Result<QueuePairAddress> make_queue_pair() = 0;
    [[nodiscard]] virtual Result<> connect_queue_pair(const QueuePairAddress& there) = 0;
    /// After it `received` says what will ever have come by it. Also if there is none.
    virtual void destroy_queue_pair() = 0;
    /// Of what comes from there.
    [[nodiscard]] virtual StreamPosition received() const = 0;
    /// The highest one that was disconnected here.
    [[nodiscard]] virtual std::uint64_t closed_incarnation() const = 0;
    /// Of what goes there.
    [[nodiscard]] virtual std::uint64_t incarnation() const = 0;
    /// The other side sends this stream and has received that far.
    virtual void synchronise(std::uint64_t incarnation, StreamPosition received) = 0;
    /// The other side wants to hear of room as soon as there is some.
    virtual void wants_room() = 0;
    /// Packets of this incarnation need not be sent any more.
    virtual void drop_packets() = 0;
    virtual void link_up() = 0;
    virtual void note_problem(const std::string& problem) = 0;
  };

  Pairing(bool active, Channel channel, Host& host)
      : active_(active), channel_(channel), host_(host) {}

  /// There is something to send.
  void want(RealTime now);
  void hear(const HandshakeMessage& message, RealTime now);
  /// Packets have waited for room for a while.
  void ask_for_room();
  /// Something came by the queue pair.
  void hear_word();
  /// The queue pair failed.
  void break_down(RealTime now);
  /// Both directions end; nothing is wanted.
  void disconnect();
  /// The device goes; what is wanted stays so.
  void suspend();
  void resume(RealTime now);
  /// To be called at `next_look`.
  void look(RealTime now);
  [[nodiscard]] std::optional<RealTime> next_look() const { return next_look_; }

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool is_up() const { return state_ == State::up; }

 private:
  void begin(RealTime now);
  void offer(RealTime now);
  void fail(const Failure& failure, RealTime now);
  void repeat_after_a_while(RealTime now);
  void hear_offer(const HandshakeMessage& message, RealTime now);
  void hear_answer(const HandshakeMessage& message, RealTime now);
  void hear_end(const HandshakeMessage& message, RealTime now);
  void to_idle();
  [[nodiscard]] HandshakeMessage message(HandshakeMessage::Kind kind) const;

  bool active_;
  Channel channel_;
  Host& host_;
  State state_ = State::idle;
  bool suspended_ = false;
  bool wanted_ = false;
  std::uint64_t attempt_ = 0;  ///< the last one that was offered, or answered
  QueuePairAddress mine_;
  std::chrono::milliseconds pause_{0};
  std::optional<RealTime> next_look_;
};

}  // namespace ferry::verbs
