// The keys of a platform file. Every constant there carries its source and kind.
#pragma once

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
void describe(Visitor& v, StreamCosts& costs) {
  v.about("One migration stream of a transport.");
  v.required("bandwidth", costs.bandwidth, moving_speed,
             "The most that one stream reaches on an idle path.");
  v.unsupported({"cpu"});
}

/// The RDMA stream's keys, which two members of `Platform` hold.
struct RdmaStream {
  Bandwidth& bandwidth;
  Bandwidth& unpinned_bandwidth;
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
  v.unsupported({"cpu"});
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
  v.unsupported({"call", "lock", "poll", "eager_thresholds"});
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
  v.required("carries", network.carries, Words{1}, "The transports that use it.");
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
                RdmaStream stream{costs.bandwidth, platform.rdma_unpinned_bandwidth};
                streams.optional(EnumWords<Transport>::words[i], stream, Mapping{},
                                 "One stream of this transport.");
              } else {
                streams.optional(EnumWords<Transport>::words[i], costs, Mapping{},
                                 "One stream of this transport.");
              }
            }
          });
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
  v.list("networks", platform.networks, Need::optional, 0, "The networks that join the hosts.");
  v.unsupported({"channels", "compute"});
}

}  // namespace ferry
