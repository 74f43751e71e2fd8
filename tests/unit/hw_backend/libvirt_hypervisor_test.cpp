// What a controller makes of a VM that an earlier one left: hosts are libvirt's own `test` driver,
// which needs no daemon and keeps a domain's devices and metadata, but plugs and moves nothing.
// What it lacks is scripted. Each of its connections has domains of its own, so that a test changes
// one only from within a call, or while no other call is under way.
#include "hw_backend/libvirt/libvirt_hypervisor.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <mutex>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "core/ports/world.hpp"
#include "hw_backend/threads/sleeping_processor.hpp"
#include "hw_backend/threads/thread_executor.hpp"
#include "hw_backend/threads/thread_fabric.hpp"
#include "tests/scratch_folder.hpp"
#include "tests/unit/hw_backend/guest_xml.hpp"
#include "tests/unit/hw_backend/scripted_libvirt.hpp"

namespace ferry {
namespace {

constexpr DeviceKind vf = DeviceKind::virtual_function;
constexpr VmId vm0{0};

const std::string driver_nic_xml =
    "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>"
    "<alias name='ua-vf0'/></interface>";

class LeftVm : public testing::Test {
 protected:
  /// The VM runs on host `on` with that mark and its NIC, or without one; both hosts are there.
  void left(std::uint32_t on, const DomainMark& mark, const std::string& nic = driver_nic_xml) {
    std::ofstream(folder_ / "domain.xml") << domain_xml("hpc-07", mark, nic);
    for (std::uint32_t i = 0; i < 2; ++i) {
      const std::string host = "host" + std::to_string(i);
      std::ofstream(folder_ / (host + ".xml"))
          << "<node>" << (i == on ? "<domain file='domain.xml'/>" : "") << "</node>";
      HostSpec spec;
      spec.name = host;
      instance_.hosts.push_back(spec);
      ClusterHost described;
      described.name = host;
      described.libvirt = "test://" + (folder_ / (host + ".xml")).string();
      cluster_.hosts.push_back(described);
    }
    VmSpec vm;
    vm.name = "vm0";
    instance_.vms = {vm};
    cluster_.vms = {{"vm0", "hpc-07", "ua-vf0", "ua-shm0", ""}};
  }
  static std::string domain_xml(const std::string& name, const DomainMark& mark,
                                const std::string& nic) {
    std::string element = to_xml(mark);
    const std::string start = "<move";
    element.replace(element.find(start), start.size(),
                    std::string(start) + " xmlns='" + metadata_namespace + "'");
    return "<domain type='test' id='1'><name>" + name +
           "</name><memory unit='MiB'>160</memory><metadata>" + element +
           "</metadata><os><type>hvm</type></os><devices>" + nic + "</devices></domain>";
  }
  /// Every host has these virtual functions.
  void with_functions(std::vector<std::string> addresses) {
    FunctionPool pool;
    pool.pci.addresses = std::move(addresses);
    for (ClusterHost& host : cluster_.hosts) host.virtual_functions = {pool};
  }
  static DomainMark mark_of(Phase phase, const std::string& taken_on) {
    DomainMark mark{"leave-003", phase, "host0", "", {}};
    mark.take(vf, driver_nic_xml, taken_on);
    return mark;
  }
  /// The world's clock runs so many times as fast as a real one.
  void run(const std::function<void(World&, ClusterLink&)>& body, double speed = 1) const {
    const ThreadClock clock(speed);
    ThreadExecutor executor(clock);
    ThreadSleeper sleeper(clock);
    ClusterLink link(instance_, cluster_, sleeper, clock, executor);
    LibvirtHypervisor hypervisor(link, instance_, "leave-004");
    ThreadFabric fabric(executor, hypervisor, {});
    SleepingProcessor processor(sleeper);
    World world{sleeper, executor, hypervisor, processor, fabric};
    executor.adopt([&] { body(world, link); });
    executor.wait_for_tasks();
  }
  /// It runs on host1 from now on, whoever brought it there.
  static void starts_on_host1(World& world, ClusterLink& link) {
    const std::string xml = domain_xml("hpc-07", mark_of(Phase::migration, "host0"), "");
    const auto made = link.ask<bool>(
        vm0, HostId{1}, "start", later(world), [xml](HostConnections& host) -> Result<bool> {
          const auto connection = host.calling();
          const virDomainPtr domain = virDomainCreateXML((*connection)->get(), xml.c_str(), 0);
          return domain != nullptr && virDomainFree(domain) == 0;
        });
    EXPECT_TRUE(made && *made);
  }
  static TimePoint later(const World& world) { return world.clock.now() + Duration::seconds(60); }

