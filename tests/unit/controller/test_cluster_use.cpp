// What is said before a cluster is touched, and who was asked already.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "controller/cli/cluster_use.hpp"
#include "tests/scratch_folder.hpp"

namespace ferry {
namespace {

LoadedCluster cluster(const std::string& domain) {
  const auto loaded = read_cluster(
      "ferry_cluster: 1\n"
      "hosts: {host0: {libvirt: 'qemu:///system', migrate: {tcp: 'tcp://node01'}}}\n"
      "vms: {vm0: {domain: " +
          domain + "}}\n",
      "cluster.yaml");
  EXPECT_TRUE(loaded);
  return *loaded;
}

class ConfirmationsTest : public testing::Test {
 protected:
  ScratchFolder scratch_;
  const std::filesystem::path folder_ = scratch_.path();
};

TEST_F(ConfirmationsTest, are_kept_by_what_the_cluster_file_says) {
  const Confirmations confirmations(folder_ / "ferry" / "confirmed");
  EXPECT_FALSE(confirmations.has(cluster("hpc-07")));
  ASSERT_TRUE(confirmations.add(cluster("hpc-07")));
  EXPECT_TRUE(confirmations.has(cluster("hpc-07")));
  EXPECT_FALSE(confirmations.has(cluster("hpc-08"))) << "a changed file is another cluster";
  ASSERT_TRUE(confirmations.add(cluster("hpc-08")));
  EXPECT_TRUE(confirmations.has(cluster("hpc-07")));
  EXPECT_TRUE(Confirmations(folder_ / "ferry" / "confirmed").has(cluster("hpc-08")));
}

TEST_F(ConfirmationsTest, that_cannot_be_kept_say_so) {
  const auto kept = Confirmations("/proc/ferry/confirmed").add(cluster("hpc-07"));
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error(),
            "/proc/ferry/confirmed: cannot be written, so the next run in this cluster asks again");
}

TEST(ConfirmationsFile, is_where_the_xdg_specification_puts_state) {
  ::setenv("HOME", "/home/someone", 1);
  ::setenv("XDG_STATE_HOME", "/var/state", 1);
  EXPECT_EQ(Confirmations::default_file(), "/var/state/ferry/confirmed");
  ::setenv("XDG_STATE_HOME", "relative", 1);
  EXPECT_EQ(Confirmations::default_file(), "/home/someone/.local/state/ferry/confirmed");
  ::unsetenv("XDG_STATE_HOME");
  EXPECT_EQ(Confirmations::default_file(), "/home/someone/.local/state/ferry/confirmed");
  ::unsetenv("HOME");
  EXPECT_EQ(Confirmations::default_file(), "");
}

Undertaking moves_from_host0_to_host1(std::uint32_t count) {
  Undertaking undertaking;
  undertaking.instance.hosts.resize(2);
  undertaking.instance.hosts[0].name = "host0";
  undertaking.instance.hosts[1].name = "host1";
  for (std::uint32_t i = 0; i < count; ++i) {
    undertaking.instance.vms.emplace_back().name = "vm" + std::to_string(i);
    undertaking.instance.moves.emplace_back().vm = VmId{i};
    undertaking.plan.moves.push_back({i, HostId{0}, HostId{1}, Duration::zero()});
  }
  return undertaking;
}

TEST(Announcement, names_every_domain_and_where_it_goes) {
  EXPECT_EQ(announcement({moves_from_host0_to_host1(1)}, cluster("hpc-07"), 1),
            "about to migrate 1 VM on 2 hosts of cluster.yaml:\n"
            "  vm0 (domain hpc-07) from host0 to host1\n");
}

TEST(Announcement, of_a_sweep_names_a_move_once_and_ten_at_most) {
  const std::string text = announcement(
      {moves_from_host0_to_host1(4), moves_from_host0_to_host1(12)}, cluster("hpc-07"), 10);
  EXPECT_EQ(text.substr(0, text.find('\n')),
            "about to migrate 12 VMs on 2 hosts of cluster.yaml, in 10 runs:");
  EXPECT_EQ(text.substr(text.rfind('\n', text.size() - 2) + 1), "  and 2 more\n");
}

TEST(Failures, are_one_line_each_with_what_would_put_them_right) {
  using Level = ClusterFinding::Level;
  ClusterDiagnosis diagnosis;
  diagnosis.findings = {{Level::ok, "host0: libvirt", "9.0.0", ""},
                        {Level::warning, "vm0: memory", "no hard limit", "set one"}};
  EXPECT_FALSE(diagnosis.failed());
  EXPECT_EQ(failures_text(diagnosis), "");
  diagnosis.findings.push_back({Level::failed, "host1: libvirt", "does not answer", "start it"});
  diagnosis.findings.push_back({Level::failed, "vm1", "is not defined", ""});
  EXPECT_TRUE(diagnosis.failed());
  EXPECT_EQ(failures_text(diagnosis),
            "host1: libvirt: does not answer; start it\nvm1: is not defined");
}

}  // namespace
}  // namespace ferry
