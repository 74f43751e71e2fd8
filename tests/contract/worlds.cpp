#include "tests/contract/worlds.hpp"

#include <ostream>

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

}  // namespace

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
