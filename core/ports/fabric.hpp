// Packets between the endpoints of ranks, and reads of each other's memory. Rings, queue pairs and
// flows live in the worlds; matching, protocols and the choice of a channel are core's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "core/ports/transport_profile.hpp"
#include "core/ports/types.hpp"
#include "core/ports/wait_set.hpp"
#include "core/units/units.hpp"

namespace ferry {

/// Address of an endpoint within its fabric.
struct EndpointAddress {
  std::uint32_t value = 0;
  constexpr auto operator<=>(const EndpointAddress&) const = default;
};

/// Where a rank's memory and processor are. A rank in a VM moves with it.
struct RankPlace {
  std::optional<VmId> vm;       ///< none: native, on `host`
  HostId host;                  ///< of a native rank
  std::uint32_t container = 0;  ///< within the VM or host; 0: in none
  std::uint32_t socket = 0;     ///< of the host, where it is known
};

/// Memory to read from, of a packet or a request. `data` null with a size: phantom bytes, which
/// have a size and cost what real ones do, and are not there.
struct ConstSlice {
  const std::byte* data = nullptr;
  std::size_t size = 0;
};
/// Memory to write to; likewise.
struct Slice {
  std::byte* data = nullptr;
  std::size_t size = 0;
};

/// What goes before the body. The world carries it and does not look into it, but for `channel`'s
/// sake. One cache line.
struct alignas(64) PacketHeader {
  std::uint16_t kind = 0;
  std::uint16_t flags = 0;
  std::uint32_t epoch = 0;
  std::uint32_t source = 0;   ///< rank of the sender in its job
  std::uint32_t context = 0;  ///< of the communicator
  std::int32_t tag = 0;
  std::uint32_t credits = 0;
  std::uint64_t sequence = 0;  ///< of the ordered pair of ranks
  std::uint64_t size = 0;      ///< of the whole message
  std::uint64_t checksum = 0;  ///< see `Arrival::checksum_bits`
  std::uint64_t key = 0;   ///< memory of the sender, or a request of the receiver
  std::uint64_t more = 0;  ///< what else the kind needs
};
static_assert(sizeof(PacketHeader) == 64);

/// Memory of an endpoint that another one may read.
struct MemoryKey {
  std::uint64_t value = 0;
};

/// What came to an endpoint.
struct Arrival {
  enum class Kind : std::uint8_t {
    packet,
    read_done,    ///< all bytes of a `read` are there
    read_failed,  ///< the key is not known any more, or the way there is gone: nothing is promised
  };
  PacketHeader header;  ///< of a packet
  Kind kind = Kind::packet;
  Channel channel = Channel::shm;   ///< it came by
  EndpointAddress from;             ///< of a packet
  std::span<const std::byte> body;  ///< of a packet; empty if it is phantom
  std::size_t body_size = 0;        ///< of a packet, phantom or not
  std::uint64_t cookie = 0;         ///< of a read
  /// Those of `header.checksum` that have travelled, the others are zero. All, or the low 32 where
  /// a body came with it.
  std::uint64_t checksum_bits = ~std::uint64_t{};
};

/// Where packets go. Kept by who sends them, for one endpoint.
struct Way {
  EndpointAddress to;
  Channel channel = Channel::shm;
  void* known = nullptr;  ///< what the world has found there, so as not to look for it again
};

/// One rank's access to the fabric, by all its channels. Used by the tasks of that rank, one at a
/// time. Nothing here blocks. In simulation what a call costs the processor (overhead, copies) is
/// added to the calling task's time and is spent at its next wait. Destruction closes it: what is
/// under way to it is dropped, its address is not given again.
///
/// A device that a VM does not have carries nothing: what is posted by way of it, or arrives there,
/// is lost without a word, as on hardware. Who closes channels before devices go loses nothing.
class Endpoint {
 public:
  virtual ~Endpoint() = default;
  [[nodiscard]] virtual EndpointAddress address() const = 0;

  /// Sends a packet; header and body may be reused at once. Packets of one endpoint to another over
  /// one channel arrive in the order of posting, once. False: no room there now; the wait set is
  /// woken when there was some since, even if a later packet took it. A first packet opens the
  /// connection and pays for it. `body` at most `largest_body(channel)`.
  [[nodiscard]] virtual bool post(EndpointAddress to, Channel channel, const PacketHeader& header,
                                  std::span<const ConstSlice> body) = 0;
  /// The same, for who sends there often.
  [[nodiscard]] virtual bool post_along(Way& way, const PacketHeader& header,
                                        std::span<const ConstSlice> body) {
    return post(way.to, way.channel, header, body);
  }
  /// A packet will soon go there: begins to fetch what that will touch on this side, as
  /// `Fetchable::fetch`.
  virtual void fetch(const Way& /*way*/) const {}
  [[nodiscard]] virtual std::size_t largest_body(Channel channel) const = 0;
  /// The oldest arrival, none if there is none now. It stays valid until the next call of `poll`.
  [[nodiscard]] virtual const Arrival* poll() = 0;

  /// Lets others read `memory` by `channel` until `withdraw`. Only where its profile `reads`. Key
  /// 0: nobody can read this memory, as the device does not take it; there is nothing to withdraw.
  [[nodiscard]] virtual MemoryKey expose(Channel channel, std::span<const ConstSlice> memory) = 0;
  /// Reads under way through the key end as `read_failed` or are done.
  virtual void withdraw(MemoryKey key) = 0;
  /// Reads the memory behind `key`, from `offset`, into `into`, which stays until an arrival with
  /// `cookie` says that it is done or failed. Several may be under way; their order is not
  /// promised.
  virtual void read(EndpointAddress from, Channel channel, MemoryKey key, std::size_t offset,
                    std::span<const Slice> into, std::uint64_t cookie) = 0;

  /// Opens the connection before a packet needs it. The time it takes passes in the background.
  virtual void connect(EndpointAddress to, Channel channel) = 0;
  /// Destroys what leads there by `channel`: packets from there that were not polled are dropped.
  /// Another packet opens it again.
  virtual void disconnect(EndpointAddress to, Channel channel) = 0;
};

class Fabric {
 public:
  virtual ~Fabric() = default;
  [[nodiscard]] virtual std::unique_ptr<WaitSet> make_wait_set() = 0;
  /// An endpoint of a rank; `wait_set` outlives it.
  [[nodiscard]] virtual std::unique_ptr<Endpoint> open(const RankPlace& place,
                                                       WaitSet& wait_set) = 0;
  /// What `channel` costs between two ranks of one socket, or not; null: this world does not have
  /// it.
  [[nodiscard]] virtual const TransportProfile* profile(Channel channel,
                                                        bool same_socket) const = 0;
};

}  // namespace ferry
