#include "tests/contract/small_cluster.hpp"

#include <string>

namespace ferry {

SmallCluster small_cluster() {
  SmallCluster cluster;

  const std::vector<Network> networks = {
      {.name = "network",
       .topology = Star{},
       .link = {Bandwidth::bytes_per_second(10e9), Duration::microseconds(1)},
       .carries = {Transport::tcp, Transport::ipoib, Transport::rdma}}};

  Platform& platform = cluster.platform;
  platform.name = "small";
  platform.hypervisor = {
      .prepare = Duration::milliseconds(5),
      .finish = Duration::milliseconds(3),
      .clean_up = Duration::milliseconds(2),
      .serial = Ratio(0),
      .set_status = Duration::milliseconds(4),
      .detach_vf = Duration::milliseconds(20),
      .attach_vf = {.fixed = Duration::milliseconds(30), .per_gib = Duration::milliseconds(160)},
      .remove_ivshmem = Duration::milliseconds(6),
      .add_ivshmem = Duration::milliseconds(8),
      .pin_per_gib = Duration::milliseconds(320),
      .postcopy_switch = Duration::milliseconds(4),
      .failover = {.redirect = Duration::milliseconds(7), .throughput = Ratio(0.25)},
      .vfio = {.state = Bytes::mebi(2),
               .save = Duration::milliseconds(3),
               .load = Duration::milliseconds(5)}};
  platform.xbzrle = {.ratio = Ratio(0.25), .speed = Bandwidth::bytes_per_second(4e9)};
  platform.zstd = {.ratio = Ratio(0.5), .speed = Bandwidth::bytes_per_second(1e9)};
  for (StreamCosts& stream : platform.streams) {
    stream.bandwidth = Bandwidth::bytes_per_second(1e9);
  }
  platform.mpi = {.notice = Duration::microseconds(50),
                  .drain_channel = Duration::microseconds(20),
                  .reconnect_channel = Duration::microseconds(30),
                  .reactivate = Duration::milliseconds(1)};
  platform.networks = networks;
  for (const Channel channel : all_channels) {
    TransportProfile profile;
    profile.segments = {{.from_size = Bytes(),
                         .latency = Duration::microseconds(1),
                         .overhead = Duration::nanoseconds(100),
                         .gap = Duration::nanoseconds(100),
                         .bandwidth = Bandwidth::bytes_per_second(10e9)}};
    profile.largest_packet = Bytes::mebi(1);
    profile.reads = channel != Channel::shm && channel != Channel::ivshmem;
    platform.channels.set(channel, profile);
  }

  Instance& instance = cluster.instance;
  instance.networks = networks;
  for (int i = 0; i < 4; ++i) {
    instance.hosts.push_back({.name = "host" + std::to_string(i),
                              .cores = 16,
                              .memory = Bytes::gibi(32),
                              .virtual_functions = 4,
                              .ivshmem = Bytes::gibi(1)});
  }
  for (const std::uint32_t host : {0U, 0U, 1U, 2U}) {
    instance.vms.push_back({.name = "vm" + std::to_string(instance.vms.size()),
                            .host = HostId{host},
                            .vcpus = 2,
                            .memory = Bytes::mebi(64),
                            .virtual_function = true,
                            .ivshmem = Bytes::mebi(1),
                            .zero = Ratio(0.25),
                            .working_set = Bytes::mebi(8),
                            .dirty_rate = Bandwidth::bytes_per_second(100e6),
                            .idle_dirty_rate = Bandwidth::bytes_per_second(1e6),
                            .jobs = {}});
  }
  instance.jobs.push_back({.name = "pair",
                           .vms = {VmId{0}, VmId{2}},
                           .ranks_per_vm = 1,
                           .strategy = Strategy::migration_thread,
                           .suspend = Suspend::peers,
                           .reconnect = Reconnect::lazy,
                           .next_call = {Duration::milliseconds(1), Duration::milliseconds(1)}});
  for (const VmId vm : instance.jobs[0].vms) instance.vms[vm.index].jobs = {JobId{0}};
  return cluster;
}

}  // namespace ferry
