// What a test bed costs: constants of hypervisors, transports, MPI runtime and networks. Their
// sources and kinds stay with the text they were read from (`Provenance` in `document.hpp`).
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/ports/hypervisor.hpp"
#include "core/ports/runtime_costs.hpp"
#include "core/ports/transport_profile.hpp"
#include "core/ports/types.hpp"
#include "core/scenario/workload.hpp"
#include "core/units/units.hpp"

namespace ferry {

/// fixed + per_gib x guest memory
struct AttachCost {
  Duration fixed;
  Duration per_gib;
};

/// `device: failover`. All zero: not known.
struct FailoverCosts {
  /// Virtual function gone, or there, until the guest's traffic flows over the other NIC.
  Duration redirect;
  Ratio throughput;  ///< of the paravirtual NIC, as a share of the virtual function's
};

/// `device: vfio`. All zero: not known.
struct VfioCosts {
  Bytes state;    ///< of a virtual function, which is sent with the guest paused
  Duration save;  ///< the guest is paused until the state can be sent
  Duration load;  ///< the state has come until the function works
};

struct HypervisorCosts {
  Duration prepare;   ///< start of the destination's QEMU, before memory flows
  Duration finish;    ///< from the last byte to the guest running there; part of the downtime
  Duration clean_up;  ///< after the switch-over until the call returns; not downtime
  Ratio serial;       ///< share of each control operation that a host runs one at a time
  /// Cores that each control operation keeps busy, and each guest while it hears of a request, or
  /// one of its ranks closes channels or opens its device; below one: one, for that share of the
  /// time. Counts where migrations and guests compete for cores.
  Ratio cpu = {};
  /// The same of what a migration does beside its stream: it starts a QEMU and hands the guest
  /// over. Zero: as `cpu`.
  Ratio migration_cpu = {};
  /// The same of a change of a VM's status, which is talk between processes. Zero: as `cpu`.
  Ratio status_cpu = {};
  /// Share of its time, from its begin, in which an operation on a device keeps `cpu` cores busy;
  /// for the rest it waits, for its guest or a timer, and wants none.
  Ratio busy = Ratio(1);
  /// How much what an operation costs varies: standard deviation of its logarithm. Costs are
  /// medians.
  Ratio variation = {};
  /// Whether a VM's two devices are plugged, and unplugged, at the same time.
  bool devices_at_once = true;
  Duration set_status;  ///< a status change of a VM (set_pre_migration, set_post_migration)
  Duration detach_vf;
  AttachCost attach_vf;  ///< until the port is active
  Duration remove_ivshmem;
  Duration add_ivshmem;
  Duration pin_per_gib;  ///< registering guest memory (rdma with pin_all)
  /// Guest paused while post-copy takes it to its new host, in place of `finish`; zero: not known.
  Duration postcopy_switch;
  /// How long a silent host or link is waited for. libvirt: `keepalive_interval` x
  /// (`keepalive_count` + 1) of qemu.conf and libvirtd.conf, by default 5 s and 5.
  Duration keepalive = Duration::milliseconds(30'000);
  FailoverCosts failover = {};
  VfioCosts vfio = {};
};

/// Processor time that a migration takes from its hosts for each GiB on the network. All zero: not
/// known, and migrations and guests do not compete for cores.
struct StreamWork {
  Duration send;
  Duration receive;
};

/// One migration stream of a transport.
struct StreamCosts {
  Bandwidth bandwidth;  ///< the most that one stream reaches on an idle path
  StreamWork cpu = {};
};

/// What runs guests' vCPUs and the threads of migrations, if it is not each host's `cores`.
struct Processors {
  std::uint32_t cores = 0;  ///< zero: the host's
  bool shared = false;      ///< by all hosts together: a lab on one machine
};

/// What compressing guest memory does, and costs.
struct CompressionCosts {
  Ratio ratio;      ///< bytes sent for each of guest memory
  Bandwidth speed;  ///< guest memory that one thread compresses; zero: not known
};

/// What the MPI runtime adds; per rank of a job that is concerned.
struct MpiCosts {
  Duration notice;  ///< from the request to a rank that looks for it
  Duration
      drain_channel;  ///< per channel to or from a moving rank (every channel with suspend: job)
  Duration reconnect_channel;  ///< per channel, before reactivation ends, with reconnect: eager
  Duration reactivate;         ///< address exchange and wake-up, per epoch
  /// A moved rank, from when it hears of the end: until its new device's port is active and opened.
  Duration open_device = {};
  RuntimeCosts runtime = {};  ///< `poll` zero: not known; then jobs have no channels
  /// By Channel: the largest message that goes eagerly; zero: where the costs cross.
  std::array<Bytes, channel_count> eager_thresholds = {};
};

/// How long workloads compute on one core of the test bed; zero: not known.
struct ComputeTimes {
  /// Of one iteration of a kernel, all ranks' work together; by kernel from nas_lu on, and class.
  std::array<std::array<Duration, nas_class_count>, nas_kernel_count> nas;
  Duration graph500_edge;  ///< for each edge that a search looks at
  Duration trace_million;  ///< for a million of a trace's units of computation

