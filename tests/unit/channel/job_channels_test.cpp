// Where ranks are, and the routes that follow, on a small instance.
#include <gtest/gtest.h>

#include <memory>

#include "core/channel/coordinator.hpp"
#include "core/topology/locality.hpp"
#include "tests/unit/channel/profiles.hpp"

namespace ferry {
namespace {

/// Two hosts of two sockets with four cores each; vm0 and vm1 on host0 with three vCPUs, vm2 on
/// host1 with two. One job with four ranks in each VM, in two containers.
Instance small_instance() {
  Instance instance;
  for (const char* name : {"host0", "host1"}) {
    HostSpec host;
    host.name = name;
    host.cores = 8;
    host.sockets = 2;
    instance.hosts.push_back(host);
  }
  for (std::uint32_t i = 0; i < 3; ++i) {
    VmSpec vm;
    vm.name = "vm" + std::to_string(i);
    vm.host = HostId{i / 2};
    vm.vcpus = i < 2 ? 3 : 2;
    vm.ivshmem = Bytes::mebi(64);
    vm.containers = 2;
    instance.vms.push_back(vm);
  }
  JobSpec job;
  job.name = "job";
  job.vms = {VmId{0}, VmId{1}, VmId{2}};
  job.ranks_per_vm = 4;
  job.containers = 2;
  job.ivshmem = Bytes::mebi(64);
  instance.jobs.push_back(job);
  return instance;
}

class JobChannelsTest : public testing::Test {
 protected:
  static std::shared_ptr<const RouteTable> table(const Instance& instance) {
    ChannelProfiles profiles;
    for (const Channel channel : all_channels) {
      profiles.set(channel, profile_of(ns(100), ns(50), gigabytes(5)));
    }
    return std::make_shared<const RouteTable>(
        ChannelPolicy::of(instance.jobs[0], instance, MpiCosts{}), profiles);
  }

  Nearness nearness(std::uint32_t a, std::uint32_t b) const {
    return channels_.class_of(RankId{a}, RankId{b}).nearness;
  }
  bool same_socket(std::uint32_t a, std::uint32_t b) const {
    return channels_.class_of(RankId{a}, RankId{b}).same_socket;
  }

  Instance instance_ = small_instance();
  Locality locality_{instance_};
  JobChannels channels_{instance_.jobs[0], instance_, locality_, table(instance_)};
};

TEST_F(JobChannelsTest, ranks_are_dealt_to_containers_in_order) {
  EXPECT_EQ(nearness(0, 1), Nearness::same_container);
  EXPECT_EQ(nearness(2, 3), Nearness::same_container);
  EXPECT_EQ(nearness(1, 2), Nearness::same_vm);
  EXPECT_EQ(nearness(3, 4), Nearness::same_host);
  EXPECT_EQ(nearness(0, 8), Nearness::other_host);
}

TEST_F(JobChannelsTest, vms_take_the_socket_with_most_free_cores) {
  EXPECT_EQ(locality_.socket(VmId{0}, 0), 0U);
  EXPECT_EQ(locality_.socket(VmId{1}, 0), 1U);
  EXPECT_TRUE(same_socket(0, 3));
  EXPECT_FALSE(same_socket(0, 4));
  EXPECT_TRUE(same_socket(0, 8));  // between hosts it says nothing
}

TEST_F(JobChannelsTest, a_move_changes_the_class_the_route_and_the_generation) {
  const std::uint64_t before = channels_.generation();
  EXPECT_EQ(channels_.route(RankId{4}, RankId{8}).control(), Channel::sriov);
  locality_.moved(VmId{1}, HostId{1});
  EXPECT_NE(channels_.generation(), before);
  EXPECT_EQ(nearness(4, 8), Nearness::same_host);
  EXPECT_EQ(nearness(0, 4), Nearness::other_host);
  EXPECT_EQ(channels_.route(RankId{4}, RankId{8}).control(), Channel::ivshmem);
  // vm2 has two cores of socket 0 there, so socket 1 has more.
  EXPECT_EQ(locality_.socket(VmId{1}, 0), 1U);
  locality_.moved(VmId{1}, HostId{0});
  EXPECT_EQ(nearness(0, 4), Nearness::same_host);
  EXPECT_EQ(locality_.socket(VmId{1}, 0), 1U);  // its cores came back when it left
}

TEST_F(JobChannelsTest, a_lost_device_changes_the_route) {
  locality_.set_device(VmId{1}, DeviceKind::ivshmem, false);
  EXPECT_EQ(channels_.route(RankId{0}, RankId{4}).control(), Channel::sriov_loopback);
  EXPECT_EQ(channels_.route(RankId{0}, RankId{1}).control(), Channel::shm);
  locality_.set_device(VmId{1}, DeviceKind::virtual_function, false);
  EXPECT_FALSE(channels_.route(RankId{0}, RankId{4}).reaches());
  locality_.set_device(VmId{1}, DeviceKind::ivshmem, true);
  EXPECT_EQ(channels_.route(RankId{0}, RankId{4}).control(), Channel::ivshmem);
}

TEST_F(JobChannelsTest, both_ends_of_a_pair_have_the_same_route) {
  for (std::uint32_t a = 0; a < 12; ++a) {
    for (std::uint32_t b = 0; b < 12; ++b) {
      EXPECT_EQ(&channels_.route(RankId{a}, RankId{b}), &channels_.route(RankId{b}, RankId{a}));
    }
  }
}

TEST(Locality, a_vm_that_fits_on_no_socket_has_its_vcpus_on_all) {
  Instance instance = small_instance();
  instance.vms.resize(1);
  instance.vms[0].vcpus = 6;
  const Locality locality(instance);
  EXPECT_EQ(locality.socket(VmId{0}, 0), 0U);
  EXPECT_EQ(locality.socket(VmId{0}, 2), 0U);
  EXPECT_EQ(locality.socket(VmId{0}, 3), 1U);
  const RankSite first = site_of(instance.jobs[0], instance.vms[0], RankId{0});
  const RankSite last = site_of(instance.jobs[0], instance.vms[0], RankId{3});
  EXPECT_FALSE(locality.between(first, last).same_socket);
}

TEST(Locality, a_vm_that_is_kept_on_a_socket_is_there_before_others_look) {
  Instance instance = small_instance();
  instance.vms[1].socket = 0;
  const Locality locality(instance);
  EXPECT_EQ(locality.socket(VmId{1}, 0), 0U);
  EXPECT_EQ(locality.socket(VmId{0}, 0), 1U);
}

TEST(ChannelPolicy, a_ranks_part_of_the_region_is_that_of_the_host_with_most_ranks) {
  const Instance instance = small_instance();
  EXPECT_EQ(ChannelPolicy::of(instance.jobs[0], instance, MpiCosts{}).ivshmem_part, Bytes::mebi(8));
}

}  // namespace
}  // namespace ferry
