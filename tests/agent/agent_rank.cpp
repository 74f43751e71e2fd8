// A rank of a job, started by an agent: the workload of the scenario in ../description, over memory
// that all ranks of this machine share, whatever VM they play to be in.
// agent_rank JOB [FAULT], or as a controller of a cluster starts it: agent_rank --scenario FILE
// --job JOB. FAULT: `throws` or `exits` instead of its workload, if it is rank 1.
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

#include "core/channel/coordinator.hpp"
#include "core/mpi/engine.hpp"
#include "core/mpi/mpi_jobs.hpp"
#include "core/mpi/process.hpp"
#include "core/mpi/workloads/engine_calls.hpp"
#include "core/mpi/workloads/run_workload.hpp"
#include "core/ports/world_error.hpp"
#include "core/scenario/document.hpp"
#include "core/scenario/expand.hpp"
#include "hw_backend/agent/agent_board.hpp"
#include "hw_backend/agent/engine_end.hpp"
#include "hw_backend/shm/shm_fabric.hpp"
#include "hw_backend/threads/sleeping_processor.hpp"

namespace ferry::agent {
namespace {

constexpr Duration patience = Duration::milliseconds(60'000);

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  if (value == nullptr) throw WorldError(std::string(name) + " is not set");
  return value;
}

/// Ranks are where their cards say.
class CardDirectory final : public mpi::Directory {
 public:
  explicit CardDirectory(const std::vector<Bytes8>& cards) {
    for (const Bytes8& card : cards) {
      EndpointAddress address{};
      FieldReader reader(card);
      reader(address.value);
      addresses_.push_back(address);
    }
  }
  [[nodiscard]] EndpointAddress address_of(RankId rank) const override {
    return addresses_.at(rank.index);
  }

 private:
  std::vector<EndpointAddress> addresses_;
};

class Life final : public AgentBoardListener, public mpi::JobWatch {
 public:
  explicit Life(Locality& locality) : locality_(locality) {}
  void release_devices() override {}
  Result<> vms_are_at(std::span<const mpi::VmSite> sites) override {
    for (const mpi::VmSite& site : sites) {
      if (locality_.host(site.vm) != site.host) locality_.moved(site.vm, site.host);
      locality_.set_device(site.vm, DeviceKind::virtual_function, site.virtual_function);
      locality_.set_device(site.vm, DeviceKind::ivshmem, site.ivshmem);
    }
    return {};
  }
  void job_is_over(const std::string& why) override { end.job_is_over(why); }
  void complain(RankId /*rank*/, std::string what) override { complaints.push_back(what); }
  void abort(std::string why) override { board->condemn(why); }

  EngineEnd end;
  AgentBoard* board = nullptr;
  std::vector<std::string> complaints;

 private:
  Locality& locality_;
};

int run(const std::string& job_name, const std::string& fault) {
  const RankId rank{static_cast<std::uint32_t>(std::stoul(variable(rank_variable)))};
  const std::filesystem::path folder = variable(folder_variable);
  const auto loaded = load_scenario(folder / "description");
  if (!loaded) throw WorldError("the description is no scenario");
  const Instance instance = expand(loaded->scenario);
  JobId job{0};
  while (instance.jobs.at(job.index).name != job_name) ++job.index;
  const JobSpec& spec = instance.jobs[job.index];
  const auto program = mpi::prepare_workload(
      spec.workload, loaded->scenario.platform.compute,
      {.name = spec.name, .ranks = spec.ranks(), .seed = loaded->scenario.seed, .folder = {}});
  if (!program) throw WorldError(program.error().front());

  const ThreadClock clock(1.0, TimePoint::at(Duration::nanoseconds(
                                   std::chrono::steady_clock::now().time_since_epoch().count())));
  ThreadExecutor executor(clock);
  ThreadSleeper sleeper(clock);
  SleepingProcessor processor(sleeper);
  Locality locality(instance);
  const JobChannels channels(spec, instance, locality,
                             std::make_shared<const RouteTable>(
                                 ChannelPolicy::of(spec, instance, loaded->scenario.platform.mpi),
                                 loaded->scenario.platform.channels));
  const auto region = shm::Region::join(folder.filename(), {});
  if (!region) throw WorldError(region.error().reason);
  int status = 0;
  executor.adopt([&] {
    shm::ShmFabric fabric(*region, clock, {});
    const std::unique_ptr<WaitSet> wait_set = fabric.make_wait_set();
    const std::unique_ptr<Endpoint> endpoint = fabric.open({}, *wait_set);
    Life life(locality);
    mpi::ComputeWatch watch(executor);  // outlives the board, which watches it
    auto opened = AgentBoard::open(folder, rank, executor, life);
    if (!opened) throw WorldError(opened.error().reason);
    AgentBoard& board = **opened;
    life.board = &board;
    FieldWriter card;
    std::uint32_t address = endpoint->address().value;
    card(address);
    if (!board.publish(card.take())) throw WorldError("the card is too large");
    const auto cards = board.await_cards(sleeper.now() + patience);
    if (!cards) throw WorldError(cards.error().reason);
    const CardDirectory directory(*cards);
    mpi::ProcessOptions options;
    options.migration_thread = board.options().migration_thread;
    options.locality = mpi::hosts_of(spec, locality);
    const bool watched = variable(watched_variable) == "1";
    if (watched) board.relay(watch);
    mpi::WorkloadLog log(spec.ranks());
    {
      mpi::Process process(
          {executor, processor, *wait_set, *endpoint, directory, channels, life, &board}, rank,
          spec.ranks(), options);
      life.end.live_as(&process.engine());
      if (rank.index == 1 && fault == "exits") std::_Exit(9);
      try {
        if (rank.index == 1 && fault == "throws") throw std::runtime_error("out of paper");
        mpi::run_workload(*program, process,
                          {sleeper, processor, spec.vms[rank.index / spec.ranks_per_vm],
                           watched ? &watch : nullptr},
                          log);
        process.world().barrier();
        process.finish();
        process.engine().leave();
        if (const auto left = board.leave_result({log.of(rank.index), life.complaints}); !left) {
          throw WorldError(left.error().reason);
        }
        (void)board.await_dismissal();
      } catch (const mpi::JobAborted& aborted) {
        board.condemn(fmt::format("rank {} has ended: {}", rank.index, aborted.what()));
        process.engine().leave();
        status = 1;
      } catch (const std::exception& error) {
        board.condemn(fmt::format("rank {} has failed: {}", rank.index, error.what()));
        process.engine().leave();
        status = 1;
      }
      watch.ends();
      life.end.live_as(nullptr);
    }
  });
  return status;
}

}  // namespace
}  // namespace ferry::agent

int main(int count, char** words) {
  try {
    if (count == 5 && words[3] == std::string("--job")) return ferry::agent::run(words[4], "");
    return ferry::agent::run(words[1], count > 2 ? words[2] : "");
  } catch (const std::exception& error) {
    fmt::print(stderr, "agent_rank: {}\n", error.what());
    return 1;
  }
}
