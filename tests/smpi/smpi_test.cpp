// Simulated times of the MPI engine beside those of SimGrid's own MPI, with the same constants and
// algorithms.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "core/mpi/job.hpp"
#include "tests/scratch_folder.hpp"
#include "tests/unit/sim_backend/child.hpp"

namespace ferry::mpi {
namespace {

constexpr double bytes_per_second = 6e9;
constexpr Duration latency = Duration::nanoseconds(1'500);
constexpr std::size_t large = 16U << 20U;
constexpr double tolerance = 0.05;

struct Case {
  std::string part;
  int ranks = 2;
  int hosts = 2;
  std::size_t size = 0;
  int repeats = 1;
  Duration overhead;  ///< o
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.part << ", " << c.ranks << " ranks, " << c.size << " bytes";
}

std::size_t block(std::size_t size, Rank from, Rank to) {
  return size * static_cast<std::size_t>(1 + (from * 7 + to * 13) % 5);
}

/// When each rank is done, in simulated seconds, by the engine.
std::vector<double> by_engine(const Case& c) {
  return numbers_from_child([&] {
    PlainWorld plain(static_cast<std::uint32_t>(c.hosts));
    plain.instance.networks.at(0).link = {Bandwidth::bytes_per_second(bytes_per_second), latency};
    TransportProfile profile;
    profile.segments = {{.from_size = Bytes(),
                         .latency = latency,
                         .overhead = c.overhead,
                         .gap = Duration::zero(),
                         .bandwidth = Bandwidth::bytes_per_second(bytes_per_second)}};
    profile.largest_packet = Bytes(large);
    plain.platform.channels.set(Channel::native, profile);
    std::vector<double> done(static_cast<std::size_t>(c.ranks));
    plain.simulate([&](World& world) {
      // SMPI has no announcements where the receiver is there already: all is eager.
      constexpr Channel native = Channel::native;
      const UniformChooser chooser(
          Route({{~std::size_t{0}, {Protocol::eager, native, native, large}}}));
      JobOptions options;
      options.process.credits = 32'767;
      CollectiveSettings settings;
      settings.algorithm[static_cast<std::size_t>(Collective::allreduce)] =
          Algorithm::recursive_doubling;
      settings.algorithm[static_cast<std::size_t>(Collective::alltoallv)] = Algorithm::pairwise;
      options.process.collectives = std::make_shared<const CollectiveSettings>(settings);
      for (int rank = 0; rank < c.ranks; ++rank) {
        options.places.push_back({.vm = std::nullopt,
                                  .host = HostId{static_cast<std::uint32_t>(rank % c.hosts)},
                                  .container = 0,
                                  .socket = 0});
      }
      Job job({world.executor, world.processor, world.fabric}, chooser, options);
      job.start([&](Process& process) {
        Communicator communicator = process.world();
        const Rank rank = communicator.rank();
        const bool beside_a_flow = c.part == "beside_a_flow";
        for (int i = 0; i < c.repeats; ++i) {
          if (c.part == "ping_pong" || (beside_a_flow && rank < 2)) {
            if (rank == 0) communicator.send(ConstBuffer::phantom(c.size), 1, 0);
            communicator.recv(Buffer::phantom(c.size), 1 - rank, 0);
            if (rank == 1) communicator.send(ConstBuffer::phantom(c.size), 0, 0);
          } else if (c.part == "allreduce") {
            communicator.allreduce(ConstBuffer::phantom(c.size), Buffer::phantom(c.size),
                                   ElementType::float64, Reduction::sum);
          } else if (c.part == "alltoallv") {
            std::vector<std::size_t> sent;
            std::vector<std::size_t> received;
            std::size_t all_sent = 0;
            std::size_t all_received = 0;
            for (Rank other = 0; other < c.ranks; ++other) {
              all_sent += sent.emplace_back(block(c.size, rank, other));
              all_received += received.emplace_back(block(c.size, other, rank));
            }
            communicator.alltoallv(ConstBuffer::phantom(all_sent), sent,
                                   Buffer::phantom(all_received), received);
          }
        }
        for (int i = 0; i < 4 && beside_a_flow; ++i) {
          if (rank == 2) communicator.send(ConstBuffer::phantom(large), 3, 0);
          if (rank == 3) communicator.recv(Buffer::phantom(large), 2, 0);
        }
        done[static_cast<std::size_t>(rank)] = seconds_at(world);
      });
      const Result<void> ended = job.join();
      EXPECT_TRUE(ended) << ended.error().reason;
    });
    return done;
  });
}

#ifdef FERRY_SMPI_CHECKS
/// The same by SMPI.
std::vector<double> by_smpi(const Case& c) {
  const ScratchFolder scratch;
  const std::string folder = scratch.path();
  {
    // A host's link counts on both ends of a path: each has half of the latency.
    std::ofstream(folder + "/platform.xml")
        << "<?xml version='1.0'?>\n"
           "<!DOCTYPE platform SYSTEM \"https://simgrid.org/simgrid.dtd\">\n"
           "<platform version=\"4.1\">\n<cluster id=\"c\" prefix=\"h\" suffix=\"\" radical=\"0-"
        << c.hosts - 1 << "\" speed=\"1Gf\" bw=\"" << bytes_per_second << "Bps\" lat=\""
        << latency.to_seconds() * 1e6 / 2 << "us\"/>\n</platform>\n";
    std::ofstream hosts(folder + "/hosts");
    for (int rank = 0; rank < c.ranks; ++rank) hosts << 'h' << rank % c.hosts << '\n';
  }
  const std::string overhead = ":0:" + std::to_string(c.overhead.count_nanoseconds()) + "e-9:0";
  // What a collective sends is under way at once, whether it is received already or not.
  const std::string eager =
      " --cfg=smpi/async-small-thresh:100000000 --cfg=smpi/send-is-detached-thresh:100000000";
  const std::string command =
      FERRY_SMPIRUN " -np " + std::to_string(c.ranks) + " -platform " + folder +
      "/platform.xml -hostfile " + folder +
      "/hosts --cfg=network/model:CM02 --cfg=network/crosstraffic:0"
      " --cfg=smpi/simulate-computation:no --cfg=smpi/allreduce:rdb --cfg=smpi/alltoallv:pair" +
      (c.part == "allreduce" || c.part == "alltoallv" ? eager : "") + " --cfg=smpi/os" + overhead +
      " --cfg=smpi/ois" + overhead + " --cfg=smpi/or" + overhead +
      " --log=root.thresh:error " FERRY_SMPI_CHECKS " " + c.part + " " + std::to_string(c.size) +
      " " + std::to_string(c.repeats) + " 2>&1";
  std::vector<double> done(static_cast<std::size_t>(c.ranks));
  std::string text;
  if (FILE* const output = popen(command.c_str(), "r")) {
    char line[512];
    while (std::fgets(line, sizeof line, output) != nullptr) {
      text += line;
      std::size_t rank = 0;
      double seconds = 0;
      if (std::sscanf(line, "DONE %zu %lf", &rank, &seconds) == 2) done.at(rank) = seconds;
    }
    EXPECT_EQ(pclose(output), 0) << text;
  }
  return done;
}
#endif

class BesideSmpi : public testing::TestWithParam<Case> {};

TEST_P(BesideSmpi, simulated_times_agree_within_a_twentieth) {
#ifdef FERRY_SMPI_CHECKS
  const Case& c = GetParam();
  const std::vector<double> ours = by_engine(c);
  const std::vector<double> theirs = by_smpi(c);
  ASSERT_EQ(ours.size(), theirs.size());
  if (c.part == "beside_a_flow") {
    for (std::size_t rank = 0; rank < ours.size(); ++rank) {
      EXPECT_NEAR(ours[rank] / theirs[rank], 1, tolerance) << "rank " << rank;
    }
  }
  const double ours_last = *std::ranges::max_element(ours);
  const double theirs_last = *std::ranges::max_element(theirs);
  EXPECT_NEAR(ours_last / theirs_last, 1, tolerance) << ours_last << " s, SMPI " << theirs_last;
#else
  GTEST_SKIP() << "smpicc was not there when this was configured (Debian: libsimgrid-dev)";
#endif
}

constexpr Duration o = Duration::nanoseconds(200);
// SMPI charges the o of a non-blocking receive when it starts, where it hides behind the waiting;
// ours when the packet is taken. Collectives are made of those, so theirs are compared without o.
constexpr Duration none = Duration::zero();

INSTANTIATE_TEST_SUITE_P(PingPong, BesideSmpi,
                         testing::Values(Case{"ping_pong", 2, 2, 0, 20, o},
                                         Case{"ping_pong", 2, 2, 8, 20, o},
                                         Case{"ping_pong", 2, 2, 1'024, 20, o},
                                         Case{"ping_pong", 2, 2, 65'535, 20, o},
                                         Case{"ping_pong", 2, 2, 65'536, 20, o},
                                         Case{"ping_pong", 2, 2, 4'194'304, 5, o}));
INSTANTIATE_TEST_SUITE_P(SharedLink, BesideSmpi,
                         testing::Values(Case{"beside_a_flow", 4, 2, 1'048'576, 10, o},
                                         Case{"beside_a_flow", 4, 2, 262'144, 40, o}));
INSTANTIATE_TEST_SUITE_P(Allreduce, BesideSmpi,
                         testing::Values(Case{"allreduce", 16, 16, 8, 20, none},
                                         Case{"allreduce", 16, 16, 32'768, 5, none},
                                         Case{"allreduce", 16, 16, 262'144, 5, none},
                                         Case{"allreduce", 11, 11, 1'024, 1, none}));
INSTANTIATE_TEST_SUITE_P(Alltoallv, BesideSmpi,
                         testing::Values(Case{"alltoallv", 8, 8, 64, 10, none},
                                         Case{"alltoallv", 8, 8, 131'072, 5, none}));

}  // namespace
}  // namespace ferry::mpi
