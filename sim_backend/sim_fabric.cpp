#include "sim_backend/sim_fabric.hpp"

#include <algorithm>
#include <deque>
#include <utility>

#include "core/units/check.hpp"
#include "core/units/fetch_lines.hpp"
#include "sim_backend/sim_wait_set.hpp"

namespace ferry {
namespace {

std::optional<DeviceKind> device_of(Channel channel) {
  switch (channel) {
    case Channel::sriov:
    case Channel::sriov_loopback:
    case Channel::passthrough: return DeviceKind::virtual_function;
    case Channel::ivshmem: return DeviceKind::ivshmem;
    case Channel::shm:
    case Channel::cma:
    case Channel::native: break;
  }
  return std::nullopt;
}

/// Whether what it joins is on one host.
bool stays_on_host(Channel channel) {
  return channel == Channel::shm || channel == Channel::cma || channel == Channel::ivshmem ||
         channel == Channel::sriov_loopback;
}

bool needs_one_guest(Channel channel) { return channel == Channel::shm || channel == Channel::cma; }

Duration rounded(double nanoseconds) {
  return Duration::nanoseconds(static_cast<std::int64_t>(nanoseconds + 0.5));
}

double nanoseconds_per_byte(Bandwidth bandwidth) {
  return bandwidth.is_unlimited() ? 0.0 : 1e9 / bandwidth.to_bytes_per_second();
}

template <class AnySlice>
std::size_t total_size(std::span<const AnySlice> slices) {
  std::size_t size = 0;
  for (const AnySlice& slice : slices) size += slice.size;
  return size;
}

/// Copies from `offset` of one list of pieces on into another; phantom bytes are passed over.
void copy(std::span<const ConstSlice> from, std::size_t offset, std::span<const Slice> into) {
  std::size_t piece = 0;
  for (const Slice& target : into) {
    for (std::size_t done = 0; done < target.size;) {
      while (offset >= from[piece].size) offset -= from[piece++].size;
      const std::size_t size = std::min(target.size - done, from[piece].size - offset);
      if (target.data != nullptr && from[piece].data != nullptr) {
        std::copy_n(from[piece].data + offset, size, target.data + done);
      }
      done += size;
      offset += size;
    }
  }
}

}  // namespace

/// What one endpoint has sent to another over one channel, and the way there. What each packet
/// needs stands in one line of the processor's caches.
struct alignas(64) SimConnection {
  EndpointAddress to;
  Channel channel = Channel::shm;
  bool open : 1 = false;
  bool sender_wants_room : 1 = false;
  bool on_one_host : 1 = false;  ///< of the way, as the next one
  bool reaches : 1 = false;      ///< whether the channel leads there
  std::uint16_t under_way = 0;   ///< posted, and not polled
  /// As long as `SimFabric::version` is this one, the way stays as it is.
  std::uint32_t version = 0;
  std::uint32_t times_attached = 0;         ///< of the receiver's device
  SimFabric::Port* receiver = nullptr;      ///< null: it is closed
  const SimFabric::Costs* costs = nullptr;  ///< of the way
  SimFabric::Port* from = nullptr;
  TimePoint ready;  ///< since when, or when, the connection stands, if open
  TimePoint last;   ///< arrival: no packet overtakes an earlier one
  std::unique_ptr<SimFabric::Lane> packets;  ///< that are flows, and what waits behind them
  std::unique_ptr<SimFabric::Lane> reads;    ///< by the sender of the receiver's memory
};

/// The connections of an endpoint, found by a hash. Made when they are first used.
class SimFabric::Connections {
 public:
  SimConnection* find(EndpointAddress to, Channel channel) const {
    const std::uint64_t key = key_of(to, channel);
    for (std::size_t i = start(key);; i = (i + 1) & last_) {
      if (slots_[i].key == key) return slots_[i].connection;
      if (slots_[i].connection == nullptr) return nullptr;
    }
  }
  SimConnection& get(Port& from, EndpointAddress to, Channel channel) {
    SimConnection* const found = find(to, channel);
    return found != nullptr ? *found : add(from, to, channel);
  }

