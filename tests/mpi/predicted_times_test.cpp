// What `ferry explain` predicts is what the engine takes in the simulated world.
#include <cmath>
#include <map>

#include "core/channel/explanation.hpp"
#include "core/channel/survey.hpp"
#include "core/scenario/document.hpp"
#include "core/topology/locality.hpp"
#include "tests/mpi/mpi_job.hpp"

namespace ferry::mpi {
namespace {

/// Half of the mean round trip of phantom messages, after a first one that opens the channels.
Duration half_round_trip(World& world, const JobChannels& channels, const JobOptions& options,
                         RankId from, RankId to, std::size_t size) {
  constexpr int rounds = 4;
  Duration taken;
  Job job({world.executor, world.processor, world.fabric}, channels, options);
  job.start([&](Process& process) {
    Communicator communicator = process.world();
    const bool first = process.rank() == from;
    if (!first && process.rank() != to) return;
    const auto peer = static_cast<Rank>(first ? to.index : from.index);
    const auto send = [&] { communicator.send(ConstBuffer::phantom(size), peer, 1); };
    const auto receive = [&] { communicator.recv(Buffer::phantom(size), peer, 1); };
    TimePoint begin;
    for (int round = 0; round <= rounds; ++round) {
      if (round == 1) begin = world.clock.now();
      if (first) send();
      receive();
      if (!first) send();
    }
    if (first) taken = world.clock.now() - begin;
  });
  const Result<void> ended = job.join();
  EXPECT_TRUE(ended) << ended.error().reason;
  return Duration::nanoseconds(taken.count_nanoseconds() / (2 * rounds));
}

TEST(PredictedTimes, are_those_of_messages_in_the_simulated_world) {
  const WorldUnderTest& simulated = simulated_world_under_test();
  if (const auto missing = simulated.missing()) GTEST_SKIP() << *missing;
  const auto loaded = load_scenario("tests/mpi/two_sockets.yaml");
  ASSERT_TRUE(loaded) << loaded.error().front().text();
  const Scenario& scenario = loaded->scenario;
  const Instance instance = expand(scenario);
  const JobSpec& spec = instance.jobs[0];
  const Locality locality(instance);
  const JobChannels channels(
      spec, instance, locality,
      std::make_shared<const RouteTable>(ChannelPolicy::of(spec, instance, scenario.platform.mpi),
                                         scenario.platform.channels));
  const std::vector<AlikePairs> classes = survey(spec, instance, locality);
  EXPECT_EQ(classes.size(), 6U);  // one in a container, two in a VM, two on a host, two hosts
  simulated.run(instance, scenario.platform, [&](World& world) {
    JobOptions options;
    options.process.costs = scenario.platform.mpi.runtime;
    for (std::uint32_t rank = 0; rank < spec.vms.size() * spec.ranks_per_vm; ++rank) {
      options.places.push_back(channels.place(RankId{rank}));
    }
    for (const AlikePairs& alike : classes) {
      const Decision& decision = channels.table().of(alike.pairs);
      for (const std::size_t size : {0UL, 8UL, 1000UL, 4000UL, 8192UL, 8193UL, 9500UL, 16'384UL,
                                     60'000UL, 100'000UL, 1'000'000UL, 4'194'304UL}) {
        const Choice& choice = decision.route.choose(size);
        const double predicted =
            predicted_time(choice, alike.pairs, scenario.platform.channels,
                           call_time(spec, scenario.platform.mpi.runtime), Bytes(size))
                .to_seconds();
        const double taken =
            half_round_trip(world, channels, options, alike.from, alike.to, size).to_seconds();
        EXPECT_NEAR(taken / predicted, 1, 0.01)
            << to_words(alike.pairs, true) << ", " << size << " B, " << to_words(choice) << ": "
            << 1e6 * taken << " us, predicted " << 1e6 * predicted;
      }
    }
  });
}

}  // namespace
}  // namespace ferry::mpi
