// The fabric of ranks behind RDMA devices: reliable connections by libibverbs, one for each pair of
// ranks and channel, made when first used, set up by messages of the bootstrap.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "core/ports/bootstrap.hpp"
#include "core/ports/fabric.hpp"
#include "hw_backend/threads/thread_executor.hpp"
#include "hw_backend/verbs/device_search.hpp"
#include "hw_backend/waiting/event_wait_set.hpp"

namespace ferry::verbs {

struct VerbsSettings {
  DeviceChoice device;
  /// What a peer may have on its way to a rank, and what waits there: packets of at most so many
  /// bytes of body. A connection takes twice their product of registered memory. The same in all
  /// ranks of a job.
  std::uint32_t window = 64;
  std::uint32_t largest_body = 8192;
  /// Of memory that was read or exposed; kept registered for the next time. Zero: nothing is kept.
  Bytes registrations_kept = Bytes::mebi(256);
  /// For the device and its port to be usable, at the opening.
  Duration patience = Duration::milliseconds(60'000);
  /// Without an answer from the other side a connection breaks, and is made anew.
  std::uint8_t timeout_exponent = 16;  ///< 4.096 us times 2 to this, as in the InfiniBand standard
  std::uint8_t retries = 7;
};

/// What an endpoint has done since it was opened; for benchmarks and tests.
struct VerbsCounts {
  std::uint64_t packets_posted = 0;
  std::uint64_t packets_arrived = 0;
  std::uint64_t packets_without_head = 0;  ///< of those that left
  std::uint64_t credit_messages = 0;       ///< that carry nothing else
  std::uint64_t send_doorbells = 0;        ///< calls of ibv_post_send
  std::uint64_t receive_doorbells = 0;     ///< calls of ibv_post_recv
  std::uint64_t completions = 0;           ///< taken from the completion queue
  std::uint64_t notifications_asked = 0;
  std::uint64_t connections_made = 0;
  std::uint64_t connections_broken = 0;
  std::uint64_t packets_sent_again = 0;
  std::uint64_t registrations = 0;
  std::uint64_t registrations_refused = 0;
};

/// A rank's endpoint; its address is its rank. All channels go by the same device, each by
/// connections of its own.
class VerbsEndpoint : public Endpoint, public EventSource {
 public:
  /// Frees everything of the device and closes it: it can be unplugged. Connections stay open for
  /// those who use them: what is posted waits, what was exposed is exposed again later, what peers
  /// ask is answered later; reads fail. Blocks for milliseconds.
  virtual void close_device() = 0;
  /// Finds the device again and waits until its port is ACTIVE and has its addresses; connections
  /// that are wanted are made. Blocks for up to `patience` of the settings. On failure it stays
  /// closed, and this may be tried again.
  /// The P_Key stays what it was at the first opening, since that of the peers does.
  [[nodiscard]] virtual Result<> open_device() = 0;
  /// The same with another patience.
  [[nodiscard]] virtual Result<> open_device_within(Duration patience) = 0;
  [[nodiscard]] virtual bool device_is_open() const = 0;
  /// What it is called now; empty while it is closed.
  [[nodiscard]] virtual std::string device_name() const = 0;
  /// Why the last connection failed, or could not be made; empty if none has.
  [[nodiscard]] virtual std::string problem() const = 0;
  /// Why memory of messages could not be registered, the first time; empty if all could. What is
  /// exposed has no key then, and what is read comes by buffers: slower, but it comes.
  [[nodiscard]] virtual std::string refused_registration() const = 0;

  /// Memory that is about to be unmapped: its registration must not be kept.
  virtual void forget_memory(ConstSlice memory) = 0;
  [[nodiscard]] virtual VerbsCounts counts() const = 0;
  /// Tests: the connection breaks as if its device had given up.
  virtual void break_connection(EndpointAddress to, Channel channel) = 0;
};

class VerbsFabric final : public Fabric {
 public:
  /// Where an endpoint gets its bootstrap from: once for each.
  using MakeBootstrap = std::function<std::unique_ptr<Bootstrap>()>;
  /// `clock` is what deadlines refer to.
  VerbsFabric(VerbsSettings settings, MakeBootstrap make_bootstrap, const ThreadClock& clock);
  ~VerbsFabric() override;
  [[nodiscard]] std::unique_ptr<WaitSet> make_wait_set() override;
  /// With a wait set of `make_wait_set`. Throws WorldError if the device cannot be opened.
  [[nodiscard]] std::unique_ptr<Endpoint> open(const RankPlace& place, WaitSet& wait_set) override;
  /// Until calibration says better, of all channels that go by adapters.
  [[nodiscard]] const TransportProfile* profile(Channel channel, bool same_socket) const override;

 private:
  VerbsSettings settings_;
  MakeBootstrap make_bootstrap_;
  const ThreadClock& clock_;
  TransportProfile profile_;
};

/// An endpoint by itself, for who joins it with other channels: `bootstrap` and `wakes` outlive it;
/// `wakes` is notified of what its own thread finds, which makes connections while the rank
/// computes. It is not yet opened: call `open_device`. Watch it, as an EventSource, by the wait
/// set.
[[nodiscard]] std::unique_ptr<VerbsEndpoint> make_verbs_endpoint(const VerbsSettings& settings,
                                                                 Bootstrap& bootstrap,
                                                                 WaitSet& wakes);

}  // namespace ferry::verbs
