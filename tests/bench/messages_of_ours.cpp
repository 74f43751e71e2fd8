#include "tests/bench/messages_of_ours.hpp"

#include <array>
#include <cstdlib>
#include <memory>
#include <vector>

#include "core/mpi/job.hpp"
#include "core/units/check.hpp"
#include "sim_backend/sim_world.hpp"

namespace ferry::bench {
namespace {

/// A star of at most so many hosts, on which ranks are by turns.
constexpr int most_hosts = 1024;

RankPlace place_of(int rank) {
  return {.vm = std::nullopt,
          .host = HostId{static_cast<std::uint32_t>(rank % most_hosts)},
          .container = 0,
          .socket = 0};
}

Instance cluster_for(int ranks) {
  Instance instance;
  for (int i = 0; i < std::min(ranks, most_hosts); ++i) {
    instance.hosts.push_back({.name = "host" + std::to_string(i),
                              .cores = 16,
                              .memory = Bytes::gibi(64),
                              .virtual_functions = 0,
                              .ivshmem = Bytes()});
  }
  instance.networks = {{.name = "network",
                        .topology = Star{},
                        .link = {Bandwidth::bytes_per_second(bytes_per_second),
                                 Duration::nanoseconds(latency_nanoseconds)},
                        .carries = {Transport::tcp, Transport::ipoib, Transport::rdma}}};
  return instance;
}

Platform platform_of_bench() {
  Platform platform;
  TransportProfile profile;
  profile.segments = {{.from_size = Bytes(),
                       .latency = Duration::nanoseconds(latency_nanoseconds),
                       .overhead = Duration::nanoseconds(overhead_nanoseconds),
                       .gap = Duration::zero(),
                       .bandwidth = Bandwidth::bytes_per_second(bytes_per_second)}};
  platform.channels.set(Channel::native, profile);
  return platform;
}

using Measure = std::function<void(const std::function<void()>& go)>;

/// `run` makes ranks in a world of that many and lets them go inside of `measure`. That time alone
/// counts: the peers, too, have made theirs before they begin to measure.
Measured in_world(const Play& play, const std::function<void(World&, const Measure&)>& run) {
  Measured measured;
  measured.count = messages_of(play);
  const Instance instance = cluster_for(play.ranks);
  run_simulated(instance, platform_of_bench(), {}, [&](World& world) {
    run(world, [&](const std::function<void()>& go) { measured.seconds = seconds_of(go); });
    measured.figure = world.clock.now().to_seconds();
  });
  return measured;
}

/// Small bodies are real; larger ones phantom, as simulated workloads have them.
constexpr int largest_real_body = 64;

struct FabricRank {
  World& world;
  const std::vector<EndpointAddress>& addresses;
  int number;
  WaitSet& set;
  Endpoint& end;
  std::array<std::byte, largest_real_body> body = {};

  void send(int to, int bytes) {
    const ConstSlice slice{bytes <= largest_real_body ? body.data() : nullptr,
                           static_cast<std::size_t>(bytes)};
    const bool posted = end.post(addresses[static_cast<std::size_t>(to)], Channel::native,
                                 PacketHeader{}, {&slice, 1});
    check(posted, "there is room for what these patterns have under way");
  }
  void receive(int /*from*/, int /*bytes*/) {
    while (end.poll() == nullptr) {
      check(set.wait(TimePoint::never()) == Wake::ready, "nobody cancels");
    }
  }
  void compute(std::int64_t nanoseconds) {
    world.processor.compute(std::nullopt, Duration::nanoseconds(nanoseconds));
  }
  void allreduce() { exchange_by_doubling(static_cast<int>(addresses.size()), number, *this); }
};

struct EngineRank {
  World& world;
  mpi::Communicator communicator;
  std::array<std::byte, largest_real_body> body = {};

  void send(int to, int bytes) {
    communicator.send({data_of(bytes), static_cast<std::size_t>(bytes)}, to, 0);
  }
  void receive(int from, int bytes) {
    communicator.recv({data_of(bytes), static_cast<std::size_t>(bytes)}, from, 0);
  }
  void compute(std::int64_t nanoseconds) {
    world.processor.compute(std::nullopt, Duration::nanoseconds(nanoseconds));
  }
  void allreduce() {
    const double mine = 1;
    double sum = 0;
    communicator.allreduce({&mine, sizeof mine}, {&sum, sizeof sum}, mpi::ElementType::float64,
                           mpi::Reduction::sum);
    check(sum == communicator.size(), "every rank counts once");
  }
  std::byte* data_of(int bytes) { return bytes <= largest_real_body ? body.data() : nullptr; }
};

}  // namespace

Measured play_on_fabric(const Play& play) {
  return in_world(play, [&](World& world, const Measure& measure) {
    std::vector<std::unique_ptr<WaitSet>> sets;
    std::vector<std::unique_ptr<Endpoint>> ends;
    std::vector<EndpointAddress> addresses;
    for (int rank = 0; rank < play.ranks; ++rank) {
      sets.push_back(world.fabric.make_wait_set());
      ends.push_back(world.fabric.open(place_of(rank), *sets.back()));
      addresses.push_back(ends.back()->address());
    }
    std::vector<std::unique_ptr<Task>> tasks;
    for (int rank = 0; rank < play.ranks; ++rank) {
      const auto index = static_cast<std::size_t>(rank);
      tasks.push_back(world.executor.spawn("rank", [&, rank, index] {
        FabricRank self{world, addresses, rank, *sets[index], *ends[index]};
        play_part(play, rank, self);
      }));
    }
    measure([&] {
      for (const auto& task : tasks) task->join();
    });
  });
}

Measured play_on_engine(const Play& play) {
  return in_world(play, [&](World& world, const Measure& measure) {
    constexpr Channel native = Channel::native;
    const UniformChooser chooser(
        Route({{~std::size_t{0}, {Protocol::eager, native, native, 65'536}}}));
    mpi::JobOptions options;
    for (int rank = 0; rank < play.ranks; ++rank) options.places.push_back(place_of(rank));
    mpi::Job job({world.executor, world.processor, world.fabric}, chooser, options);
    job.start([&](mpi::Process& process) {
      EngineRank self{world, process.world()};
      play_part(play, static_cast<int>(process.rank().index), self);
    });
    measure([&] { check(job.join().has_value(), "the job ends well"); });
  });
}

}  // namespace ferry::bench
