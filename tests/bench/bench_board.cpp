// What a rank pays in each of its calls for looking whether it has to take part in a suspension:
// the load of a word in memory that an agent shares with it, and, beside it, of one in its process.
#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <filesystem>

#include "hw_backend/agent/agent_board.hpp"
#include "hw_backend/threads/thread_executor.hpp"
#include "tests/bench/side_by_side.hpp"
#include "tests/scratch_folder.hpp"

namespace {

using namespace ferry;

class Nobody final : public agent::AgentBoardListener {
 public:
  void release_devices() override {}
  Result<> vms_are_at(std::span<const mpi::VmSite> /*sites*/) override { return {}; }
  void job_is_over(const std::string& /*why*/) override {}
};

constexpr int looks = 50'000'000;

/// Nanoseconds a look; the least of five times.
template <class Look>
double time_of(const Look& look) {
  double least = 1e9;
  for (int times = 0; times < 5; ++times) {
    const auto began = std::chrono::steady_clock::now();
    std::uint64_t seen = 0;
    for (int i = 0; i < looks; ++i) {
      if (look() != seen) ++seen;
      asm volatile("" : "+r"(seen) : : "memory");  // each look is one
    }
    const auto took = std::chrono::steady_clock::now() - began;
    least = std::min(least, std::chrono::duration<double, std::nano>(took).count() / looks);
  }
  return least;
}

int run() {
  const ScratchFolder scratch;
  const std::filesystem::path& folder = scratch.path();
  agent::StartJob job;
  job.name = "bench";
  job.vms = {0, 1};
  job.ranks = {0};
  const auto made = agent::JobBoard::create(folder, job);
  const ThreadClock clock(1.0);
  ThreadExecutor executor(clock);
  Nobody nobody;
  double shared = 0;
  executor.adopt([&] {
    const auto board = agent::AgentBoard::open(folder, RankId{0}, executor, nobody);
    const mpi::RankBoard& looked_at = **board;
    shared = time_of([&] { return looked_at.posted(); });
  });
  const std::atomic<std::uint64_t> own = 0;
  const double bare = time_of([&] { return own.load(std::memory_order_acquire); });
  bench::report("board: a look of a rank / a load", shared, bare, "ns");
  fmt::print("{:.2f} ns, which has to be below 10\n", shared);
  return shared < 10 ? 0 : 1;
}

}  // namespace

int main() { return run(); }
