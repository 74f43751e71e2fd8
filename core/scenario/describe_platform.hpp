// The keys of a platform file. Every constant there carries its source and kind.
#pragma once

#include <algorithm>
#include <string_view>

#include "core/scenario/channel_costs.hpp"
#include "core/scenario/describe_values.hpp"
#include "core/scenario/platform.hpp"

namespace ferry {

template <class Visitor>
void describe(Visitor& v, AttachCost& cost) {
  v.about("Time until an attached device is usable: fixed + per_gib x guest memory.");
  v.required("fixed", cost.fixed, any_time, "The part that does not depend on the guest.");
  v.required("per_gib", cost.per_gib, any_time, "For each GiB of guest memory (pinning).");
}

template <class Visitor>
void describe(Visitor& v, FailoverCosts& costs) {
  v.about("A paravirtual NIC that carries the guest's traffic while it has no virtual function.");
  v.required("redirect", costs.redirect, any_time,
             "From the virtual function's going, or coming, until the guest's traffic flows over "
             "the other NIC; nothing flows meanwhile.");
  v.required("throughput", costs.throughput, Between{Ratio(0.001), Ratio(1)},
             "The paravirtual NIC's, as a share of the virtual function's.");
}

template <class Visitor>
void describe(Visitor& v, VfioCosts& costs) {
  v.about("A virtual function whose state moves with the guest, while that is paused.");
  v.required("state", costs.state, Between{Bytes(1), limits::memory}, "Size of its state.");
  v.required("save", costs.save, any_time, "The guest's pause until the state can be sent.");
  v.required("load", costs.load, any_time,
             "From the arrival of the state until the function works.");
}

template <class Visitor>
void describe(Visitor& v, HypervisorCosts& costs) {
  v.about("What the hypervisor's operations cost.");
  v.required("prepare", costs.prepare, any_time,
             "Start of the destination's QEMU, before memory flows.");
  v.required("finish", costs.finish, any_time,
             "From the last byte to the guest running on its new host; part of the downtime.");
  v.required("clean_up", costs.clean_up, any_time,
             "After the switch-over until the migration call returns; no downtime.");
  v.required("serial", costs.serial, share,
             "Share of each control operation that a host does one at a time.");
  v.present_if(costs.cpu > Ratio(0));
  v.optional(
      "cpu", costs.cpu, Between{Ratio(0), Ratio(8)},
      "Cores that each control operation keeps busy, and each guest that hears of a request, "
      "closes channels or opens its device; below 100%: one, for that share of the time. It "
      "takes longer where cores are short. Those of one guest share it. Counts where streams have "
      "cpu.");
  v.present_if(costs.migration_cpu > Ratio(0));
  v.optional_as("migration_cpu", costs.migration_cpu, Between{Ratio(0.001), Ratio(8)}, "as cpu",
                "Cores that prepare and finish of a migration keep busy.");
  v.present_if(costs.status_cpu > Ratio(0));
  v.optional_as("status_cpu", costs.status_cpu, Between{Ratio(0.001), Ratio(8)}, "as cpu",
                "Cores that a change of a VM's status keeps busy.");
  v.present_if(costs.busy < Ratio(1));
  v.optional(
      "busy", costs.busy, Between{Ratio(0.01), Ratio(1)},
      "Share of its time, from its begin, in which an operation on a device keeps `cpu` cores "
      "busy; for the rest it waits, for its guest or a timer, and wants none.");
  v.present_if(costs.variation > Ratio(0));
  v.optional("variation", costs.variation, share,
             "How much the time of an operation varies from one to the next: standard deviation of "
             "its logarithm, drawn from the seed. Costs are medians.");
  v.optional("devices_at_once", costs.devices_at_once, YesOrNo{},
             "Whether a VM's virtual function and IVShmem are plugged, and unplugged, at the same "
             "time, or one after the other.");
  v.required("set_status", costs.set_status, any_time,
             "A change of a VM's status (set_pre_migration and set_post_migration).");
  v.required("detach_vf", costs.detach_vf, any_time,
             "Unplugging the virtual function, until it is gone from the guest.");
  v.required("attach_vf", costs.attach_vf, Mapping{},
             "Plugging a virtual function, until its port is active.");
  v.required("remove_ivshmem", costs.remove_ivshmem, any_time, "Unplugging the IVShmem device.");
  v.required("add_ivshmem", costs.add_ivshmem, any_time, "Plugging an IVShmem device.");
  v.required("pin_per_gib", costs.pin_per_gib, any_time,
             "Registering a GiB of guest memory (transport rdma with pin_all).");
  v.present_if(costs.postcopy_switch > Duration::zero());
  v.optional_as("postcopy_switch", costs.postcopy_switch,
                Between{Duration::nanoseconds(1), limits::time}, "none; needed for post-copy",
                "The guest's pause when post-copy takes it to its new host, in place of finish.");
  v.present_if(costs.failover.throughput > Ratio(0));
  v.optional("failover", costs.failover, Mapping{}, "Needed if a migration says device: failover.");
  v.present_if(costs.vfio.state > Bytes());
  v.optional("vfio", costs.vfio, Mapping{}, "Needed if a migration says device: vfio.");
  v.optional("keepalive", costs.keepalive, any_time,
             "How long a host or link is silent before libvirt gives its connections up.");
}

template <class Visitor>
void describe(Visitor& v, CompressionCosts& costs) {
  v.about("What a way of compression does, and what it costs.");
  v.required("ratio", costs.ratio, Between{Ratio(0.001), Ratio(1)},
             "Bytes sent for each byte of a page that is compressed.");
  v.required("speed", costs.speed, moving_speed, "Guest memory that one thread compresses.");
}

template <class Visitor>
void describe(Visitor& v, StreamWork& work) {
  v.about("Processor time that a migration takes from guests, for each GiB on the network.");
  v.required("send", work.send, any_time, "On the source, by the threads that send.");
  v.required("receive", work.receive, any_time, "On the destination, by those that receive.");
}

inline bool is_known(const StreamWork& work) {
  return work.send > Duration::zero() || work.receive > Duration::zero();
}

template <class Visitor>
void describe_stream_work(Visitor& v, StreamWork& work) {
  v.present_if(is_known(work));
  v.optional("cpu", work, Mapping{},
             "What sending costs the hosts' cores; default: nothing, and migrations and guests do "
             "not compete for them.");
}

template <class Visitor>
void describe(Visitor& v, Processors& processors) {
  v.about("What runs guests' vCPUs and the threads of migrations; counts where streams have cpu.");
  v.present_if(processors.cores > 0);
  v.optional_as("cores", processors.cores, Between{1U, limits::cores}, "the host's cores",
                "Cores of each host, or of all together.");
  v.optional("shared", processors.shared, YesOrNo{},
             "Whether all hosts share these cores (a lab on one machine); needs cores.");
  if (processors.shared && processors.cores == 0) {
    v.complain("shared", Problem::contradiction,
               "says that all hosts share their cores but not how many there are; give cores too");
  }
}

template <class Visitor>
void describe(Visitor& v, StreamCosts& costs) {
  v.about("One migration stream of a transport.");
  v.required("bandwidth", costs.bandwidth, moving_speed,
             "The most that one stream reaches on an idle path.");
  describe_stream_work(v, costs.cpu);
}

/// The RDMA stream's keys, which two members of `Platform` hold.
struct RdmaStream {
  Bandwidth& bandwidth;
  Bandwidth& unpinned_bandwidth;
  StreamWork& cpu;
};

template <class Visitor>
void describe(Visitor& v, RdmaStream& stream) {
  v.about("One RDMA migration stream.");
  v.required("bandwidth", stream.bandwidth, moving_speed,
             "The most that one stream reaches on an idle path, with pin_all.");
  v.present_if(stream.unpinned_bandwidth > Bandwidth());
  v.optional(
      "unpinned_bandwidth", stream.unpinned_bandwidth, moving_speed,
      "The same without pin_all, where memory is registered chunk by chunk; default: as with "
      "it.");
  describe_stream_work(v, stream.cpu);
}

inline constexpr std::string_view needed_by_channels = "none; needed with channels";

constexpr std::string_view channel_about(Channel channel) {
  switch (channel) {
    case Channel::shm: return "Shared memory within a VM or container.";
    case Channel::cma: return "Copies by the kernel from process to process; it only reads.";
    case Channel::ivshmem: return "Host memory that is a device of both VMs.";
    case Channel::sriov: return "Virtual functions of two hosts.";
    case Channel::sriov_loopback: return "Virtual functions of one host, through the adapter.";
    case Channel::passthrough: return "A whole adapter in each VM.";
    case Channel::native: return "Adapters without virtualisation.";
  }
  return "";
}

template <class Visitor>
void describe(Visitor& v, MpiCosts& costs) {
  v.about("What the MPI runtime adds to a migration, for each rank that is concerned.");
  v.required("notice", costs.notice, any_time, "From the request to a rank that looks for it.");
  v.required("drain_channel", costs.drain_channel, any_time,
             "For each channel to or from a moving rank (each channel with suspend: job).");
  v.required("reconnect_channel", costs.reconnect_channel, any_time,
             "For each channel, before reactivation ends, with reconnect: eager.");
  v.required("reactivate", costs.reactivate, any_time,
             "Exchange of addresses and wake-up, once for each epoch.");
  v.present_if(costs.open_device > Duration::zero());
  v.optional("open_device", costs.open_device, any_time,
             "A moved rank waits so long until its new device's port is active, and opens it.");
  // All four or none: a `poll` of zero stands for none.
  const bool known = costs.runtime.poll > Duration::zero();
  v.present_if(known);
  const bool call = v.optional_as("call", costs.runtime.call, any_time, needed_by_channels,
                                  "Processor time of every MPI call.");
  v.present_if(known);
  const bool lock = v.optional_as("lock", costs.runtime.lock, any_time, needed_by_channels,
                                  "What taking and giving the runtime's lock adds to a call with "
                                  "strategy: migration_thread.");
  v.present_if(known);
  const bool poll = v.optional_as("poll", costs.runtime.poll, some_time, needed_by_channels,
                                  "Processor time of a look for a message that found none.");
  v.present_if(known);
  const bool reduce = v.optional_as("reduce", costs.runtime.reduce, moving_speed,
                                    needed_by_channels, "Speed of reductions, by one operand.");
  if (call != poll || lock != poll || reduce != poll) {
    v.complain("", Problem::contradiction,
               "call, lock, poll and reduce belong together; give all four, or none");
  }
  v.present_if(std::ranges::any_of(costs.eager_thresholds,
                                   [](Bytes threshold) { return threshold > Bytes(); }));
  v.group(
      "eager_thresholds", Need::optional,
      "The largest message that goes eagerly, by channel; default: where the costs of eager and "
      "rendezvous cross.",
      [&](auto& thresholds) {
        thresholds.about("Channels that are left out: where the costs cross.");
        for (const Channel channel : all_channels) {
          if (channel == Channel::cma) continue;  // it carries no packets
          Bytes& threshold = costs.eager_thresholds[static_cast<std::size_t>(channel)];
          thresholds.present_if(threshold > Bytes());
          thresholds.optional_as(to_name(channel), threshold, Between{Bytes(1), limits::memory},
                                 "where the costs cross", "Over this channel.");
        }
      });
}

template <class Visitor>
void describe(Visitor& v, TransportSegment& segment) {
  v.about("LogGP costs of packets from one size up to the next segment's.");
  v.present_if(segment.from_size > Bytes());
  v.optional_as("from", segment.from_size, any_size, "0B", "The smallest packet of the segment.");
  v.required("latency", segment.latency, any_time, "L: of the wire.");
  v.required("overhead", segment.overhead, any_time,
             "o: processor time of a packet, of its sender and of its receiver.");
  v.required("gap", segment.gap, any_time, "g: least time between two packets of one sender.");
  v.required("bandwidth", segment.bandwidth, moving_speed, "1/G: of the wire.");
}

template <class Visitor>
void describe_segments(Visitor& v, std::vector<TransportSegment>& segments, Need need) {
  v.list("segments", segments, need, need == Need::required ? 1 : 0,
         "Costs by packet size; the first from 0B, and rising.");
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Bytes from = segments[i].from_size;
    if (i == 0 ? from > Bytes() : from <= segments[i - 1].from_size) {
      v.complain("segments", Problem::contradiction,
                 i == 0 ? "the first segment holds the smallest packets; leave out its from"
                        : "segments rise; write each with a larger from than the one before");
      return;
    }
  }
}

