#include "hw_backend/libvirt/diagnosis.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/hw_backend/guest_xml.hpp"

namespace ferry {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using Level = Finding::Level;

/// Two hosts and a VM on the first that fits.
class DiagnosisTest : public testing::Test {
 protected:
  DiagnosisTest() {
    for (const char* name : {"host0", "host1"}) {
      ClusterHost host;
      host.name = name;
      host.libvirt = host.peer = std::string("qemu+tls://") + name + "/system";
      host.migrate.tcp = std::string("tcp://") + name;
      FunctionPool pool;
      pool.bridge = "br0";
      pool.count = 4;
      host.virtual_functions = {pool};
      cluster.hosts.push_back(host);
      HostSpec spec;
      spec.name = name;
      instance.hosts.push_back(spec);
      HostFacts facts;
      facts.libvirt = 9'000'000;
      facts.hypervisor = 7'002'000;
      facts.uuid = name;
      facts.kvm = true;
      facts.free_memory = Bytes::gibi(8);
      hosts.emplace_back(facts);
    }
    ClusterVm vm;
    vm.name = "vm0";
    vm.domain = "hpc-07";
    vm.virtual_function = "ua-vf0";
    vm.ivshmem = "ua-shm0";
    cluster.vms.push_back(vm);
    VmSpec spec;
    spec.name = "vm0";
    spec.vcpus = 2;
    spec.memory = Bytes::mebi(160);
    spec.ivshmem = Bytes::mebi(4);
    instance.vms.push_back(spec);
    place(0, nic_xml + shmem_xml + agent_xml("connected"));
  }

  DomainState& place(std::size_t host, const std::string& devices) {
    DomainState state;
    state.active = state.running = true;
    state.xml = guest_xml(devices);
    return hosts[host]->domains["hpc-07"] = state;
  }
  static MoveSpec move_over(Transport transport) {
    MoveSpec move;
    move.migration = "leave";
    move.vm = VmId{0};
    move.candidates = {HostId{0}, HostId{1}};
    move.transfer.transport = transport;
    return move;
  }
  void look(bool against = true, bool at_start = true) {
    diagnosis = judge(cluster, instance, against, at_start, hosts, machines);
  }
  /// Of everything that is not ok: "level subject: text".
  [[nodiscard]] std::vector<std::string> problems() const {
    std::vector<std::string> texts;
    for (const Finding& finding : diagnosis.findings) {
      if (finding.level == Level::ok) continue;
      EXPECT_FALSE(finding.fix.empty()) << finding.text;
      texts.push_back((finding.level == Level::warning ? "warning: " : "failed: ") +
                      finding.subject + ": " + finding.text);
    }
    return texts;
  }

  /// Of everything: "subject: text; fix".
  [[nodiscard]] std::vector<std::string> findings() const {
    std::vector<std::string> texts;
    for (const Finding& finding : diagnosis.findings) {
      texts.push_back(finding.subject + ": " + finding.text +
                      (finding.fix.empty() ? "" : "; " + finding.fix));
    }
    return texts;
  }

