// How a channel into a guest is opened and left: hosts are libvirt's own `test` driver, which has
// no channels, and one that takes connections and answers nothing.
#include "hw_backend/libvirt/domain_channel.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <string>

#include "hw_backend/threads/thread_executor.hpp"
#include "tests/scratch_folder.hpp"
#include "tests/unit/hw_backend/scripted_libvirt.hpp"

namespace ferry {
namespace {

constexpr VmId vm0{0};

/// Where a daemon would listen; the kernel takes connections, and nobody answers.
class FrozenDaemon {
 public:
  explicit FrozenDaemon(const std::filesystem::path& path)
      : socket_(socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(socket_, 8), 0);
  }
  /// Who waits for an answer is told that none comes.
  void end() {
    if (socket_ >= 0) close(socket_);
    socket_ = -1;
  }
  ~FrozenDaemon() { end(); }
  FrozenDaemon(const FrozenDaemon&) = delete;
  FrozenDaemon& operator=(const FrozenDaemon&) = delete;

 private:
  int socket_;
};

class DomainChannelTest : public testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(folder_ / "domain.xml")
        << "<domain type='test'><name>hpc-07</name><memory unit='MiB'>160</memory>"
           "<os><type>hvm</type></os></domain>";
    std::ofstream(folder_ / "host0.xml") << "<node><domain file='domain.xml'/></node>";
    host("host0", "test://" + (folder_ / "host0.xml").string());
    VmSpec vm;
    vm.name = "vm0";
    instance_.vms = {vm};
    cluster_.vms = {{"vm0", "hpc-07", "", "", "org.ferry.agent.0"}};
  }
  void host(const std::string& name, const std::string& uri) {
    HostSpec spec;
    spec.name = name;
    instance_.hosts.push_back(spec);
    ClusterHost described;
    described.name = name;
    described.libvirt = uri;
    cluster_.hosts.push_back(described);
  }
  /// The world's clock runs so many times as fast as a real one.
  void run(const std::function<void(ClusterLink&, Whereabouts&)>& body, double speed = 1) const {
    const ThreadClock clock(speed);
    ThreadExecutor executor(clock);
    ThreadSleeper sleeper(clock);
    ClusterLink link(instance_, cluster_, sleeper, clock, executor);
    Whereabouts whereabouts(link, instance_);
    executor.adopt([&] { body(link, whereabouts); });
    executor.wait_for_tasks();
  }
  /// Whether it becomes so, on a machine of any speed.
  static bool becomes(const std::function<bool()>& so) {
    for (int i = 0; i < 3000 && !so(); ++i) usleep(10'000);
    return so();
  }

  ScratchFolder scratch_;
  const std::filesystem::path folder_ = scratch_.path();
  Instance instance_;
  ClusterFile cluster_;
};

TEST_F(DomainChannelTest, is_opened_while_a_host_that_has_nothing_to_do_with_it_is_frozen) {
  FrozenDaemon frozen(folder_ / "socket");
  host("host1", "qemu+unix:///system?socket=" + (folder_ / "socket").string());
  // So slow that the time for an answer does not pass.
  run(
      [&](ClusterLink& link, Whereabouts& whereabouts) {
        {
          const DomainChannel channel(link, whereabouts, vm0, "org.ferry.agent.0");
          EXPECT_TRUE(becomes([&] { return !channel.trouble().empty(); }));
          EXPECT_NE(channel.trouble().find("channel org.ferry.agent.0 of hpc-07"),
                    std::string::npos)
              << channel.trouble();
        }
        frozen.end();
      },
      0.01);
}

TEST_F(DomainChannelTest, is_opened_where_nobody_expected_the_vm) {
  const std::string where_it_is = cluster_.hosts[0].libvirt;
  std::ofstream(folder_ / "empty.xml") << "<node/>";
  cluster_.hosts[0].libvirt = "test://" + (folder_ / "empty.xml").string();
  host("host1", where_it_is);
  run([&](ClusterLink& link, Whereabouts& whereabouts) {
    const DomainChannel channel(link, whereabouts, vm0, "org.ferry.agent.0");
    EXPECT_TRUE(becomes([&] { return !channel.trouble().empty(); }));
  });
}

