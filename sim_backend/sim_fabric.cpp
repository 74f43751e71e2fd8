#include "sim_backend/sim_fabric.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "core/units/check.hpp"

namespace ferry {

/// What an endpoint is to the fabric. Posted messages wait in `outgoing_` for the wire, then are on
/// it
/// (`sent_`, in the order of posting), and end in the receiver's `arrived_`.
class SimFabric::Port {
 public:
  Port(SimFabric& fabric, EndpointAddress address, HostId host, TransportProfile profile)
      : fabric_(fabric), address_(address), host_(host), profile_(std::move(profile)) {}

  [[nodiscard]] EndpointAddress address() const { return address_; }
  [[nodiscard]] bool open() const { return open_; }

  /// Nothing more is posted or received here; what was posted is still delivered.
  void close() {
    open_ = false;
    arrived_.clear();
    while (!waiting_for_place_.empty()) wake_first(waiting_for_place_);
    while (!receivers_.empty()) wake_first(receivers_);
    drop_if_done();
  }

  Result<> post(EndpointAddress to, Bytes size, std::vector<std::byte> payload,
                TimePoint deadline) {
    check(payload.empty() || payload.size() == size.count(),
          "a message's payload is empty or exactly its size");
    for (;;) {
      Port* const receiver = fabric_.find_open(to);
      if (receiver == nullptr) return nobody(to);
      if (receiver->occupied_ < queue_capacity) {
        ++receiver->occupied_;
        break;
      }
      const Wake wake = fabric_.scheduler_.block("room in a receiver's queue", deadline,
                                                 Cancellable::yes, &receiver->waiting_for_place_);
      if (wake != Wake::ready) return interrupted(wake, "sending");
    }
    const Duration overhead = profile_.segment_for(size).overhead;
    const Wake wake = fabric_.scheduler_.block(
        "the sending of a message", fabric_.scheduler_.now() + overhead, Cancellable::yes);
    Port* const receiver = fabric_.find_open(to);
    if (receiver == nullptr) return nobody(to);
    if (wake == Wake::cancelled) {
      receiver->give_place();
      return interrupted(wake, "sending");
    }
    outgoing_.push_back({to, Message{.from = address_,
                                     .sequence = next_sequence_[to]++,
                                     .size = size,
                                     .payload = std::move(payload)}});
    if (!wire_busy_) use_wire();
    return {};
  }

  Result<Message> receive(TimePoint deadline) {
    while (arrived_.empty()) {
      const Wake wake =
          fabric_.scheduler_.block("a message", deadline, Cancellable::yes, &receivers_);
      if (wake != Wake::ready) return interrupted(wake, "receiving");
      check(open_, "an endpoint was closed while a task received on it");
    }
    Arrived arrived = std::move(arrived_.front());
    arrived_.pop_front();
    give_place();
    fabric_.scheduler_.block("the receiving of a message",
                             fabric_.scheduler_.now() + arrived.overhead, Cancellable::no);
    return std::move(arrived.message);
  }

 private:
  struct Outgoing {
    EndpointAddress to;
    Message message;
  };
  struct Sent {
    EndpointAddress to;
    Message message;
    Duration overhead;  // of the receiver
    TimePoint at;       // of its arrival
  };
  struct Arrived {
    Message message;
    Duration overhead;
  };
  struct WireFree final : Event {
    explicit WireFree(Port& owner) : port(owner) {}
    void fire() override { port.wire_free(); }
    Port& port;
  };
  struct Arrival final : Event {
    explicit Arrival(Port& owner) : port(owner) {}
    void fire() override { port.arrive(); }
    Port& port;
  };

  static tl::unexpected<Failure> interrupted(Wake wake, const char* what) {
    return wake == Wake::cancelled
               ? failure(FailureKind::cancelled, fmt::format("{} was cancelled", what))
               : failure(FailureKind::timed_out, fmt::format("{} did not end in time", what));
  }
  static tl::unexpected<Failure> nobody(EndpointAddress to) {
    return failure(FailureKind::refused, fmt::format("there is no endpoint {}", to.value));
  }

  void wake_first(WaitList& list) { fabric_.scheduler_.wake(*list.first(), Wake::ready); }

  void give_place() {
    --occupied_;
    if (!waiting_for_place_.empty()) wake_first(waiting_for_place_);
  }

