#include "tests/contract/worlds.hpp"

#include <array>
#include <atomic>
#include <fstream>
#include <ostream>
#include <string>

#include "hw_backend/ranks/joined_endpoint.hpp"
#include "hw_backend/shm/shm_endpoint.hpp"
#include "hw_backend/shm/shm_fabric.hpp"
#include "hw_backend/shm/shm_wait_set.hpp"
#include "hw_backend/threads/threads_world.hpp"
#include "tests/device_file.hpp"
#include "tests/sanitized.hpp"

namespace ferry {
namespace {

class ThreadsUnderTest final : public WorldUnderTest {
 public:
  [[nodiscard]] std::string name() const override { return "threads"; }
  [[nodiscard]] std::optional<std::string> missing() const override { return std::nullopt; }
  void run(const Instance& instance, const Platform& platform,
           const std::function<void(World&)>& body) const override {
    // Fast enough that a test takes milliseconds, slow enough that the machine's own delays stay
    // below the differences that tests rely on: the sanitizers slow the code, not the clock.
    run_threads(instance, platform, {.seed = 1, .speed = sanitized ? 4.0 : 10.0}, body);
  }
};

/// The threads world with packets through shared memory. Ranks are where their threads are,
/// whatever the cluster says: there are no devices between them.
class SharedMemoryUnderTest final : public WorldUnderTest {
 public:
  [[nodiscard]] std::string name() const override { return "shm"; }
  [[nodiscard]] std::optional<std::string> missing() const override { return std::nullopt; }
  [[nodiscard]] bool has_devices() const override { return false; }
  void run(const Instance& instance, const Platform& platform,
           const std::function<void(World&)>& body) const override {
    threads_.run(instance, platform, [&body](World& world) {
      shm::ShmFabric fabric(shm::Region::make_anonymous({}), parker_of_this_thread()->clock(), {});
      World with_memory{world.clock, world.executor, world.hypervisor, world.processor, fabric};
      body(with_memory);
    });
  }

 private:
  ThreadsUnderTest threads_;
};

/// Endpoints of two fabrics as one: `shm` and `ivshmem` go through the memory of a device, all
/// other channels through shared memory. Ranks are numbered as they come.
class JoinedFabric final : public Fabric {
 public:
  explicit JoinedFabric(const ThreadClock& clock)
      : memory_(shm::Region::make_anonymous({.ranks = most_ranks}), clock, {}),
        device_(*shm::Region::map_device({file_.name()}, "contract", most_ranks,
                                         Duration::seconds(60))) {}
  std::unique_ptr<WaitSet> make_wait_set() override { return memory_.make_wait_set(); }
  std::unique_ptr<Endpoint> open(const RankPlace& /*place*/, WaitSet& wait_set) override {
    return std::make_unique<Joined>(RankId{ranks_++}, memory_, device_,
                                    static_cast<shm::ShmWaitSet&>(wait_set));
  }
  const TransportProfile* profile(Channel channel, bool same_socket) const override {
    return memory_.profile(channel, same_socket);
  }

 private:
  static constexpr std::uint32_t most_ranks = 1024;
  static constexpr std::array by_device = {Channel::shm, Channel::ivshmem};
  static constexpr std::array by_memory = {Channel::cma, Channel::sriov, Channel::sriov_loopback,
                                           Channel::passthrough, Channel::native};

  class Joined final : public Endpoint {
   public:
    Joined(RankId rank, shm::ShmFabric& memory, const std::shared_ptr<shm::Region>& device,
           shm::ShmWaitSet& wait_set)
        : in_memory_(memory.open_named(rank, wait_set)),
          on_device_(device, wait_set, false, rank),
          joined_(rank, wait_set) {
      joined_.set_part(by_device, &on_device_);
      joined_.set_part(by_memory, in_memory_.get());
    }
    EndpointAddress address() const override { return joined_.address(); }
    bool post(EndpointAddress to, Channel channel, const PacketHeader& header,
              std::span<const ConstSlice> body) override {
      return joined_.post(to, channel, header, body);
    }
    std::size_t largest_body(Channel channel) const override {
      return joined_.largest_body(channel);
    }
    const Arrival* poll() override { return joined_.poll(); }
    MemoryKey expose(Channel channel, std::span<const ConstSlice> exposed) override {
      return joined_.expose(channel, exposed);
    }
    void withdraw(MemoryKey key) override { joined_.withdraw(key); }
    void read(EndpointAddress from, Channel channel, MemoryKey key, std::size_t offset,
              std::span<const Slice> into, std::uint64_t cookie) override {
      joined_.read(from, channel, key, offset, into, cookie);
    }
    void connect(EndpointAddress to, Channel channel) override { joined_.connect(to, channel); }
    void disconnect(EndpointAddress to, Channel channel) override {
      joined_.disconnect(to, channel);
    }

   private:
    std::unique_ptr<shm::ShmEndpoint> in_memory_;
    shm::ShmEndpoint on_device_;
    ranks::JoinedEndpoint joined_;
  };

  DeviceFile file_{Bytes::mebi(16)};
  shm::ShmFabric memory_;
  std::shared_ptr<shm::Region> device_;
  std::atomic<std::uint32_t> ranks_ = 0;
};

/// The threads world with packets through shared memory and the memory of a device.
class JoinedUnderTest final : public WorldUnderTest {
 public:
  [[nodiscard]] std::string name() const override { return "joined"; }
  [[nodiscard]] std::optional<std::string> missing() const override { return std::nullopt; }
  [[nodiscard]] bool has_devices() const override { return false; }
  void run(const Instance& instance, const Platform& platform,
           const std::function<void(World&)>& body) const override {
    threads_.run(instance, platform, [&body](World& world) {
      JoinedFabric fabric(parker_of_this_thread()->clock());
      World joined{world.clock, world.executor, world.hypervisor, world.processor, fabric};
      body(joined);
    });
  }

 private:
  ThreadsUnderTest threads_;
};

}  // namespace

const std::vector<const WorldUnderTest*>& worlds_with_packets() {
  static const SharedMemoryUnderTest memory;
  static const JoinedUnderTest joined;
  static const std::vector<const WorldUnderTest*> worlds = [] {
    std::vector<const WorldUnderTest*> all = worlds_under_test();
    all.push_back(&memory);
    all.push_back(&joined);
    all.push_back(&verbs_under_test());
    return all;
  }();
  return worlds;
}

const std::vector<const WorldUnderTest*>& worlds_under_test() {
  static const ThreadsUnderTest threads;
  static const std::vector<const WorldUnderTest*> worlds = {&threads,
                                                            &simulated_world_under_test()};
  return worlds;
}

const std::vector<const WorldUnderTest*>& worlds_with_vms() {
  static const std::vector<const WorldUnderTest*> worlds = [] {
    std::vector<const WorldUnderTest*> all = worlds_under_test();
    all.push_back(&real_world_under_test());
    return all;
  }();
  return worlds;
}

void PrintTo(const WorldUnderTest* world, std::ostream* stream) { *stream << world->name(); }

}  // namespace ferry