  [[nodiscard]] Duration iteration(WorkloadType kernel, NasClass problem) const {
    return nas[static_cast<std::size_t>(kernel) - static_cast<std::size_t>(WorkloadType::nas_lu)]
              [static_cast<std::size_t>(problem)];
  }
};

/// What `times` has to say for the workload and does not, and what would be right; none if it does.
[[nodiscard]] std::optional<std::string> missing_time(const Workload& workload,
                                                      const ComputeTimes& times);

/// Whether a constant can change what this workload does: those of `compute` belong to one kernel
/// and class, those of messages to all but `timed`, all others to everything. `path` as of
/// `SourcedConstant`.
[[nodiscard]] bool concerns(std::string_view path, const Workload& workload);

struct Star {};
/// Two levels: leaves with `hosts_per_leaf` hosts, each leaf with one link to each of `spines`.
struct FatTree {
  std::uint32_t hosts_per_leaf = 1;
  std::uint32_t spines = 1;
};
struct Dragonfly {
  std::uint32_t groups = 1;
  std::uint32_t chassis = 1;
  std::uint32_t routers = 1;
  std::uint32_t hosts_per_router = 1;
};
using NetworkTopology = std::variant<Star, FatTree, Dragonfly>;

struct Link {
  Bandwidth bandwidth;
  Duration latency;
};

/// Full-duplex network that joins all hosts and carries some transports.
struct Network {
  std::string name;
  NetworkTopology topology;
  Link link;
  std::vector<Transport> carries;
  bool carries_mpi = false;  ///< large messages between hosts are flows on its links
};

struct Platform {
  std::string name;
  std::string description;
  HypervisorCosts hypervisor;
  std::array<StreamCosts, transport_count> streams;  ///< by Transport
  /// Of an RDMA stream that registers memory as it goes (without pin_all); zero: as with pin_all.
  Bandwidth rdma_unpinned_bandwidth;
  Processors processors;
  CompressionCosts xbzrle;
  CompressionCosts zstd;
  MpiCosts mpi;
  ComputeTimes compute;
  ChannelProfiles channels;  ///< those that the test bed has
  std::vector<Network> networks;
};

/// What compression with `method` costs; nothing for none.
inline CompressionCosts compression_costs(const Platform& platform, Compression method) {
  switch (method) {
    case Compression::none: break;
    case Compression::xbzrle: return platform.xbzrle;
    case Compression::zstd: return platform.zstd;
  }
  return {};
}

/// The most that the streams of a transfer put on an idle path together, before links and limits.
/// Several streams (multifd, without RDMA) reach so many times what one does; with zstd each has a
/// thread that compresses what it sends (QEMU migration/multifd.c, multifd-zstd.c).
inline Bandwidth stream_bandwidth(const Platform& platform, const TransferOptions& options) {
  const bool unpinned = options.transport == Transport::rdma && !options.pin_all;
  if (unpinned && platform.rdma_unpinned_bandwidth > Bandwidth()) {
    return platform.rdma_unpinned_bandwidth;
  }
  Bandwidth one = platform.streams[static_cast<std::size_t>(options.transport)].bandwidth;
  if (options.compression == Compression::zstd) {
    one = std::min(one, platform.zstd.speed * platform.zstd.ratio.value());
  }
  return one * static_cast<double>(options.streams);
}

}  // namespace ferry