template <class Visitor>
void describe(Visitor& v, OtherSocket& other) {
  v.about("What differs between ranks on two sockets of one host.");
  v.present_if(!other.segments.empty());
  describe_segments(v, other.segments, Need::optional);
  if (!other.packets) return;
  v.present_if(other.copy > Bandwidth());
  v.optional_as("copy", other.copy, SpeedOrNone{moving_speed}, "as on one socket",
                "Speed of one copy, of either side.");
}

template <class Visitor>
void describe(Visitor& v, ChannelCosts& costs) {
  v.about("A channel between ranks.");
  describe_segments(v, costs.profile.segments, Need::required);
  if (costs.other.packets) {
    v.optional("packet", costs.profile.largest_packet, Between{Bytes(64), limits::packet},
               "Largest body of one packet: bounds eager messages, and cuts longer ones.");
    v.optional("copy", costs.profile.copy, SpeedOrNone{moving_speed},
               "Speed of the copy between a user's buffer and the channel's that packets make on "
               "either side; none: the segments have it already.");
  }
  v.optional("reads", costs.profile.reads, YesOrNo{},
             "Whether the receiver can read the sender's memory by itself.");
  v.optional("registration", costs.profile.registration, any_time,
             "Before memory can be read by the other side: the part that does not depend on its "
             "size.");
  v.optional("registration_bandwidth", costs.profile.registration_bandwidth,
             SpeedOrNone{moving_speed}, "Before memory can be read: the speed for its bytes.");
  v.optional("connect", costs.profile.connect, any_time,
             "From the wish for a connection to the first packet.");
  if (!costs.sockets) return;
  v.present_if(costs.other.differs());
  v.optional("other_socket", costs.other, Mapping{},
             "What differs between ranks on two sockets; default: nothing.");
}

