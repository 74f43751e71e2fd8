// The port `Fabric` of the simulated world.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/faults/cluster_faults.hpp"
#include "core/ports/fabric.hpp"
#include "sim_backend/flows.hpp"
#include "sim_backend/packets.hpp"
#include "sim_backend/scheduler.hpp"
#include "sim_backend/sim_hypervisor.hpp"

namespace ferry {

/// A packet costs what the profile of its channel says between the places where both ranks are when
/// it is posted. Its sender is busy for o and the copy into the channel; it leaves then, or when
/// the endpoint's wire of that channel is free, which it takes for max(g, size/bandwidth); it
/// arrives L + size/bandwidth after it left; the receiver is busy for o and the copy out when it
/// polls it. Being busy is `Scheduler::spend`, so that a packet is an event only where somebody
/// waits for it.
///
/// What is `large` and goes to another host is a flow on the network that carries mpi (else rdma,
/// else the first network), no faster than the profile's bandwidth, and so shares links with
/// migrations; L comes after it. One connection sends one after the other, several share as the
/// engine has it. Reads likewise, with the L of a packet of nothing for the way there before; those
/// that are no flows take the reader's wire. Over a path that is down packets wait, as flows do.
///
/// A virtual function that is not there when a packet is posted, or that is not the same any more
/// when it would be polled, loses it (channels sriov, sriov_loopback, passthrough); the device
/// ivshmem likewise; and so does a channel that does not reach from the one place to the other.
class SimFabric final : public Fabric {
 public:
  /// From here on what goes to another host occupies links. Below it costs too little of them for
  /// too many engine steps.
  static constexpr Bytes large = Bytes::kibi(64);
  /// Packets of one endpoint to another over one channel that were posted and not polled; `post`
  /// finds no room for more.
  static constexpr std::uint32_t room = 1024;

  SimFabric(Scheduler& scheduler, Flows& flows, SimHypervisor& hypervisor, const Instance& instance,
            const ChannelProfiles& profiles);
  ~SimFabric() override;
  [[nodiscard]] std::unique_ptr<WaitSet> make_wait_set() override;
  [[nodiscard]] std::unique_ptr<Endpoint> open(const RankPlace& place, WaitSet& wait_set) override;
  [[nodiscard]] const TransportProfile* profile(Channel channel, bool same_socket) const override {
    return profiles_.find(channel, same_socket);
  }

  [[nodiscard]] std::uint64_t packets() const { return packets_posted_; }
  [[nodiscard]] std::uint64_t packets_lost() const { return packets_lost_; }

 private:
  class Port;
  class OpenPort;
  class Lane;
  struct LaneItem;
  class Connections;
  friend struct SimConnection;

  /// A profile, ready to reckon with.
  struct Costs {
    struct Segment {
      std::uint64_t from_size;
      Duration latency;
      Duration overhead;
      Duration gap;
      double nanoseconds_per_byte;
      Bandwidth bandwidth;
    };
    explicit Costs(const TransportProfile& profile);
    [[nodiscard]] const Segment& segment_for(std::size_t size) const {
      std::size_t i = segments.size() - 1;
      while (segments[i].from_size > size) --i;
      return segments[i];
    }
    /// What a packet takes, of a body of `size`.
    struct Packet {
      std::size_t size;
      Duration busy;    ///< either end: o and its copy
      Duration on_way;  ///< L + size/bandwidth
      Duration takes_wire;
      const Segment* segment;
    };
    /// Valid until it is asked for another size.
    [[nodiscard]] const Packet& of_packet(std::size_t size) const {
      if (size != latest_.size) reckon(size);
      return latest_;
    }
    std::vector<Segment> segments;
    double copy_nanoseconds_per_byte;
    double registration_nanoseconds_per_byte;
    Duration registration;
    Duration connect;
    std::size_t largest_body;
    bool reads;

   private:
    void reckon(std::size_t size) const;
    mutable Packet latest_ = {.size = ~std::size_t{0},
                              .busy = {},
                              .on_way = {},
                              .takes_wire = {},
                              .segment = nullptr};  // sizes mostly are what they were
  };
  /// Memory that others may read.
  struct Exposure {
    std::uint32_t generation = 0;  ///< of the key that is valid; even: none is
    EndpointAddress owner;
    std::vector<ConstSlice> memory;
  };

  [[nodiscard]] Port* find_open(EndpointAddress address) const;
  [[nodiscard]] const Costs& costs(Channel channel, bool same_socket) const;
  [[nodiscard]] HostId host_of(const RankPlace& place) const {
    return place.vm ? hypervisor_.host_of(*place.vm) : place.host;
  }
  /// Another one whenever a way from one endpoint to another may have changed; never 0.
  [[nodiscard]] std::uint32_t version() const {
    return (hypervisor_.changes_of_places() + closed_) | 1U << 31U;
  }
  [[nodiscard]] Exposure* find_exposure(MemoryKey key);
  [[nodiscard]] MemoryKey key_of(std::uint32_t exposure) const {
    return {(static_cast<std::uint64_t>(exposures_[exposure].generation) << 32U) | exposure};
  }
  void withdraw(MemoryKey key);

  Scheduler& scheduler_;
  Flows& flows_;
  SimHypervisor& hypervisor_;
  ClusterFaults faults_;
  ChannelProfiles profiles_;
  std::array<std::unique_ptr<Costs>, 2 * channel_count> costs_;  // by channel and same socket
  NetworkId network_;
  PacketPool pool_;
  std::vector<std::unique_ptr<Port>> ports_;  // by address; closed ones stay
  std::vector<Exposure> exposures_;
  std::vector<std::uint32_t> free_exposures_;
  std::uint32_t closed_ = 0;  // of `ports_`
  std::uint64_t packets_posted_ = 0;
  std::uint64_t packets_lost_ = 0;
};

}  // namespace ferry