  ScratchFolder scratch_;
  const std::filesystem::path folder_ = scratch_.path();
  Instance instance_;
  ClusterFile cluster_;
};

TEST_F(LeftVm, whose_device_was_asked_to_go_where_it_runs_may_yet_lose_it) {
  left(0, mark_of(Phase::detach_vf, "host0"));
  run([&](World& world, ClusterLink& /*link*/) {
    const Result<> attached = world.hypervisor.attach(vm0, vf, later(world));
    ASSERT_FALSE(attached);
    EXPECT_EQ(attached.error().kind, FailureKind::refused);
    EXPECT_EQ(attached.error().reason,
              "the detach of virtual_function of vm0 has not completed yet");
  });
}

TEST_F(LeftVm, whose_device_comes_back_where_it_was_taken_is_marked_so_before_it_does) {
  left(0, mark_of(Phase::detach_vf, "host0"), "");
  run([&](World& world, ClusterLink& link) {
    EXPECT_FALSE(world.hypervisor.attach(vm0, vf, later(world)));  // the host has no function
    const auto seen =
        link.ask<DomainState>(vm0, HostId{0}, "looking", later(world),
                              [](HostConnections& host) { return look_at(host, "hpc-07"); });
    ASSERT_TRUE(seen && seen->mark && seen->mark->find(vf) != nullptr);
    EXPECT_TRUE(seen->mark->find(vf)->gone);
  });
}

TEST_F(LeftVm, gets_shared_memory_back_where_it_was_taken_only_when_qemu_has_freed_the_one_before) {
  DomainMark mark{"leave-003", Phase::remove_ivshmem, "host0", "", {}};
  mark.take(DeviceKind::ivshmem, shmem_xml, "host0");
  left(0, mark);
  run(
      [&](World& world, ClusterLink& /*link*/) {
        const TimePoint start = world.clock.now();
        // What becomes of it is the driver's; QEMU would abort if it were plugged in too early.
        (void)world.hypervisor.attach(vm0, DeviceKind::ivshmem, later(world));
        EXPECT_GE(world.clock.now() - start, Duration::seconds(1));
      },
      4);
}

TEST_F(LeftVm, does_not_move_while_a_device_may_yet_go) {
  left(0, mark_of(Phase::detach_vf, "host0"));
  run([&](World& world, ClusterLink& /*link*/) {
    class : public TransferObserver {
      void round_done(VmId /*vm*/, const RoundReport& /*round*/) override {}
    } nobody;
    const auto moved = world.hypervisor.migrate(vm0, HostId{1}, {}, nobody, later(world));
    ASSERT_FALSE(moved);
    EXPECT_EQ(moved.error().kind, FailureKind::refused);
    EXPECT_EQ(moved.error().reason, "the detach of virtual_function of vm0 has not completed yet");
  });
}

// Else a controller that resumes waits in vain for an unplug that nobody has asked for.
class WholeVm : public LeftVm,
                public testing::WithParamInterface<std::tuple<std::uint32_t, Phase>> {};

TEST_P(WholeVm, has_its_device_back_although_its_mark_says_that_it_was_taken) {
  const HostId host{std::get<std::uint32_t>(GetParam())};
  left(host.index, mark_of(std::get<Phase>(GetParam()), "host0"));
  run([&](World& world, ClusterLink& /*link*/) {
    const Result<> attached = world.hypervisor.attach(vm0, vf, later(world));
    EXPECT_TRUE(attached) << attached.error().reason;
    const Result<> awaited = world.hypervisor.await_detached(vm0, vf, later(world));
    ASSERT_FALSE(awaited);
    EXPECT_EQ(awaited.error().reason, "no detach of virtual_function of vm0 is under way");
    EXPECT_TRUE(world.hypervisor.await_settled(vm0, later(world)));
    EXPECT_EQ(world.hypervisor.inspect(vm0).host, host);
    EXPECT_TRUE(world.hypervisor.inspect(vm0).virtual_function);
    EXPECT_FALSE(world.hypervisor.inspect(vm0).ivshmem);
  });
}
INSTANTIATE_TEST_SUITE_P(Rest, WholeVm,
                         testing::Values(std::tuple{1U, Phase::detach_vf},
                                         std::tuple{1U, Phase::migration},
                                         // A migration that failed, and its device came back.
                                         std::tuple{0U, Phase::migration}));

// Whatever libvirt calls it: this driver's answer is that it unplugs nothing.
TEST_F(LeftVm, has_lost_a_device_that_went_before_it_was_asked_for) {
  left(0, mark_of(Phase::detach_vf, "host0"));
  run([&](World& world, ClusterLink& link) {
    const auto ask = [&](const std::string& alias) {
      return link.ask<Unplug>(
          vm0, HostId{0}, "detach", later(world),
          [alias](HostConnections& host) { return ask_unplug(host, "hpc-07", alias); });
    };
    const Result<Unplug> gone = ask("ua-vf9");
    ASSERT_TRUE(gone) << gone.error().reason;
    EXPECT_EQ(*gone, Unplug::not_there);
    const Result<Unplug> there = ask("ua-vf0");
    ASSERT_FALSE(there);
    EXPECT_EQ(there.error().kind, FailureKind::refused);
  });
}

TEST_F(LeftVm, is_at_rest_when_a_device_that_may_go_has_not_gone_for_a_while) {
  left(0, mark_of(Phase::detach_vf, "host0"));
  run(
      [&](World& world, ClusterLink& /*link*/) {
        EXPECT_TRUE(world.hypervisor.await_settled(vm0, later(world)));
        EXPECT_TRUE(world.hypervisor.attach(vm0, vf, later(world)));
      },
      4);
}

// As when its libvirtd restarts: connections are refused until it is there again.
TEST_F(LeftVm, is_not_lost_while_its_host_cannot_be_asked_for_a_moment) {
  left(0, mark_of(Phase::migration, "host0"));
  const std::filesystem::path host = folder_ / "host0.xml";
  const std::filesystem::path away = folder_ / "away.xml";
  std::filesystem::rename(host, away);
  run([&](World& world, ClusterLink& /*link*/) {
    const auto daemon = world.executor.spawn("starts again", [&] {
      (void)world.clock.sleep_until(world.clock.now() + Duration::milliseconds(700));
      std::filesystem::rename(away, host);
    });
    EXPECT_FALSE(world.hypervisor.inspect(vm0).running);  // at once
    const Result<> attached = world.hypervisor.attach(vm0, vf, later(world));
    EXPECT_TRUE(attached) << attached.error().reason;
    EXPECT_TRUE(world.hypervisor.inspect(vm0).running);
  });
}

TEST_F(LeftVm, is_lost_when_its_host_does_not_come_back) {
  left(0, mark_of(Phase::migration, "host0"));
  cluster_.hosts[0].libvirt = "qemu+unix:///system?socket=" + (folder_ / "nothing").string();
  run(
      [&](World& world, ClusterLink& /*link*/) {
        const TimePoint start = world.clock.now();
        const Result<> attached = world.hypervisor.attach(vm0, vf, start + Duration::seconds(600));
        ASSERT_FALSE(attached);
        EXPECT_EQ(attached.error().kind, FailureKind::lost);
        EXPECT_GE(world.clock.now() - start, Duration::seconds(39));
        EXPECT_LT(world.clock.now() - start, Duration::seconds(300));
      },
      40);
}

TEST_F(LeftVm, is_lost_at_once_when_every_host_answers_that_it_does_not_have_it) {
  left(2, mark_of(Phase::migration, "host0"));
  run([&](World& world, ClusterLink& /*link*/) {
    const TimePoint start = world.clock.now();
    const Result<> attached = world.hypervisor.attach(vm0, vf, later(world));
    ASSERT_FALSE(attached);
    EXPECT_EQ(attached.error().kind, FailureKind::lost);
    EXPECT_LT(world.clock.now() - start, Duration::seconds(30));
  });
}

/// A move whose call fails although the migration goes on, as when its connection breaks.
class MoveWithoutItsCall : public LeftVm {
 protected:
  void SetUp() override {
    left(0, mark_of(Phase::migration, "host0"), "");
    for (ClusterHost& host : cluster_.hosts) host.migrate.tcp = "tcp://" + host.name;
    libvirt_.migrate = [&] {
      under_way_ = true;
      return -1;
    };
    libvirt_.job_under_way = [&](virDomainPtr /*domain*/) { return under_way_.load(); };
  }
  static Result<TransferReport> move(World& world) {
    class : public TransferObserver {
      void round_done(VmId /*vm*/, const RoundReport& /*round*/) override {}
    } nobody;
    return world.hypervisor.migrate(vm0, HostId{1}, {}, nobody, later(world));
  }

