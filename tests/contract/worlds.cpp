#include "tests/contract/worlds.hpp"

#include <ostream>

#include "hw_backend/shm/shm_fabric.hpp"
#include "hw_backend/threads/threads_world.hpp"

namespace ferry {
namespace {

#ifdef FERRY_SANITIZED
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

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

}  // namespace

const std::vector<const WorldUnderTest*>& worlds_with_packets() {
  static const SharedMemoryUnderTest memory;
  static const std::vector<const WorldUnderTest*> worlds = [] {
    std::vector<const WorldUnderTest*> all = worlds_under_test();
    all.push_back(&memory);
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