 private:
  /// With its key beside it: who looks for one touches no other.
  struct Slot {
    std::uint64_t key = 0;
    SimConnection* connection = nullptr;
  };
  [[gnu::noinline]] SimConnection& add(Port& from, EndpointAddress to, Channel channel) {
    if (2 * (count_ + 1) > slots_.size()) grow();
    SimConnection& made = make();
    made.to = to;
    made.channel = channel;
    made.from = &from;
    insert({key_of(to, channel), &made});
    return made;
  }
  /// Never 0.
  static std::uint64_t key_of(EndpointAddress to, Channel channel) {
    return (std::uint64_t{to.value} << 3U | static_cast<std::uint64_t>(channel)) + 1;
  }
  [[nodiscard]] std::size_t start(std::uint64_t key) const {
    return static_cast<std::size_t>((key * 0x9e3779b97f4a7c15U) >> 32U) & last_;
  }
  void insert(const Slot& slot) {
    std::size_t i = start(slot.key);
    while (slots_[i].connection != nullptr) i = (i + 1) & last_;
    slots_[i] = slot;
  }
  void grow() {
    std::vector<Slot> old(2 * slots_.size());
    old.swap(slots_);
    last_ = slots_.size() - 1;
    for (const Slot& slot : old) {
      if (slot.connection != nullptr) insert(slot);
    }
  }
  SimConnection& make() {
    constexpr std::size_t chunk = 4;
    if (count_ % chunk == 0) chunks_.push_back(std::make_unique<SimConnection[]>(chunk));
    return chunks_.back()[count_++ % chunk];
  }
  std::vector<Slot> slots_ = std::vector<Slot>(4);  // a power of two of them
  std::size_t last_ = 3;                            // of them
  std::size_t count_ = 0;
  std::vector<std::unique_ptr<SimConnection[]>> chunks_;
};

/// A packet on its way through a lane.
struct SimFabric::LaneItem {
  SimPacket* packet;
  Bytes size;
  TimePoint start;  ///< not before
  HostId from;
  HostId to;
  const Costs* costs;
  const Costs::Segment* segment;
  bool is_flow;
};

/// What an endpoint is to the fabric.
class alignas(64) SimFabric::Port {
 public:
  Port(SimFabric& fabric, EndpointAddress address, const RankPlace& place, SimWaitSet& wait_set)
      : fabric_(fabric), address_(address), place_(place), wait_set_(&wait_set) {
    wait_set.add(inbox_, place.vm);
  }

  [[nodiscard]] EndpointAddress address() const { return address_; }
  [[nodiscard]] bool is_open() const { return wait_set_ != nullptr; }
  [[nodiscard]] HostId host() const { return fabric_.host_of(place_); }

  void close();
  /// `way.known`: a connection of this port, or null.
  bool post(Way& way, const PacketHeader& header, std::span<const ConstSlice> body);
  const Arrival* poll();
  MemoryKey expose(Channel channel, std::span<const ConstSlice> memory);
  void read(EndpointAddress from, Channel channel, MemoryKey key, std::size_t offset,
            std::span<const Slice> into, std::uint64_t cookie);
  void connect(EndpointAddress to, Channel channel);
  void disconnect(EndpointAddress to, Channel channel);

  /// Something arrives here at its `at`.
  void deliver(SimPacket* packet) {
    if (!is_open()) {
      drop(packet);
      return;
    }
    inbox_.insert(packet);
    if (inbox_.first() == packet) wait_set_->expect(packet->at);
  }
  /// What nobody will poll.
  void drop(SimPacket* packet) {
    give_place(*packet);
    fabric_.pool_.give_back(packet);
  }
  /// A packet leaves by the wire no sooner than `leave`.
  void use_wire(SimConnection& connection, Port& receiver, SimPacket* packet, TimePoint leave,
                const Costs::Packet& costs);
  /// One that is a flow, or has to wait behind one.
  void use_lane(SimConnection& connection, const LaneItem& item);