template <class Visitor>
void describe(Visitor& v, ChannelProfiles& profiles) {
  v.about("Channels that the test bed does not have, or nobody measured, are left out.");
  for (const Channel channel : all_channels) {
    ChannelCosts costs = costs_of(profiles, channel);
    v.present_if(!costs.profile.segments.empty());
    v.optional(to_name(channel), costs, Mapping{}, channel_about(channel));
    if (!costs.profile.segments.empty()) set_costs(profiles, channel, costs);
  }
}

template <class Visitor>
void describe(Visitor& v, FatTree& tree) {
  v.about("Two levels: leaves, each with one link to every spine.");
  v.required("hosts_per_leaf", tree.hosts_per_leaf, Between{1U, limits::hosts},
             "Hosts on each leaf switch.");
  v.required("spines", tree.spines, Between{1U, limits::hosts}, "Spine switches.");
}

template <class Visitor>
void describe(Visitor& v, Dragonfly& fly) {
  v.about("Groups of chassis of routers.");
  v.required("groups", fly.groups, Between{1U, limits::hosts}, "Groups.");
  v.required("chassis", fly.chassis, Between{1U, limits::hosts}, "Chassis in each group.");
  v.required("routers", fly.routers, Between{1U, limits::hosts}, "Routers in each chassis.");
  v.required("hosts_per_router", fly.hosts_per_router, Between{1U, limits::hosts},
             "Hosts on each router.");
}