TEST_F(DomainChannelTest, is_closed_once_when_it_was_left_open) {
  std::atomic<int> aborted = 0;
  ScriptedLibvirt libvirt;
  libvirt.open_channel = [] { return 0; };
  libvirt.stream_aborted = [&] { ++aborted; };
  run([&](ClusterLink& link, Whereabouts& whereabouts) {
    const DomainChannel channel(link, whereabouts, vm0, "org.ferry.agent.0");
    EXPECT_TRUE(becomes([&] { return channel.openings() == 1; }));
    EXPECT_EQ(aborted, 0);
  });
  EXPECT_EQ(aborted, 1);
}

TEST_F(DomainChannelTest, has_no_stream_while_its_vm_moves_and_another_one_after_that) {
  std::atomic<int> opened = 0;
  std::atomic<int> aborted = 0;
  ScriptedLibvirt libvirt;
  libvirt.open_channel = [&] {
    ++opened;
    return 0;
  };
  libvirt.stream_aborted = [&] { ++aborted; };
  run([&](ClusterLink& link, Whereabouts& whereabouts) {
    const DomainChannel channel(link, whereabouts, vm0, "org.ferry.agent.0");
    EXPECT_TRUE(becomes([&] { return channel.openings() == 1; }));
    {
      const NoChannel while_it_moves(link.channels(), vm0);
      EXPECT_EQ(aborted, 1) << "before the migration is asked for";
      { const NoChannel and_somebody_waits_for_it(link.channels(), vm0); }
      usleep(500'000);  // more than two of its tries
      EXPECT_EQ(opened, 1);
    }
    EXPECT_TRUE(becomes([&] { return channel.openings() == 2; }));
    EXPECT_EQ(aborted, 1);
  });
}

TEST_F(DomainChannelTest, that_opens_when_its_vm_begins_to_move_is_closed_again) {
  std::promise<void> opens, go_on;
  std::atomic<int> opened = 0;
  std::atomic<int> aborted = 0;
  ScriptedLibvirt libvirt;
  libvirt.open_channel = [&] {
    if (++opened == 1) {
      opens.set_value();
      go_on.get_future().wait();
    }
    return 0;
  };
  libvirt.stream_aborted = [&] { ++aborted; };
  run([&](ClusterLink& link, Whereabouts& whereabouts) {
    const DomainChannel channel(link, whereabouts, vm0, "org.ferry.agent.0");
    EXPECT_EQ(opens.get_future().wait_for(std::chrono::seconds(60)), std::future_status::ready);
    {
      const NoChannel while_it_moves(link.channels(), vm0);
      go_on.set_value();
      EXPECT_TRUE(becomes([&] { return aborted == 1; }));
      EXPECT_EQ(channel.openings(), 0U);
    }
    EXPECT_TRUE(becomes([&] { return channel.openings() == 1; }));
  });
}

// Else its connection keeps libvirt's event loop running to the end of the process, and beyond.
TEST_F(DomainChannelTest, that_is_left_while_it_is_being_opened_is_closed_when_it_is_open) {
  std::promise<void> opens, go_on;
  std::atomic<int> aborted = 0;
  ScriptedLibvirt libvirt;
  libvirt.open_channel = [&] {
    opens.set_value();
    go_on.get_future().wait();
    return 0;
  };
  libvirt.stream_aborted = [&] { ++aborted; };
  run([&](ClusterLink& link, Whereabouts& whereabouts) {
    {
      const DomainChannel channel(link, whereabouts, vm0, "org.ferry.agent.0");
      EXPECT_EQ(opens.get_future().wait_for(std::chrono::seconds(60)), std::future_status::ready);
    }
    go_on.set_value();
  });
  EXPECT_EQ(aborted, 1);
}

}  // namespace
}  // namespace ferry