 private:
  [[nodiscard]] const Costs& costs_to(const Port& other, Channel channel, bool same_host) const {
    return fabric_.costs(channel, same_host && place_.socket == other.place_.socket);
  }
  /// Whether the channel leads from here to there now.
  [[nodiscard]] bool reaches(const Port& other, Channel channel, bool same_host) const {
    if (stays_on_host(channel) && !same_host) return false;
    if (needs_one_guest(channel) && place_.vm != other.place_.vm) return false;
    return has_device_of(channel) && other.has_device_of(channel);
  }
  [[nodiscard]] bool has_device_of(Channel channel) const {
    if (!place_.vm) return true;
    const std::optional<DeviceKind> kind = device_of(channel);
    return !kind || fabric_.hypervisor_.has_usable(*place_.vm, *kind);
  }
  [[nodiscard]] std::uint32_t times_attached(Channel channel) const {
    if (!place_.vm) return 0;
    const std::optional<DeviceKind> kind = device_of(channel);
    return kind ? fabric_.hypervisor_.times_attached(*place_.vm, *kind) : 0;
  }
  /// When a path that is down would be up again.
  [[nodiscard]] TimePoint when_up(HostId from, HostId to, TimePoint at) const {
    if (fabric_.faults_.empty() || from == to) return at;
    return fabric_.faults_.up_from({fabric_.network_.index, from, to}, at);
  }
  /// A packet that goes nowhere, of which its sender does not hear.
  bool lose_packet() {
    ++fabric_.packets_lost_;
    return true;
  }
  void open_connection(SimConnection& connection, const Costs& costs, TimePoint now) {
    if (connection.open) return;
    connection.open = true;
    connection.ready = now + costs.connect;
  }
  static void give_place(SimPacket& packet) {
    SimConnection* const connection = std::exchange(packet.connection, nullptr);
    if (connection == nullptr) return;
    --connection->under_way;
    if (!connection->sender_wants_room) return;
    connection->sender_wants_room = false;
    if (connection->from->is_open()) connection->from->wait_set_->notify();
  }
  /// Finds the way as it is now.
  void find_way(SimConnection& connection) const;
  /// Whether its device neither comes nor goes at this moment, if the channel has one.
  [[nodiscard]] bool is_settled(Channel channel) const {
    if (!place_.vm) return true;
    const std::optional<DeviceKind> kind = device_of(channel);
    return !kind || fabric_.hypervisor_.has_settled(*place_.vm, *kind);
  }
  void end_read(SimPacket& packet);
  /// Ends what `peer` and this have under way over `channel`: reads of the other's memory fail.
  void break_reads(EndpointAddress peer, Channel channel);

  SimFabric& fabric_;
  EndpointAddress address_;
  RankPlace place_;
  SimWaitSet* wait_set_;  // null once closed
  PacketQueue inbox_;
  SimPacket* polled_ = nullptr;  // until the next poll
  Connections connections_;
  std::array<TimePoint, channel_count> wire_free_ = {};
};

/// Flows of one connection, one after the other, and the packets that wait behind them.
class SimFabric::Lane final : public Event {
 public:
  Lane(SimFabric& fabric, SimConnection& connection, EndpointAddress target)
      : fabric_(fabric), connection_(connection), target_(target) {}
  ~Lane() override { clear(); }

  /// One that is not used up to now keeps nothing in order.
  [[nodiscard]] bool busy() const { return !items_.empty(); }

  using Item = LaneItem;
  void add(const Item& item) {
    items_.push_back(item);
    if (items_.size() == 1) fabric_.scheduler_.schedule(*this, item.start);
  }

  /// A flow begins, or has ended.
  void fire() override {
    if (flow_ != nullptr) {
      flow_ = nullptr;
      const Item item = items_.front();
      items_.pop_front();
      SimPacket* const packet = item.packet;
      packet->at = fabric_.scheduler_.now() + item.segment->latency;
      if (packet->connection != nullptr) {
        packet->at = connection_.last = std::max(packet->at, connection_.last);
      }
      hand_over(packet);
      while (!items_.empty() && !items_.front().is_flow) {
        const Item small = items_.front();
        items_.pop_front();
        send_small(small);
      }
      if (!items_.empty()) {
        fabric_.scheduler_.schedule(*this,
                                    std::max(items_.front().start, fabric_.scheduler_.now()));
      }
      return;
    }
    const Item& item = items_.front();
    flow_ = fabric_.flows_.start({.network = fabric_.network_,
                                  .from = item.from,
                                  .to = item.to,
                                  .limit = item.segment->bandwidth},
                                 item.size, [this] {
                                   // Not from inside the flow's own end: right after.
                                   fabric_.scheduler_.schedule(*this, fabric_.scheduler_.now());
                                 });
  }

  /// Drops what has not arrived; reads fail.
  void clear() {
    if (scheduled()) fabric_.scheduler_.unschedule(*this);
    flow_ = nullptr;
    for (const Item& item : std::exchange(items_, {})) {
      if (item.packet->connection != nullptr) {
        connection_.from->drop(item.packet);
      } else {
        item.packet->arrival.kind = Arrival::Kind::read_failed;
        item.packet->at = fabric_.scheduler_.now();
        hand_over(item.packet);
      }
    }
  }