template <class Visitor>
void describe(Visitor& v, Link& link) {
  v.about("Each link of the network, the same in both directions.");
  v.required("bandwidth", link.bandwidth, moving_speed, "Of each direction.");
  v.required("latency", link.latency, any_time, "One way, of one link.");
}

template <class Visitor>
void describe(Visitor& v, Network& network) {
  v.about("A full-duplex network that joins all hosts.");
  v.required("name", network.name, ItemName{}, "The network's name.");
  v.topology("topology", network.topology, "The shape: star, fat_tree or dragonfly.");
  v.required("link", network.link, Mapping{}, "What its links do.");
  Traffic traffic{network.carries, network.carries_mpi};
  v.required("carries", traffic, TrafficWords{},
             "The transports that use it, and mpi for large messages of jobs.");
}

inline bool is_known(const ComputeTimes& times) {
  bool known = times.graph500_edge > Duration::zero() || times.trace_million > Duration::zero();
  for (const auto& kernel : times.nas) {
    for (const Duration time : kernel) known = known || time > Duration::zero();
  }
  return known;
}

/// One kernel's times, by class.
struct KernelTimes {
  std::array<Duration, nas_class_count>& by_class;
};

template <class Visitor>
void describe(Visitor& v, KernelTimes& times) {
  v.about("One iteration of a kernel, the work of all ranks on one core, by class.");
  for (std::size_t i = 0; i < nas_class_count; ++i) {
    Duration& time = times.by_class[i];
    v.present_if(time > Duration::zero());
    v.optional_as(EnumWords<NasClass>::words[i], time, some_time, "not known",
                  "One iteration of this class.");
  }
}