  /// Puts the oldest outgoing message on the wire.
  void use_wire() {
    Outgoing next = std::move(outgoing_.front());
    outgoing_.pop_front();
    wire_busy_ = true;
    const Port* const receiver = fabric_.find_open(next.to);
    const HostId there = receiver != nullptr ? receiver->host_ : host_;
    const Bytes size = next.message.size;
    const TransportSegment& segment = profile_.segment_for(size);
    const TimePoint now = fabric_.scheduler_.now();
    if (size >= large && there != host_) {
      on_flow_ = Sent{next.to, std::move(next.message), segment.overhead, now + segment.latency};
      flow_began_ = now;
      flow_ = fabric_.flows_.start(
          {.network = fabric_.network_, .from = host_, .to = there, .limit = segment.bandwidth},
          size, [this] { flow_done(); });
    } else {
      const Duration on_wire = size / segment.bandwidth;
      send_off(
          {next.to, std::move(next.message), segment.overhead, now + on_wire + segment.latency});
      fabric_.scheduler_.schedule(wire_free_, now + std::max(segment.gap, on_wire));
    }
  }

  void flow_done() {
    on_flow_.at = on_flow_.at + (fabric_.scheduler_.now() - flow_began_);
    send_off(std::move(on_flow_));
    // Not from inside the flow's own end: the event comes right after.
    fabric_.scheduler_.schedule(wire_free_, fabric_.scheduler_.now());
  }

  void wire_free() {
    flow_ = nullptr;
    wire_busy_ = false;
    if (!outgoing_.empty()) use_wire();
    drop_if_done();
  }

  /// No message overtakes an earlier one, though its latency be less.
  void send_off(Sent message) {
    if (!sent_.empty()) message.at = std::max(message.at, sent_.back().at);
    sent_.push_back(std::move(message));
    if (!arrival_.scheduled()) fabric_.scheduler_.schedule(arrival_, sent_.front().at);
  }

  void arrive() {
    Sent message = std::move(sent_.front());
    sent_.pop_front();
    if (!sent_.empty()) fabric_.scheduler_.schedule(arrival_, sent_.front().at);
    if (Port* const receiver = fabric_.find_open(message.to)) {
      receiver->arrived_.push_back({std::move(message.message), message.overhead});
      if (!receiver->receivers_.empty()) receiver->wake_first(receiver->receivers_);
    }
    drop_if_done();
  }

  void drop_if_done() {
    if (open_ || wire_busy_ || !outgoing_.empty() || !sent_.empty()) return;
    fabric_.ports_[address_.value] = nullptr;  // this port is gone
  }

  SimFabric& fabric_;
  EndpointAddress address_;
  HostId host_;
  TransportProfile profile_;
  bool open_ = true;

  std::map<EndpointAddress, std::uint64_t> next_sequence_;
  std::deque<Outgoing> outgoing_;
  bool wire_busy_ = false;
  WireFree wire_free_{*this};
  std::unique_ptr<Flows::Background> flow_;
  Sent on_flow_;
  TimePoint flow_began_;
  std::deque<Sent> sent_;
  Arrival arrival_{*this};

  std::size_t occupied_ = 0;  // messages for here that were posted and not received
  WaitList waiting_for_place_;
  std::deque<Arrived> arrived_;
  WaitList receivers_;
};

class SimFabric::OpenPort final : public Endpoint {
 public:
  explicit OpenPort(Port& port) : port_(port) {}
  ~OpenPort() override { port_.close(); }
  [[nodiscard]] EndpointAddress address() const override { return port_.address(); }
  Result<> post(EndpointAddress to, Bytes size, std::vector<std::byte> payload,
                TimePoint deadline) override {
    return port_.post(to, size, std::move(payload), deadline);
  }
  Result<Message> receive(TimePoint deadline) override { return port_.receive(deadline); }

 private:
  Port& port_;
};

SimFabric::SimFabric(Scheduler& scheduler, Flows& flows, const Instance& instance)
    : scheduler_(scheduler),
      flows_(flows),
      network_(flows.network_for(Transport::rdma).value_or(NetworkId{0})) {
  check(!instance.networks.empty(), "a world has a network");
}

SimFabric::~SimFabric() = default;

SimFabric::Port* SimFabric::find_open(EndpointAddress address) const {
  if (address.value >= ports_.size()) return nullptr;
  Port* const port = ports_[address.value].get();
  return port != nullptr && port->open() ? port : nullptr;
}

std::unique_ptr<Endpoint> SimFabric::open(HostId host, const TransportProfile& profile) {
  const EndpointAddress address{static_cast<std::uint32_t>(ports_.size())};
  ports_.push_back(std::make_unique<Port>(*this, address, host, profile));
  return std::make_unique<OpenPort>(*ports_.back());
}

}  // namespace ferry