 private:
  void hand_over(SimPacket* packet) { fabric_.ports_[target_.value]->deliver(packet); }
  void send_small(const Item& item) {
    connection_.from->use_wire(connection_, *fabric_.ports_[target_.value], item.packet,
                               std::max(item.start, fabric_.scheduler_.now()),
                               item.costs->of_packet(item.packet->arrival.body_size));
  }

  SimFabric& fabric_;
  SimConnection& connection_;
  EndpointAddress target_;
  std::deque<Item> items_;  // the first one may be a flow under way
  std::unique_ptr<Flows::Background> flow_;
};

void SimFabric::Port::close() {
  while (SimPacket* const packet = inbox_.first()) {
    inbox_.remove(packet);
    drop(packet);
  }
  if (polled_ != nullptr) fabric_.pool_.give_back(std::exchange(polled_, nullptr));
  for (std::uint32_t i = 0; i < fabric_.exposures_.size(); ++i) {
    if (fabric_.exposures_[i].owner == address_) fabric_.withdraw(fabric_.key_of(i));
  }
  wait_set_->remove(inbox_);
  wait_set_ = nullptr;
  ++fabric_.closed_;
}

bool SimFabric::Port::post(Way& way, const PacketHeader& header, std::span<const ConstSlice> body) {
  const std::size_t size = total_size(body);
  ++fabric_.packets_posted_;
  const Channel channel = way.channel;
  auto* found = static_cast<SimConnection*>(way.known);
  if (found == nullptr || found->to != way.to || found->channel != channel) [[unlikely]] {
    way.known = found = &connections_.get(*this, way.to, channel);
  }
  SimConnection& connection = *found;
  if (connection.version != fabric_.version()) [[unlikely]] {
    find_way(connection);
  }
  Port* const receiver = connection.receiver;
  if (receiver == nullptr) return lose_packet();
  if (connection.under_way == room) [[unlikely]] {
    connection.sender_wants_room = true;
    --fabric_.packets_posted_;
    return false;
  }
  const Costs::Packet& costs = connection.costs->of_packet(size);
  fabric_.scheduler_.spend(costs.busy);
  if (!connection.reaches) return lose_packet();
  const TimePoint now = fabric_.scheduler_.local_now();
  open_connection(connection, *connection.costs, now);
  TimePoint leave = std::max(now, connection.ready);
  if (!connection.on_one_host && !fabric_.faults_.empty()) [[unlikely]] {
    leave = when_up(host(), receiver->host(), leave);
    if (leave == TimePoint::never()) return lose_packet();
  }

  SimPacket* const packet = fabric_.pool_.take();
  packet->arrival.kind = Arrival::Kind::packet;
  packet->arrival.channel = channel;
  packet->arrival.from = address_;
  packet->arrival.header = header;
  packet->set_body(body, size);
  packet->connection = &connection;
  packet->cost = costs.busy;
  packet->version = connection.version;
  packet->times_attached = connection.times_attached;
  ++connection.under_way;

  const bool is_flow = size >= large.count() && !connection.on_one_host;
  if (is_flow || connection.packets) [[unlikely]] {
    if (is_flow || connection.packets->busy()) {
      use_lane(connection, {packet, Bytes(size), leave, host(), receiver->host(), connection.costs,
                            costs.segment, is_flow});
      return true;
    }
  }
  use_wire(connection, *receiver, packet, leave, costs);
  return true;
}

[[gnu::noinline]] void SimFabric::Port::find_way(SimConnection& connection) const {
  connection.version = 0;
  Port* const receiver = fabric_.find_open(connection.to);
  connection.receiver = receiver;
  if (receiver == nullptr) return;
  const Channel channel = connection.channel;
  const bool on_one_host = host() == receiver->host();
  connection.on_one_host = on_one_host;
  connection.costs = &costs_to(*receiver, channel, on_one_host);
  connection.reaches = reaches(*receiver, channel, on_one_host);
  connection.times_attached = receiver->times_attached(channel);
  if (is_settled(channel) && receiver->is_settled(channel)) connection.version = fabric_.version();
}

[[gnu::noinline]] void SimFabric::Port::use_lane(SimConnection& connection, const LaneItem& item) {
  if (!connection.packets) {
    connection.packets = std::make_unique<Lane>(fabric_, connection, connection.to);
  }
  connection.packets->add(item);
}

void SimFabric::Port::use_wire(SimConnection& connection, Port& receiver, SimPacket* packet,
                               TimePoint leave, const Costs::Packet& costs) {
  TimePoint& free = wire_free_[static_cast<std::size_t>(connection.channel)];
  leave = std::max(leave, free);
  // One that waits for its connection does not keep the wire from the others.
  if (connection.ready <= fabric_.scheduler_.local_now()) free = leave + costs.takes_wire;
  packet->at = std::max(leave + costs.on_way, connection.last);
  connection.last = packet->at;
  receiver.deliver(packet);
}

const Arrival* SimFabric::Port::poll() {
  if (polled_ != nullptr) fabric_.pool_.give_back(std::exchange(polled_, nullptr));
  const TimePoint now = fabric_.scheduler_.local_now();
  for (;;) {
    SimPacket* const packet = inbox_.first();
    if (packet == nullptr || packet->at > now) return nullptr;
    inbox_.remove(packet);
    give_place(*packet);
    const Channel channel = packet->arrival.channel;
    const bool there =
        packet->version == fabric_.version() ||
        (has_device_of(channel) && packet->times_attached == times_attached(channel));
    if (packet->arrival.kind != Arrival::Kind::packet) {
      if (!there) packet->arrival.kind = Arrival::Kind::read_failed;
      end_read(*packet);
    } else if (!there) {
      ++fabric_.packets_lost_;
      fabric_.pool_.give_back(packet);
      continue;
    }
    fabric_.scheduler_.spend(packet->cost);
    polled_ = packet;
    return &packet->arrival;
  }
}

MemoryKey SimFabric::Port::expose(Channel channel, std::span<const ConstSlice> memory) {
  // By locality a channel's registration does not differ.
  const Costs& costs = fabric_.costs(channel, false);
  check(costs.reads, "memory is exposed only by channels that read");
  fabric_.scheduler_.spend(costs.registration + rounded(static_cast<double>(total_size(memory)) *
                                                        costs.registration_nanoseconds_per_byte));
  if (fabric_.free_exposures_.empty()) {
    fabric_.free_exposures_.push_back(static_cast<std::uint32_t>(fabric_.exposures_.size()));
    fabric_.exposures_.emplace_back();
  }
  const std::uint32_t index = fabric_.free_exposures_.back();
  fabric_.free_exposures_.pop_back();
  Exposure& exposure = fabric_.exposures_[index];
  ++exposure.generation;
  exposure.owner = address_;
  exposure.memory.assign(memory.begin(), memory.end());
  return fabric_.key_of(index);
}

void SimFabric::Port::read(EndpointAddress from, Channel channel, MemoryKey key, std::size_t offset,
                           std::span<const Slice> into, std::uint64_t cookie) {
  const std::size_t size = total_size(into);
  SimPacket* const packet = fabric_.pool_.take();
  packet->arrival.kind = Arrival::Kind::read_done;
  packet->arrival.channel = channel;
  packet->arrival.from = from;
  packet->arrival.cookie = cookie;
  packet->arrival.body = {};
  packet->arrival.body_size = size;
  packet->connection = nullptr;
  packet->cost = Duration::zero();
  packet->version = 0;
  packet->times_attached = times_attached(channel);
  packet->key = key;
  packet->offset = offset;
  packet->into.assign(into.begin(), into.end());

  Port* const owner = fabric_.find_open(from);
  const auto fail = [&] {
    packet->arrival.kind = Arrival::Kind::read_failed;
    packet->at = fabric_.scheduler_.local_now();
    deliver(packet);
  };
  if (owner == nullptr) return fail();
  const HostId here = host();
  const HostId there = owner->host();
  const Costs& costs = costs_to(*owner, channel, here == there);
  check(costs.reads, "a channel reads only if its profile says so");
  const Costs::Segment& segment = costs.segment_for(size);
  const Duration asks = costs.segments.front().latency;  // what goes there is a packet of nothing
  fabric_.scheduler_.spend(segment.overhead);
  if (!reaches(*owner, channel, here == there)) return fail();
  const TimePoint now = fabric_.scheduler_.local_now();
  SimConnection& connection = connections_.get(*this, from, channel);
  open_connection(connection, costs, now);
  const TimePoint leave = when_up(here, there, std::max(now, connection.ready));
  if (leave == TimePoint::never()) return fail();
  if (size >= large.count() && here != there) {
    if (!connection.reads) connection.reads = std::make_unique<Lane>(fabric_, connection, address_);
    connection.reads->add({packet, Bytes(size), leave + asks, there, here, &costs, &segment, true});
    return;
  }
  TimePoint& free = wire_free_[static_cast<std::size_t>(channel)];
  const Duration on_wire = rounded(static_cast<double>(size) * segment.nanoseconds_per_byte);
  const TimePoint begin = std::max(leave, free);
  free = begin + std::max(segment.gap, on_wire);
  packet->at = begin + asks + on_wire + segment.latency;
  deliver(packet);
}

void SimFabric::Port::end_read(SimPacket& packet) {
  if (packet.arrival.kind != Arrival::Kind::read_done) return;
  const Exposure* const exposure = fabric_.find_exposure(packet.key);
  if (exposure == nullptr || exposure->owner != packet.arrival.from ||
      packet.offset + packet.arrival.body_size >
          total_size(std::span<const ConstSlice>(exposure->memory))) {
    packet.arrival.kind = Arrival::Kind::read_failed;
    return;
  }
  copy(exposure->memory, packet.offset, packet.into);
}

void SimFabric::Port::connect(EndpointAddress to, Channel channel) {
  Port* const receiver = fabric_.find_open(to);
  if (receiver == nullptr) return;
  open_connection(connections_.get(*this, to, channel),
                  costs_to(*receiver, channel, host() == receiver->host()),
                  fabric_.scheduler_.local_now());
}

void SimFabric::Port::disconnect(EndpointAddress to, Channel channel) {
  if (SimConnection* const connection = connections_.find(to, channel)) {
    connection->open = false;
    connection->packets = nullptr;
    connection->reads = nullptr;
  }
  for (SimPacket* packet = inbox_.first(); packet != nullptr;) {
    SimPacket* const next = packet->next;
    if (packet->arrival.kind == Arrival::Kind::packet && packet->arrival.from == to &&
        packet->arrival.channel == channel) {
      inbox_.remove(packet);
      drop(packet);
    }
    packet = next;
  }
  break_reads(to, channel);
  if (to.value >= fabric_.ports_.size()) return;
  Port& peer = *fabric_.ports_[to.value];
  if (SimConnection* const back = peer.connections_.find(address_, channel)) {
    back->packets = nullptr;
    back->reads = nullptr;
  }
  peer.break_reads(address_, channel);
}

void SimFabric::Port::break_reads(EndpointAddress peer, Channel channel) {
  for (SimPacket* packet = inbox_.first(); packet != nullptr; packet = packet->next) {
    if (packet->arrival.kind == Arrival::Kind::read_done && packet->arrival.from == peer &&
        packet->arrival.channel == channel) {
      packet->arrival.kind = Arrival::Kind::read_failed;
    }
  }
}

class SimFabric::OpenPort final : public Endpoint {
 public:
  OpenPort(SimFabric& fabric, Port& port) : fabric_(fabric), port_(port) {}
  ~OpenPort() override { port_.close(); }
  OpenPort(const OpenPort&) = delete;
  OpenPort& operator=(const OpenPort&) = delete;

