#include "core/channel/survey.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>

#include "tests/unit/channel/profiles.hpp"

namespace ferry {
namespace {

/// Three hosts of two sockets; VMs of several sizes on them, some without devices.
Instance uneven_instance(std::uint32_t vms, std::uint32_t ranks, std::uint32_t containers) {
  Instance instance;
  for (std::uint32_t i = 0; i < 3; ++i) {
    HostSpec host;
    host.cores = 16;
    host.sockets = 2;
    instance.hosts.push_back(host);
  }
  JobSpec job;
  job.ranks_per_vm = ranks;
  job.containers = containers;
  for (std::uint32_t i = 0; i < vms; ++i) {
    VmSpec vm;
    vm.host = HostId{i * i % 3};
    vm.vcpus = 1 + 5 * (i % 3);  // 11 fit on no socket
    vm.virtual_function = i % 4 != 3;
    vm.ivshmem = i % 5 == 2 ? Bytes() : Bytes::mebi(64);
    instance.vms.push_back(vm);
    job.vms.push_back(VmId{i});
  }
  instance.jobs.push_back(job);
  return instance;
}

TEST(Survey, finds_what_looking_at_every_pair_finds) {
  for (const std::uint32_t vms : {1U, 2U, 5U, 12U}) {
    for (const std::uint32_t containers : {0U, 2U, 3U}) {
      const Instance instance = uneven_instance(vms, 6, containers);
      const JobSpec& job = instance.jobs[0];
      const Locality locality(instance);
      const JobChannels channels(
          job, instance, locality,
          std::make_shared<const RouteTable>(ChannelPolicy(), ChannelProfiles()));
      std::map<PairClass, std::uint64_t> expected;
      for (std::uint32_t a = 0; a < 6 * vms; ++a) {
        for (std::uint32_t b = a + 1; b < 6 * vms; ++b) {
          ++expected[channels.class_of(RankId{a}, RankId{b})];
        }
      }
      std::map<PairClass, std::uint64_t> found;
      for (const AlikePairs& alike : survey(job, instance, locality)) {
        found[alike.pairs] = alike.count;
        EXPECT_LT(alike.from, alike.to);
        EXPECT_EQ(channels.class_of(alike.from, alike.to), alike.pairs);
      }
      EXPECT_EQ(found, expected) << vms << " VMs, " << containers << " containers";
    }
  }
}

TEST(Survey, gives_the_nearest_first) {
  const Instance instance = uneven_instance(12, 6, 2);
  const Locality locality(instance);
  const std::vector<AlikePairs> found = survey(instance.jobs[0], instance, locality);
  EXPECT_TRUE(std::is_sorted(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return a.pairs.nearness < b.pairs.nearness;
  }));
}

}  // namespace
}  // namespace ferry
