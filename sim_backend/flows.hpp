// Transfers that share links: the only thing of a run that the engine (SimGrid) computes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "core/ports/types.hpp"
#include "core/record/link_usage.hpp"
#include "core/scenario/instance.hpp"
#include "core/units/units.hpp"
#include "sim_backend/scheduler.hpp"
#include "sim_backend/sim_world.hpp"

namespace ferry {

/// Index in `Instance::networks`.
using NetworkId = Id<struct NetworkTag>;

struct Path {
  NetworkId network;
  HostId from;
  HostId to;                                 ///< another host
  Bandwidth limit = Bandwidth::unlimited();  ///< a flow on it never gets more
};

enum class FlowOutcome { done, timed_out, cancelled };

struct FlowEnd {
  FlowOutcome outcome = FlowOutcome::done;
  Bytes bytes;  ///< transferred
  Bandwidth
      rate;  ///< the flow's share when it ended; it is constant between changes of other flows
};

/// Networks and flows of one simulation. While a link of its path is down a flow stands still.
/// Latencies are not in here: a caller that pays one sleeps
/// `latency`, so that the successive parts of one stream do not pay it again.
class Flows {
 public:
  /// Builds every network as a zone of its own, with one engine host for each of our hosts. Throws
  /// `WorldError` if a topology does not hold the hosts.
  Flows(Scheduler& scheduler, const Instance& instance, const SimOptions& options);
  ~Flows();
  Flows(const Flows&) = delete;
  Flows& operator=(const Flows&) = delete;

  /// The first network that carries `transport`.
  [[nodiscard]] std::optional<NetworkId> network_for(Transport transport) const;
  /// The first network that carries messages of jobs; if none does, the one for rdma, else the
  /// first.
  [[nodiscard]] NetworkId network_for_messages() const;
  [[nodiscard]] Bandwidth link_bandwidth(NetworkId network) const;
  /// Sum over the links of the path.
  [[nodiscard]] Duration latency(NetworkId network, HostId from, HostId to) const;
  /// Streams and background flows that leave `host`, and that arrive there.
  [[nodiscard]] std::uint32_t flows_out(NetworkId network, HostId host) const;
  [[nodiscard]] std::uint32_t flows_in(NetworkId network, HostId host) const;

  /// Data that one task sends in parts. Parts that follow each other without a pause are one and
  /// the same communication of the engine: the first costs it some microseconds, each more a
  /// fraction of one, and other flows' shares do not change in between.
  class Stream {
   public:
    Stream(Flows& flows, const Path& path);
    ~Stream();
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    /// Blocks the calling task until the last byte is through, or until the deadline or its
    /// cancellation stops the part.
    FlowEnd send(Bytes bytes, TimePoint deadline, Cancellable cancellable = Cancellable::yes);

   private:
    Flows& flows_;
    std::uint32_t slot_;
  };

  /// A flow that no task waits for; destruction stops it.
  class Background {
   public:
    ~Background();
    Background(const Background&) = delete;
    Background& operator=(const Background&) = delete;

   private:
    friend class Flows;
    Background(Flows& flows, std::uint32_t slot) : flows_(flows), slot_(slot) {}
    Flows& flows_;
    std::uint32_t slot_;
  };
  /// `on_end` is called from outside any task once the last byte is through; it must not destroy
  /// the `Background`.
  [[nodiscard]] std::unique_ptr<Background> start(const Path& path, Bytes bytes,
                                                  std::function<void()> on_end);

  /// Drives scheduler and engine until no task is left. Throws `WorldError` on a deadlock.
  void run();

  [[nodiscard]] std::uint64_t flows_started() const;  ///< parts of streams count
  [[nodiscard]] std::uint64_t engine_steps() const;
  /// Empty unless `SimOptions::link_usage`.
  [[nodiscard]] LinkUsage link_usage() const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace ferry