  [[nodiscard]] EndpointAddress address() const override { return port_.address(); }
  [[nodiscard]] bool post(EndpointAddress to, Channel channel, const PacketHeader& header,
                          std::span<const ConstSlice> body) override {
    Way way{to, channel};
    return port_.post(way, header, body);
  }
  [[nodiscard]] bool post_along(Way& way, const PacketHeader& header,
                                std::span<const ConstSlice> body) override {
    return port_.post(way, header, body);
  }
  // The receiver's side is left alone: to fetch that too makes an allreduce among 512 ranks slower.
  void fetch(const Way& way) const override {
    if (way.known != nullptr) fetch_lines(way.known, 1);
  }
  [[nodiscard]] std::size_t largest_body(Channel channel) const override {
    return fabric_.costs(channel, false).largest_body;
  }
  [[nodiscard]] const Arrival* poll() override { return port_.poll(); }
  [[nodiscard]] MemoryKey expose(Channel channel, std::span<const ConstSlice> memory) override {
    return port_.expose(channel, memory);
  }
  void withdraw(MemoryKey key) override { fabric_.withdraw(key); }
  void read(EndpointAddress from, Channel channel, MemoryKey key, std::size_t offset,
            std::span<const Slice> into, std::uint64_t cookie) override {
    port_.read(from, channel, key, offset, into, cookie);
  }
  void connect(EndpointAddress to, Channel channel) override { port_.connect(to, channel); }
  void disconnect(EndpointAddress to, Channel channel) override { port_.disconnect(to, channel); }

