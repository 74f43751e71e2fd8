// A cluster file as structs, its dump, and the addresses in it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/scenario/addresses.hpp"
#include "core/scenario/cluster_file.hpp"
#include "core/scenario/cluster_fit.hpp"
#include "files.hpp"

namespace ferry {
namespace {

using testing::ElementsAre;

LoadedCluster good_cluster() {
  const auto loaded = load_cluster(good_file("cluster.yaml"));
  EXPECT_TRUE(loaded) << errors_of(loaded);
  return *loaded;
}

TEST(ClusterFile, is_read_with_all_of_its_keys) {
  const ClusterFile cluster = good_cluster().cluster;
  ASSERT_EQ(cluster.hosts.size(), 4U);
  const ClusterHost& host0 = *cluster.host("host0");
  EXPECT_EQ(host0.libvirt, "qemu+tls://node01/system");
  EXPECT_EQ(host0.peer, "qemu+tls://node01.ib.example.org:16514/system?no_verify=1");
  EXPECT_EQ(host0.migrate.by(Transport::tcp), "tcp://node01");
  EXPECT_EQ(host0.migrate.by(Transport::ipoib), "tcp://node01-ib:49152");
  EXPECT_EQ(host0.migrate.by(Transport::rdma), "rdma://node01-ib");
  ASSERT_EQ(host0.virtual_functions.size(), 2U);
  EXPECT_EQ(host0.function_count(), 16U);
  const FunctionPool& pool = host0.virtual_functions[1];
  EXPECT_THAT(pool.pci.addresses, ElementsAre("0000:81:00.0", "0000:81:00.2", "0000:81:00.3",
                                              "0000:81:02.0", "0000:81:02.2", "0000:81:02.3",
                                              "0000:81:03.0", "0000:81:03.2", "0000:81:03.3"));
  EXPECT_FALSE(pool.stands_in());
  EXPECT_EQ(pool.parent, "ib1");
  EXPECT_EQ(pool.numa, 1U);
  EXPECT_EQ(pool.guid, Guid::moves_with_vm);

  const ClusterHost& host1 = *cluster.host("host1");
  EXPECT_EQ(host1.peer, host1.libvirt) << "a host's peers reach it as the controller does";
  EXPECT_EQ(host1.migrate.by(Transport::rdma), "");
  EXPECT_EQ(host1.function_count(), 6U);
  EXPECT_TRUE(host1.virtual_functions[0].stands_in());
  EXPECT_EQ(host1.virtual_functions[0].nic, StandInNic::virtio);
  EXPECT_EQ(host1.virtual_functions[1].nic, StandInNic::e1000e);
  EXPECT_EQ(host1.virtual_functions[1].bridge, "br1");
  EXPECT_EQ(cluster.host("host2")->function_count(), 0U);

  const ClusterVm& vm0 = *cluster.vm("vm0");
  EXPECT_EQ(vm0.domain, "hpc-07");
  EXPECT_EQ(vm0.virtual_function, "ua-vf0");
  EXPECT_EQ(vm0.ivshmem, "ua-shm0");
  EXPECT_EQ(vm0.agent, "org.ferry.agent.0");
  EXPECT_EQ(cluster.vm("vm1")->virtual_function, "");
  EXPECT_EQ(cluster.vm("vm2"), nullptr);
  EXPECT_EQ(cluster.storage, Storage::none);
  EXPECT_EQ(cluster.rank.path, "/opt/ferry/bin/ferry-rank");
  EXPECT_EQ(cluster.rank.user, "hpc");
  EXPECT_EQ(cluster.restore, Restore::stay);
}

TEST(ClusterFile, survives_its_dump) {
  const LoadedCluster loaded = good_cluster();
  const auto again = read_cluster(loaded.resolved, "resolved.yaml");
  ASSERT_TRUE(again) << errors_of(again) << loaded.resolved;
  EXPECT_EQ(again->resolved, loaded.resolved);
  EXPECT_EQ(again->cluster.host("host0")->function_count(), 16U);
}

TEST(ClusterFile, has_its_defaults_written_out_in_the_dump) {
  const auto loaded = read_cluster(
      "ferry_cluster: 1\n"
      "hosts: {host0: {libvirt: 'qemu:///system', migrate: {tcp: 'tcp://node01'}}}\n"
      "vms: {vm0: {domain: hpc-07}}\n",
      "cluster.yaml");
  ASSERT_TRUE(loaded) << errors_of(loaded);
  EXPECT_EQ(loaded->resolved,
            "ferry_cluster: 1\n"
            "hosts:\n"
            "  host0:\n"
            "    libvirt: \"qemu:///system\"\n"
            "    peer: \"qemu:///system\"\n"
            "    migrate:\n"
            "      tcp: \"tcp://node01\"\n"
            "    virtual_functions: []\n"
            "vms:\n"
            "  vm0:\n"
            "    domain: hpc-07\n"
            "storage: shared\n"
            "restore: back\n");
}

TEST(Fit, of_a_cluster_that_has_everything_finds_nothing) {
  const auto scenario = read_scenario(
      "ferry: 1\nname: fits\nplatform: test-bed.yaml\n"
      "cluster: {hosts: [{name: host, count: 2, cores: 4, memory: 8GiB, virtual_functions: 6}]}\n"
      "vms:\n"
      "  - {name: vm0, on: host0, memory: 1GiB, ivshmem: 1MiB, pages: {zero: 20%}}\n"
      "  - {name: vm1, on: host1, memory: 1GiB, virtual_functions: 0, pages: {zero: 20%}}\n"
      "jobs: [{name: lu, on: {vms: vm1}, ranks: 1, strategy: none}]\n"
      "migrations: [{name: leave, vms: vm0, to: host1, at: 1s}]\n",
      good_file("fits.yaml"));
  ASSERT_TRUE(scenario) << errors_of(scenario);
  EXPECT_EQ(to_lines(check_fit("fits.yaml", scenario->scenario, expand(scenario->scenario),
                               good_cluster())),
            "");
}

TEST(LibvirtUri, is_accepted_in_every_form_that_reaches_qemu) {
  for (const std::string uri :
       {"qemu:///system", "qemu:///session", "qemu+unix:///system?socket=/run/x",
        "qemu+ssh://a@b/system", "qemu+tls://node01:16514/system?no_verify=1",
        "qemu+tcp://[fe80::1]:16509/system", "qemu+libssh2://root@node01/session",
        "qemu://node01/system"}) {
    EXPECT_TRUE(check_libvirt_uri(uri)) << uri;
  }
}

TEST(PciNames, are_expanded_in_their_order) {
  EXPECT_THAT(*expand_pci("0000:03:00.1"), ElementsAre("0000:03:00.1"));
  EXPECT_THAT(*expand_pci("0:3:1f.[7,0-1]"),
              ElementsAre("0000:03:1f.7", "0000:03:1f.0", "0000:03:1f.1"));
  EXPECT_THAT(*expand_pci("10000:FF:[0f-10].0"), ElementsAre("10000:ff:0f.0", "10000:ff:10.0"));
  EXPECT_EQ(expand_pci("0000:03:[0-1f].[0-7]")->size(), 256U);
}

TEST(PciNames, that_never_end_are_refused) {
  std::string text = "0000:03:00.[0";
  for (int i = 0; i < 100'000; ++i) text += ",0";
  EXPECT_FALSE(expand_pci(text + "]"));
}

}  // namespace
}  // namespace ferry
