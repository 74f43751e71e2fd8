// Properties over files that are damaged or changed at random: reading never ends but in a scenario
// or in errors with places, and a scenario that is accepted survives its dump.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "core/scenario/document.hpp"
#include "files.hpp"
#include "fingerprint.hpp"

namespace ferry {
namespace {

void check_outcome(const Loaded<LoadedScenario>& loaded) {
  if (!loaded) {
    RC_ASSERT(!loaded.error().empty());
    for (const Diagnostic& diagnostic : loaded.error()) {
      RC_ASSERT(diagnostic.line >= 1U);
      RC_ASSERT(diagnostic.column >= 1U);
      RC_ASSERT(!diagnostic.message.empty());
    }
    return;
  }
  const auto again = read_scenario(loaded->resolved, "resolved.yaml");
  RC_ASSERT(again.has_value());
  RC_ASSERT(again->resolved == loaded->resolved);
  RC_ASSERT(fingerprint(again->scenario) == fingerprint(loaded->scenario));
}

TEST(DamagedFiles, give_a_scenario_or_errors_with_places) {
  const std::string text = text_of(good_file("everything.yaml"));
  EXPECT_TRUE(rc::check([&](std::size_t at, std::size_t length, const std::string& junk) {
    std::string damaged = text;
    const std::size_t start = at * 7919 % damaged.size();
    damaged.replace(start, length % 20, junk);
    check_outcome(read_scenario(damaged, good_file("damaged.yaml")));
  }));
}

TEST(ChangedScenarios, survive_their_dump) {
  EXPECT_TRUE(rc::check([](std::uint32_t vms, std::uint32_t memory, std::uint32_t other,
                           std::uint16_t zero, std::uint64_t seed, std::uint32_t wait) {
    const std::uint32_t low = std::min(memory, other) % 4'000'000 + 4096;
    const std::uint32_t high = std::max(memory, other) % 4'000'000 + 4'004'096;
    check_outcome(load_scenario(good_file("everything.yaml"),
                                {{"vms.vm.count", std::to_string(vms % 4 * 2 + 2)},
                                 {"vms.vm.memory", "{uniform: [" + std::to_string(low) + "KB, " +
                                                       std::to_string(high) + "KB]}"},
                                 {"vms.lone.pages.zero", std::to_string(zero / 65536.0)},
                                 {"seed", std::to_string(seed)},
                                 {"migrations.*.retry.wait", std::to_string(wait) + "ns"}}));
  }));
}

}  // namespace
}  // namespace ferry