 private:
  SimFabric& fabric_;
  Port& port_;
};

SimFabric::Costs::Costs(const TransportProfile& profile)
    : copy_nanoseconds_per_byte(nanoseconds_per_byte(profile.copy)),
      registration_nanoseconds_per_byte(nanoseconds_per_byte(profile.registration_bandwidth)),
      registration(profile.registration),
      connect(profile.connect),
      largest_body(profile.largest_packet.count()),
      reads(profile.reads) {
  check(!profile.segments.empty() && profile.segments.front().from_size == Bytes(0),
        "a transport profile's first segment starts at zero bytes");
  for (const TransportSegment& segment : profile.segments) {
    segments.push_back({segment.from_size.count(), segment.latency, segment.overhead, segment.gap,
                        nanoseconds_per_byte(segment.bandwidth), segment.bandwidth});
  }
}

SimFabric::SimFabric(Scheduler& scheduler, Flows& flows, SimHypervisor& hypervisor,
                     const Instance& instance, const ChannelProfiles& profiles)
    : scheduler_(scheduler),
      flows_(flows),
      hypervisor_(hypervisor),
      faults_(instance),
      profiles_(profiles),
      network_(flows.network_for_messages()) {
  check(!instance.networks.empty(), "a world has a network");
  for (const Channel channel : all_channels) {
    for (const bool same_socket : {false, true}) {
      const TransportProfile* const profile = profiles_.find(channel, same_socket);
      if (profile == nullptr) continue;
      costs_[2 * static_cast<std::size_t>(channel) + (same_socket ? 1 : 0)] =
          std::make_unique<Costs>(*profile);
    }
  }
}

SimFabric::~SimFabric() = default;

void SimFabric::Costs::reckon(std::size_t size) const {
  check(size <= largest_body, "a packet's body is no larger than its channel carries");
  const Segment& segment = segment_for(size);
  const Duration copied = rounded(static_cast<double>(size) * copy_nanoseconds_per_byte);
  const Duration on_wire = rounded(static_cast<double>(size) * segment.nanoseconds_per_byte);
  latest_ = {.size = size,
             .busy = segment.overhead + copied,
             .on_way = segment.latency + on_wire,
             .takes_wire = std::max(segment.gap, on_wire),
             .segment = &segment};
}

SimFabric::Port* SimFabric::find_open(EndpointAddress address) const {
  if (address.value >= ports_.size()) return nullptr;
  Port* const port = ports_[address.value].get();
  return port->is_open() ? port : nullptr;
}

const SimFabric::Costs& SimFabric::costs(Channel channel, bool same_socket) const {
  const auto& found = costs_[2 * static_cast<std::size_t>(channel) + (same_socket ? 1 : 0)];
  check(found != nullptr, "only channels are used for which the world has a profile");
  return *found;
}

SimFabric::Exposure* SimFabric::find_exposure(MemoryKey key) {
  const auto index = static_cast<std::uint32_t>(key.value);
  const auto generation = static_cast<std::uint32_t>(key.value >> 32U);
  if (index >= exposures_.size() || exposures_[index].generation != generation) return nullptr;
  return generation % 2 == 1 ? &exposures_[index] : nullptr;
}

void SimFabric::withdraw(MemoryKey key) {
  Exposure* const exposure = find_exposure(key);
  if (exposure == nullptr) return;
  ++exposure->generation;
  exposure->memory.clear();
  free_exposures_.push_back(static_cast<std::uint32_t>(key.value));
}

std::unique_ptr<WaitSet> SimFabric::make_wait_set() {
  return std::make_unique<SimWaitSet>(scheduler_, hypervisor_);
}

std::unique_ptr<Endpoint> SimFabric::open(const RankPlace& place, WaitSet& wait_set) {
  auto* const ours = dynamic_cast<SimWaitSet*>(&wait_set);
  check(ours != nullptr, "an endpoint's wait set is of the same fabric");
  const EndpointAddress address{static_cast<std::uint32_t>(ports_.size())};
  ports_.push_back(std::make_unique<Port>(*this, address, place, *ours));
  return std::make_unique<OpenPort>(*this, *ports_.back());
}

}  // namespace ferry
