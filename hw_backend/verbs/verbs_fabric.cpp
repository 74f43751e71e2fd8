#include "hw_backend/verbs/verbs_fabric.hpp"

#include "core/ports/world_error.hpp"

namespace ferry::verbs {
namespace {

/// With what belongs to it.
class OwningEndpoint final : public Endpoint {
 public:
  OwningEndpoint(const VerbsSettings& settings, std::unique_ptr<Bootstrap> bootstrap,
                 EventWaitSet& wait_set)
      : bootstrap_(std::move(bootstrap)),
        wait_set_(wait_set),
        endpoint_(make_verbs_endpoint(settings, *bootstrap_, wait_set)) {
    if (const Result<> opened = endpoint_->open_device(); !opened) {
      throw WorldError(opened.error().reason);
    }
    wait_set_.watch(*endpoint_);
  }
  ~OwningEndpoint() override { wait_set_.forget(*endpoint_); }
  OwningEndpoint(const OwningEndpoint&) = delete;
  OwningEndpoint& operator=(const OwningEndpoint&) = delete;

  [[nodiscard]] EndpointAddress address() const override { return endpoint_->address(); }
  [[nodiscard]] bool post(EndpointAddress to, Channel channel, const PacketHeader& header,
                          std::span<const ConstSlice> body) override {
    return endpoint_->post(to, channel, header, body);
  }
  [[nodiscard]] std::size_t largest_body(Channel channel) const override {
    return endpoint_->largest_body(channel);
  }
  [[nodiscard]] const Arrival* poll() override { return endpoint_->poll(); }
  [[nodiscard]] MemoryKey expose(Channel channel, std::span<const ConstSlice> memory) override {
    return endpoint_->expose(channel, memory);
  }
  void withdraw(MemoryKey key) override { endpoint_->withdraw(key); }
  void read(EndpointAddress from, Channel channel, MemoryKey key, std::size_t offset,
            std::span<const Slice> into, std::uint64_t cookie) override {
    endpoint_->read(from, channel, key, offset, into, cookie);
  }
  void connect(EndpointAddress to, Channel channel) override { endpoint_->connect(to, channel); }
  void disconnect(EndpointAddress to, Channel channel) override {
    endpoint_->disconnect(to, channel);
  }

 private:
  std::unique_ptr<Bootstrap> bootstrap_;
  EventWaitSet& wait_set_;
  std::unique_ptr<VerbsEndpoint> endpoint_;
};

/// Order of magnitude of FDR adapters (assumed; calibration replaces it).
TransportProfile assumed_profile(const VerbsSettings& settings) {
  TransportProfile profile;
  profile.segments = {{Bytes(), Duration::nanoseconds(900), Duration::nanoseconds(300),
                       Duration::nanoseconds(200), Bandwidth::bytes_per_second(6e9)}};
  profile.largest_packet = Bytes(settings.largest_body);
  profile.reads = true;
  return profile;
}

}  // namespace

VerbsFabric::VerbsFabric(VerbsSettings settings, MakeBootstrap make_bootstrap,
                         const ThreadClock& clock)
    : settings_(std::move(settings)),
      make_bootstrap_(std::move(make_bootstrap)),
      clock_(clock),
      profile_(assumed_profile(settings_)) {}
VerbsFabric::~VerbsFabric() = default;

std::unique_ptr<WaitSet> VerbsFabric::make_wait_set() {
  return std::make_unique<EventWaitSet>(clock_);
}

std::unique_ptr<Endpoint> VerbsFabric::open(const RankPlace& /*place*/, WaitSet& wait_set) {
  return std::make_unique<OwningEndpoint>(settings_, make_bootstrap_(),
                                          static_cast<EventWaitSet&>(wait_set));
}

const TransportProfile* VerbsFabric::profile(Channel channel, bool /*same_socket*/) const {
  const bool by_adapter =
      channel != Channel::shm && channel != Channel::cma && channel != Channel::ivshmem;
  return by_adapter ? &profile_ : nullptr;
}

}  // namespace ferry::verbs