template <class Visitor>
void describe(Visitor& v, ComputeTimes& times) {
  v.about("How long workloads compute on one core of the test bed.");
  for (std::size_t i = 0; i < nas_kernel_count; ++i) {
    bool known = false;
    for (const Duration time : times.nas[i]) known = known || time > Duration::zero();
    KernelTimes kernel{times.nas[i]};
    v.present_if(known);
    v.optional(EnumWords<WorkloadType>::words[static_cast<std::size_t>(WorkloadType::nas_lu) + i],
               kernel, Mapping{}, "One iteration of this kernel; of nas_ep all of it.");
  }
  v.present_if(times.graph500_edge > Duration::zero());
  v.optional_as("graph500_edge", times.graph500_edge, some_time, "not known",
                "graph500: one edge that a search looks at.");
  v.present_if(times.trace_million > Duration::zero());
  v.optional_as("trace_million", times.trace_million, some_time, "not known",
                "trace: a million of the trace's units of computation.");
}

/// The keys that a platform file and an inline platform share.
template <class Visitor>
void describe(Visitor& v, Platform& platform) {
  v.about("The constants of one test bed.");
  v.required("name", platform.name, TitleName{}, "The test bed's name.");
  v.optional("description", platform.description, FreeText{}, "What it is, for people.");
  v.required("hypervisor", platform.hypervisor, Mapping{}, "Costs of the hypervisor.");
  v.group("streams", Need::required, "What one migration stream reaches, by transport.",
          [&](auto& streams) {
            streams.about("Transports that the test bed does not have are left out.");
            for (std::size_t i = 0; i < transport_count; ++i) {
              StreamCosts& costs = platform.streams[i];
              streams.present_if(costs.bandwidth > Bandwidth());
              if (i == static_cast<std::size_t>(Transport::rdma)) {
                RdmaStream stream{costs.bandwidth, platform.rdma_unpinned_bandwidth, costs.cpu};
                streams.optional(EnumWords<Transport>::words[i], stream, Mapping{},
                                 "One stream of this transport.");
              } else {
                streams.optional(EnumWords<Transport>::words[i], costs, Mapping{},
                                 "One stream of this transport.");
              }
            }
          });
  v.present_if(platform.processors.cores > 0);
  v.optional("processors", platform.processors, Mapping{},
             "The cores that migrations compete for.");
  const auto has = [](const CompressionCosts& costs) { return costs.speed > Bandwidth(); };
  v.present_if(has(platform.xbzrle) || has(platform.zstd));
  v.group("compression", Need::optional, "What compression does; needed if a migration uses it.",
          [&](auto& compression) {
            compression.about("Ways of compression that the test bed does not know are left out.");
            compression.present_if(has(platform.xbzrle));
            compression.optional("xbzrle", platform.xbzrle, Mapping{},
                                 "Pages that were sent before, as differences.");
            compression.present_if(has(platform.zstd));
            compression.optional("zstd", platform.zstd, Mapping{}, "Every page, in its stream.");
          });
  v.required("mpi", platform.mpi, Mapping{}, "Costs of the MPI runtime.");
  v.present_if(!platform.channels.empty());
  v.optional("channels", platform.channels, Mapping{}, "What messages of jobs cost, by channel.");
  if (!platform.channels.empty() && platform.mpi.runtime.poll == Duration::zero()) {
    v.complain("channels", Problem::contradiction,
               "channels are no use without what calls cost; give mpi.call, mpi.lock, mpi.poll and "
               "mpi.reduce too");
  }
  v.list("networks", platform.networks, Need::optional, 0, "The networks that join the hosts.");
  v.present_if(is_known(platform.compute));
  v.optional("compute", platform.compute, Mapping{},
             "How long workloads compute; needed for those that do.");
}

}  // namespace ferry
