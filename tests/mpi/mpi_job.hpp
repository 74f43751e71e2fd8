// What the semantic tests share: a job of a few ranks in the world under test.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "core/mpi/job.hpp"
#include "hw_backend/shm/processes.hpp"
#include "hw_backend/shm/rank_process.hpp"
#include "tests/contract/contract.hpp"
#include "tests/mpi/verbs_rank.hpp"

namespace ferry::mpi {

/// Adapters of bare hosts, all protocols: eager up to 1 KiB, then read up to 64 KiB, then
/// fragments.
inline Route every_protocol() {
  constexpr Channel native = Channel::native;
  return Route({{1024, {Protocol::eager, native, native, 16'384}},
                {65'536, {Protocol::rendezvous_read, native, native, 16'384}},
                {~std::size_t{0}, {Protocol::rendezvous_fragments, native, native, 16'384}}});
}
/// Sizes that these protocols, and their ends, make a difference to.
inline const std::vector<std::size_t>& sizes_of_every_protocol() {
  static const std::vector<std::size_t> sizes = {0, 1, 8, 1024, 1025, 65'536, 65'537, 300'000};
  return sizes;
}

inline std::vector<std::byte> bytes_like(std::size_t size, std::size_t seed) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>((i * 31 + i / 256 + seed * 7) & 0xffU);
  }
  return bytes;
}

/// Ranks as processes: `MpiJob::run_job` alone runs there.
class ProcessesUnderTest final : public WorldUnderTest {
 public:
  /// They share memory.
  static const ProcessesUnderTest& by_memory() {
    static const ProcessesUnderTest world("processes", &shm::run_rank, nullptr);
    return world;
  }
  /// They reach each other by an RDMA device.
  static const ProcessesUnderTest& by_verbs() {
    static const ProcessesUnderTest world("verbs_processes", &run_verbs_rank, &verbs_under_test());
    return world;
  }
  using RunRank = decltype(&shm::run_rank);
  ProcessesUnderTest(std::string name, RunRank how, const WorldUnderTest* as)
      : name_(std::move(name)), run_rank_(how), as_(as) {}
  [[nodiscard]] std::string name() const override { return name_; }
  [[nodiscard]] std::optional<std::string> missing() const override {
    return as_ == nullptr ? std::nullopt : as_->missing();
  }
  [[nodiscard]] RunRank run_rank() const { return run_rank_; }
  [[nodiscard]] bool has_devices() const override { return false; }
  void run(const Instance& /*instance*/, const Platform& /*platform*/,
           const std::function<void(World&)>& /*body*/) const override {
    GTEST_SKIP() << "it looks at all ranks of a job from one process";
  }

 private:
  std::string name_;
  RunRank run_rank_;
  const WorldUnderTest* as_;  ///< is missing where that is
};
inline std::vector<const WorldUnderTest*> fabrics_and_processes() {
  std::vector<const WorldUnderTest*> all = worlds_with_packets();
  all.push_back(&ProcessesUnderTest::by_memory());
  all.push_back(&ProcessesUnderTest::by_verbs());
  return all;
}
#define FERRY_FOR_EVERY_FABRIC_AND_PROCESSES(suite) \
  INSTANTIATE_TEST_SUITE_P(Worlds, suite, testing::ValuesIn(fabrics_and_processes()), world_name)

/// Each rank in a process of its own; what it checks with GoogleTest fails here as well, after its
/// messages were printed. A rank whose job ends with an error, or that complains, has failed.
inline void run_in_processes(const ProcessesUnderTest& world, const JobOptions& with,
                             const std::function<void(Communicator&)>& body) {
  const auto ranks = static_cast<std::uint32_t>(with.places.size());
  const UniformChooser chooser(every_protocol());
  const auto be_rank = [&](std::uint32_t rank, const std::shared_ptr<shm::Region>& region) {
    const shm::RankEnd end =
        world.run_rank()(region, RankId{rank}, ranks, chooser, with.process, [&](Process& process) {
          Communicator all = process.world();
          body(all);
        });
    EXPECT_TRUE(end.ended) << end.ended.error().reason;
    EXPECT_THAT(end.complaints, testing::IsEmpty());
    if (testing::Test::HasFailure()) throw std::runtime_error("it failed");
  };
  for (const shm::RankFailure& failure :
       shm::run_shm_processes(ranks, be_rank, {.limit = Duration::seconds(240)})) {
    ADD_FAILURE() << failure.to_text();
  }
}

class MpiJob : public Contract {
 protected:
  [[nodiscard]] const ProcessesUnderTest* in_processes() const {
    return dynamic_cast<const ProcessesUnderTest*>(GetParam());
  }
  using Body = std::function<void(Communicator&)>;

  /// `ranks` ranks, on the hosts by turns.
  [[nodiscard]] static JobOptions options(std::uint32_t ranks) {
    JobOptions options;
    for (std::uint32_t i = 0; i < ranks; ++i) {
      options.places.push_back(
          {.vm = std::nullopt, .host = HostId{i % 4}, .container = 0, .socket = 0});
    }
    return options;
  }
  /// Runs the job and looks at its end.
  void run_job(const JobOptions& with, const Body& body,
               const std::function<void(Job&, const Result<void>&)>& look) const {
    run([&](World& world) {
      const UniformChooser chooser(every_protocol());
      Job job({world.executor, world.processor, world.fabric}, chooser, with);
      job.start([&](Process& process) {
        Communicator communicator = process.world();
        body(communicator);
      });
      look(job, job.join());
    });
  }
  /// Runs a job that ends well.
  void run_job(std::uint32_t ranks, const Body& body) const { run_job(options(ranks), body); }
  void run_job(const JobOptions& with, const Body& body) const {
    if (in_processes() != nullptr) return run_in_processes(*in_processes(), with, body);
    run_job(with, body, [](Job& job, const Result<void>& ended) {
      EXPECT_TRUE(ended) << ended.error().reason;
      EXPECT_THAT(job.complaints(), testing::IsEmpty());
    });
  }
};

}  // namespace ferry::mpi