  ClusterFile cluster;
  Instance instance;
  std::vector<Result<HostFacts>> hosts;
  std::map<std::pair<std::string, std::string>, std::string> machines;
  Diagnosis diagnosis;
};

TEST_F(DiagnosisTest, a_cluster_that_fits_has_no_problem) {
  look();
  EXPECT_THAT(problems(), ElementsAre());
  EXPECT_THAT(diagnosis.places, ElementsAre("host0"));
  ASSERT_EQ(diagnosis.versions.size(), 4U);
  EXPECT_EQ(diagnosis.versions[1], (std::pair<std::string, std::string>("host0: QEMU", "7.2.0")));
}

TEST_F(DiagnosisTest, a_host_that_does_not_answer_fails_and_so_does_its_vm) {
  hosts[0] = tl::unexpected(Failure{FailureKind::failed, "host0 cannot be reached: refused"});
  look();
  EXPECT_THAT(problems(), ElementsAre("failed: host0: libvirt: host0 cannot be reached: refused",
                                      "failed: vm0: domain: no host that answers runs hpc-07"));
  EXPECT_THAT(diagnosis.places, ElementsAre(""));
}

TEST_F(DiagnosisTest, two_names_for_one_host_fail) {
  hosts[1]->uuid = "host0";
  look();
  EXPECT_THAT(problems(), ElementsAre("failed: host1: identity: host1 and host0 have the same UUID "
                                      "host0: libvirt takes them for one host"));
}

TEST_F(DiagnosisTest, the_size_of_a_domain_is_held_against_the_scenario) {
  instance.vms[0].memory = Bytes::gibi(1);
  instance.vms[0].vcpus = 4;
  look();
  EXPECT_THAT(problems(),
              ElementsAre("failed: vm0: memory: the domain has 160MiB, the scenario 1GiB",
                          "failed: vm0: vCPUs: the domain has 2, the scenario 4"));
  look(false);
  EXPECT_THAT(problems(), ElementsAre());
}

TEST_F(DiagnosisTest, the_host_counts_at_the_start_only) {
  instance.vms[0].host = HostId{1};
  look();
  EXPECT_THAT(problems(), ElementsAre("failed: vm0: domain: hpc-07 runs on host0, and the scenario "
                                      "starts it on host1"));
  look(true, false);
  EXPECT_THAT(problems(), ElementsAre());
}

TEST_F(DiagnosisTest, devices_that_are_missing_or_too_many_fail) {
  place(0, shmem_xml + agent_xml("connected"));
  instance.vms[0].ivshmem = Bytes();
  look();
  EXPECT_THAT(problems(),
              ElementsAre("failed: vm0: virtual_function: the domain has no device with the alias "
                          "ua-vf0",
                          "failed: vm0: ivshmem: the domain has ua-shm0, and the scenario's VM has "
                          "none"));
}

TEST_F(DiagnosisTest, a_device_that_ferry_does_not_take_away_may_block_the_move) {
  std::string other = hostdev_xml;
  other.replace(other.find("ua-vf0"), 6, "ua-gpu");
  place(0, nic_xml + shmem_xml + other + agent_xml("connected"));
  look();
  EXPECT_THAT(problems(),
              ElementsAre("failed: vm0: migratable: vm0 holds the host's PCI device 0000:03:00.1 "
                          "(alias ua-gpu), which is not the virtual function that the cluster file "
                          "names, and QEMU migrates no guest with an assigned device"));
}

TEST_F(DiagnosisTest, an_earlier_run_that_did_not_end_is_told) {
  DomainState& state = place(0, shmem_xml + agent_xml("connected"));
  state.mark = DomainMark{"leave-003", Phase::detach_vf, "host0", "", {}};
  state.mark->take(DeviceKind::virtual_function, nic_xml, "host0");
  look();
  EXPECT_THAT(
      problems(),
      ElementsAre("warning: vm0: earlier run: the metadata of its domain are of run leave-003 "
                  "in phase detach_vf; it took away virtual_function",
                  "warning: vm0: virtual_function: ua-vf0 was taken away by an earlier run"));
}

TEST_F(DiagnosisTest, a_vm_that_moves_now_or_is_paused_fails) {
  place(0, nic_xml + shmem_xml + agent_xml("connected")).sends = true;
  DomainState& shell = place(1, "");
  shell.running = false;
  shell.receives = true;
  look();
  EXPECT_THAT(problems(), ElementsAre("failed: vm0: domain: a migration of hpc-07 is under way"));
  hosts[1]->domains.clear();
  place(0, nic_xml).running = false;
  look();
  EXPECT_THAT(problems(), ElementsAre("failed: vm0: domain: hpc-07 is paused on host0"));
}

TEST_F(DiagnosisTest, pci_functions_are_looked_for) {
  FunctionPool pool;
  pool.pci = {"0000:03:00.[1-2]", {"0000:03:00.1", "0000:03:00.2"}};
  pool.parent = "ib0";
  pool.guid = Guid::moves_with_vm;
  cluster.hosts[0].virtual_functions = {pool};
  hosts[0]->lists_devices = true;
  hosts[0]->functions = {{"0000:03:00.1", true}, {"0000:03:00.2", false}};
  hosts[0]->iommu = false;
  look();
  EXPECT_THAT(
      problems(),
      ElementsAre(
          "failed: host0: virtual functions: the host has no IOMMU, so no guest can be given "
          "a PCI function",
          "failed: host0: virtual functions: the host has no PCI function 0000:03:00.2",
          "warning: host0: virtual functions: guid: moves_with_vm: libvirt cannot give an "
          "InfiniBand function a GUID"));
  hosts[0]->lists_devices = false;
  hosts[0]->iommu = std::nullopt;
  look();
  EXPECT_EQ(problems().front(),
            "warning: host0: virtual functions: this libvirt does not list devices, so "
            "0000:03:00.[1-2] was not looked for");
}

TEST_F(DiagnosisTest, what_is_slow_or_cannot_be_told_is_a_warning) {
  hosts[1]->kvm = false;
  cluster.hosts[1].peer = "qemu:///system";
  place(0, nic_xml + shmem_xml);
  look();
  EXPECT_THAT(problems(),
              ElementsAre("warning: host1: acceleration: no kvm: its guests are emulated, which is "
                          "slow",
                          "warning: host1: peer: qemu:///system names a socket of the machine that "
                          "opens it",
                          "warning: vm0: guest agent: does not answer: a device counts as attached "
                          "when libvirt says so"));
}

TEST_F(DiagnosisTest, moves_that_would_be_refused_are_told) {
  instance.moves.push_back(move_over(Transport::rdma));
  look();
  EXPECT_THAT(problems(), ElementsAre("failed: vm0: migration leave: the cluster file has no "
                                      "migrate.rdma for host1"));
}

TEST_F(DiagnosisTest, a_limit_that_libvirt_can_set_for_rdma_stops_nothing) {
  cluster.hosts[1].migrate.rdma = "rdma://host1";
  instance.moves = {move_over(Transport::tcp), move_over(Transport::rdma),
                    move_over(Transport::rdma)};
  look();
  EXPECT_THAT(problems(), ElementsAre());
  EXPECT_THAT(findings(), Contains("vm0: hard_limit: none: libvirt wants one for RDMA, and Ferry "
                                   "sets it to 1184MiB")
                              .Times(1));
}

TEST_F(DiagnosisTest, a_limit_that_libvirt_cannot_set_stops_rdma_only) {
  cluster.hosts[1].migrate.rdma = "rdma://host1";
  hosts[0]->unlimited["hpc-07"] = "cgroup memory controller is not mounted";
  instance.moves = {move_over(Transport::tcp)};
  look();
  EXPECT_THAT(problems(), ElementsAre());
  instance.moves = {move_over(Transport::rdma)};
  look();
  EXPECT_THAT(
      problems(),
      ElementsAre("failed: vm0: migration leave: vm0 has no <memtune><hard_limit>, which libvirt "
                  "wants for RDMA as the most memory that QEMU may lock"));
  EXPECT_THAT(findings(), Contains(HasSubstr("; libvirt cannot set it for a running domain there: "
                                             "cgroup memory controller is not mounted")));
}

TEST_F(DiagnosisTest, a_host_that_cannot_run_the_guest_is_named) {
  machines[{"host1", "vm0"}] = "no machine pc-q35-7.2";
  machines[{"host0", "vm0"}] = "it runs there, so this is not asked";
  look();
  EXPECT_THAT(problems(), ElementsAre("failed: vm0: host1: its QEMU cannot run such a guest: no "
                                      "machine pc-q35-7.2"));
}

TEST(HostFacts, capabilities_tell_identity_acceleration_and_iommu) {
  HostFacts facts;
  read_capabilities(
      "<capabilities><host><uuid>1-2</uuid><iommu support='yes'/></host>"
      "<guest><arch name='x86_64'><domain type='qemu'/><domain type='kvm'/></arch>"
      "</guest></capabilities>",
      facts);
  EXPECT_EQ(facts.uuid, "1-2");
  EXPECT_TRUE(facts.kvm);
  EXPECT_EQ(facts.iommu, true);
  HostFacts none;
  read_capabilities("<capabilities><host/></capabilities>", none);
  EXPECT_FALSE(none.kvm);
  EXPECT_EQ(none.iommu, std::nullopt);
}

}  // namespace
}  // namespace ferry