  ScriptedLibvirt libvirt_;
  std::atomic<bool> under_way_ = false;
  std::atomic<int> aborts_ = 0;
};

TEST_F(MoveWithoutItsCall, has_failed_only_when_its_migration_was_aborted) {
  libvirt_.abort_job = [&](virDomainPtr /*domain*/) {
    if (++aborts_ == 1) return -1;  // while the destination prepares there is nothing to abort
    under_way_ = false;
    return 0;
  };
  run([&](World& world, ClusterLink& /*link*/) {
    const auto moved = move(world);
    ASSERT_FALSE(moved);
    EXPECT_EQ(moved.error().kind, FailureKind::failed) << moved.error().reason;
    EXPECT_EQ(aborts_, 2);
    EXPECT_FALSE(under_way_);
  });
}

TEST_F(MoveWithoutItsCall, has_arrived_if_the_vm_runs_on_the_destination_in_the_end) {
  run([&](World& world, ClusterLink& link) {
    libvirt_.abort_job = [&](virDomainPtr domain) {  // too late
      EXPECT_EQ(virDomainDestroy(domain), 0);
      starts_on_host1(world, link);
      under_way_ = false;
      return -1;
    };
    const auto moved = move(world);
    ASSERT_TRUE(moved) << moved.error().reason;
    EXPECT_NE(moved->note.find("libvirt reported"), std::string::npos) << moved->note;
    EXPECT_EQ(world.hypervisor.inspect(vm0).host, HostId{1});
  });
}

TEST_F(MoveWithoutItsCall, says_that_its_migration_goes_on_if_it_cannot_be_aborted) {
  libvirt_.abort_job = [&](virDomainPtr /*domain*/) {
    ++aborts_;
    return -1;
  };
  run(
      [&](World& world, ClusterLink& /*link*/) {
        const auto moved = move(world);
        ASSERT_FALSE(moved);
        EXPECT_EQ(moved.error().kind, FailureKind::failed);
        EXPECT_NE(moved.error().reason.find("still under way on host0"), std::string::npos)
            << moved.error().reason;
        EXPECT_GT(aborts_, 1);
      },
      40);
}

TEST_F(LeftVm, that_ends_before_its_device_has_gone_is_lost) {
  left(0, mark_of(Phase::detach_vf, "host0"));
  ScriptedLibvirt libvirt;
  std::atomic<int> looks = 0;
  libvirt.job_under_way = [&](virDomainPtr domain) {  // asked whenever it is looked at
    const bool ends = ++looks == 2;
    EXPECT_TRUE(!ends || virDomainDestroy(domain) == 0);
    return false;
  };
  run(
      [&](World& world, ClusterLink& /*link*/) {
        const Result<> gone = world.hypervisor.await_detached(vm0, vf, later(world));
        ASSERT_FALSE(gone);
        EXPECT_EQ(gone.error().kind, FailureKind::lost) << gone.error().reason;
      },
      4);
}

// Hosts that are made alike have functions at the same addresses.
TEST_F(LeftVm, gets_the_last_free_function_of_its_host_while_another_host_attaches_one_like_it) {
  left(0, mark_of(Phase::migration, "host0"), "");
  std::ofstream(folder_ / "other.xml")
      << domain_xml("hpc-08", mark_of(Phase::migration, "host1"), "");
  std::ofstream(folder_ / "host1.xml") << "<node><domain file='other.xml'/></node>";
  VmSpec other;
  other.name = "vm1";
  other.host = HostId{1};
  instance_.vms.push_back(other);
  cluster_.vms.push_back({"vm1", "hpc-08", "ua-vf0", "ua-shm0", ""});
  with_functions({"0000:03:00.1"});

  std::promise<void> first_begins, second_has_ended;
  std::set<std::string> asked;
  std::mutex mutex;
  ScriptedLibvirt libvirt;
  libvirt.attach = [&](virDomainPtr domain, const std::string& /*xml*/) {
    const std::string name = virDomainGetName(domain);
    {
      const std::lock_guard guard(mutex);
      asked.insert(name);
    }
    if (name == "hpc-07") {
      first_begins.set_value();
      second_has_ended.get_future().wait();
    }
    return -1;
  };
  run([&](World& world, ClusterLink& /*link*/) {
    const auto first = world.executor.spawn(
        "attaches", [&] { EXPECT_FALSE(world.hypervisor.attach(vm0, vf, later(world))); });
    ASSERT_EQ(first_begins.get_future().wait_for(std::chrono::seconds(60)),
              std::future_status::ready);
    EXPECT_FALSE(world.hypervisor.attach(VmId{1}, vf, later(world)));
    second_has_ended.set_value();
  });
  EXPECT_EQ(asked, (std::set<std::string>{"hpc-07", "hpc-08"}));
}

TEST_F(LeftVm, tries_a_function_whose_like_has_failed_on_another_host) {
  left(0, mark_of(Phase::migration, "host0"), "");
  with_functions({"0000:03:00.1", "0000:03:00.2"});
  std::vector<std::string> asked;
  ScriptedLibvirt libvirt;
  libvirt.attach = [&](virDomainPtr domain, const std::string& xml) {
    asked.push_back(xml);
    EXPECT_EQ(virDomainDestroy(domain), 0);
    return -1;
  };
  run([&](World& world, ClusterLink& link) {
    EXPECT_FALSE(world.hypervisor.attach(vm0, vf, later(world)));
    starts_on_host1(world, link);
    EXPECT_FALSE(world.hypervisor.attach(vm0, vf, later(world)));
  });
  ASSERT_EQ(asked.size(), 2U);
  EXPECT_EQ(asked[0], asked[1]);
}

}  // namespace
}  // namespace ferry
