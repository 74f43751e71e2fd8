// A rank that an agent has started: its job goes through migrations.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <span>

#include "core/mpi/engine.hpp"
#include "core/mpi/workloads/engine_calls.hpp"
#include "core/ports/world_error.hpp"
#include "hw_backend/agent/agent_board.hpp"
#include "hw_backend/agent/engine_end.hpp"
#include "hw_backend/ranks/rank_program.hpp"
#include "hw_backend/ranks/working_processor.hpp"

namespace ferry::ranks {
namespace {

/// What concerns the whole process: its devices, where VMs are, the job's end.
class Life final : public agent::AgentBoardListener, public mpi::JobWatch {
 public:
  Life(const PreparedJob& job, RankId rank, RankChannels& channels)
      : job_(job),
        rank_(rank),
        channels_(channels),
        own_(job.spec().vms[rank.index / job.spec().ranks_per_vm]),
        patience_(patience_with(own_)) {}

  void release_devices() override {
    channels_.close_devices();
    lacking_ = false;
  }

  /// A device that does not come is no end while other channels lead to all ranks.
  Result<> vms_are_at(std::span<const mpi::VmSite> sites) override {
    for (std::size_t i = 0; i < sites.size(); ++i) channels_.endpoint().note_move();
    bool own_has_moved = false;
    for (const mpi::VmSite& site : sites) {
      note_place(site);
      if (site.vm != own_) continue;
      here_ = site;
      own_has_moved = true;
    }
    // What is closed for a move of its own stays so.
    if (!own_has_moved && (!lacking_ || channels_.reaches_all())) return {};
    const std::vector<std::string> failures =
        channels_.open_devices(here_.ivshmem, here_.virtual_function, patience_);
    lacking_ = !failures.empty();
    if (!lacking_) return {};
    std::string reason = fmt::format("rank {} in {} on {}: a device has not come back: {}",
                                     rank_.index, job_.instance.vms[own_.index].name,
                                     host_name(here_.host), fmt::join(failures, "; "));
    complain({}, reason);
    if (channels_.reaches_all()) return {};
    return failure(FailureKind::timed_out, std::move(reason));
  }
  void note_place(const mpi::VmSite& site) {
    const JobSpec& spec = job_.spec();
    std::vector<RankId> ranks;
    for (std::uint32_t rank = 0; rank < spec.ranks(); ++rank) {
      if (spec.vms[rank / spec.ranks_per_vm] == site.vm) ranks.push_back(RankId{rank});
    }
    channels_.places().moved(ranks, host_name(site.host), site.ivshmem, site.virtual_function);
  }
  /// How long the scenario lets devices of this VM take.
  [[nodiscard]] RankChannels::Patience patience_with(VmId vm) const {
    RankChannels::Patience patience{Timeouts().ivshmem, Timeouts().attach};
    bool first = true;
    for (const MoveSpec& move : job_.instance.moves) {
      if (move.vm != vm) continue;
      const Timeouts& own = move.timeouts;
      patience.ivshmem = first ? own.ivshmem : std::max(patience.ivshmem, own.ivshmem);
      patience.adapter = first ? own.attach : std::max(patience.adapter, own.attach);
      first = false;
    }
    return patience;
  }
  [[nodiscard]] std::string host_name(HostId host) const {
    return job_.instance.hosts[host.index].name;
  }

  void job_is_over(const std::string& why) override { end.job_is_over(why); }
  void complain(RankId /*rank*/, std::string what) override {
    const std::lock_guard guard(mutex_);
    complaints_.push_back(std::move(what));
  }
  [[nodiscard]] std::vector<std::string> complaints() {
    const std::lock_guard guard(mutex_);
    return complaints_;
  }
  void abort(std::string why) override { board_->condemn(why); }
  void set_board(agent::AgentBoard& board) { board_ = &board; }

  agent::EngineEnd end;

 private:
  const PreparedJob& job_;
  RankId rank_;
  RankChannels& channels_;
  VmId own_;
  RankChannels::Patience patience_;
  mpi::VmSite here_;
  bool lacking_ = false;  ///< a device of the own VM's could not be opened
  agent::AgentBoard* board_ = nullptr;
  std::mutex mutex_;
  std::vector<std::string> complaints_;
};

std::vector<std::byte> card_of(const Whereabouts& whereabouts) {
  const std::string text = to_text(whereabouts);
  std::vector<std::byte> card(text.size());
  std::memcpy(card.data(), text.data(), text.size());
  return card;
}

std::vector<Whereabouts> places_of(const std::vector<agent::Bytes8>& cards) {
  std::vector<Whereabouts> all;
  for (const agent::Bytes8& card : cards) {
    const std::string text(reinterpret_cast<const char*>(card.data()), card.size());
    std::optional<Whereabouts> there = parse_whereabouts(text);
    if (!there) {
      throw WorldError(
          fmt::format("rank {} says of itself what this version of ferry-rank does not understand: "
                      "all ranks of "
                      "a job need the same one",
                      all.size()));
    }
    all.push_back(std::move(*there));
  }
  return all;
}

class AgentRun {
 public:
  AgentRun(const PreparedJob& job, RankId rank, const std::filesystem::path& folder,
           const RankOptions& options)
      : job_(job),
        rank_(rank),
        folder_(folder),
        executor_(clock_),
        sleeper_(clock_),
        watch_(executor_),
        channels_({folder.filename().string(), rank, job.spec().ranks()}, job.loaded.scenario,
                  job.instance, job.id, options.channels, clock_),
        life_(job, rank, channels_),
        who_(fmt::format("rank {} on {}", rank.index, channels_.mine().machine)),
        options_(options),
        patience_(options.channels.patience) {}

  Result<> run();

 private:
  void connect(agent::AgentBoard& board);
  void take_part(agent::AgentBoard& board, mpi::Process& process);

  const PreparedJob& job_;
  RankId rank_;
  std::filesystem::path folder_;
  const ThreadClock clock_ = steady_clock_of_machine();
  ThreadExecutor executor_;
  ThreadSleeper sleeper_;
  WorkingProcessor processor_;
  mpi::ComputeWatch watch_;
  RankChannels channels_;
  Life life_;
  std::string who_;
  const RankOptions& options_;
  Duration patience_;
};

/// The controller knows which VM is on which host.
void AgentRun::connect(agent::AgentBoard& board) {
  Whereabouts mine = channels_.mine();
  const JobSpec& spec = job_.spec();
  mine.host =
      life_.host_name(job_.instance.vms[spec.vms[rank_.index / spec.ranks_per_vm].index].host);
  if (!board.publish(card_of(mine)))
    throw WorldError("the agent refuses what this rank says of itself");
  const auto cards = board.await_cards(sleeper_.now() + patience_);
  if (!cards) throw WorldError(cards.error().reason);
  const std::vector<Whereabouts> all = places_of(*cards);
  channels_.join(all);
  channels_.open_ivshmem();
  channels_.connect(all);
}

void AgentRun::take_part(agent::AgentBoard& board, mpi::Process& process) {
  const JobSpec& spec = job_.spec();
  const char* const watched = std::getenv(agent::watched_variable);
  const bool is_watched = watched != nullptr && std::string_view(watched) == "1";
  if (is_watched) board.relay(watch_);
  mpi::WorkloadLog log(spec.ranks());
  const std::unique_ptr<PageDirtier> pages = dirty_pages(job_, rank_, channels_, options_);
  if (pages != nullptr) pages->set_running(true);
  mpi::run_workload(job_.program, process,
                    {sleeper_, processor_, spec.vms[rank_.index / spec.ranks_per_vm],
                     is_watched ? &watch_ : nullptr, true},
                    log);
  if (pages != nullptr) pages->set_running(false);
  process.world().barrier();
  process.finish();
  process.engine().leave();
  log.of(rank_.index).packets = channels_.endpoint().packets();
  if (const std::string remark = channels_.remark(); !remark.empty()) {
    fmt::print(stderr, "ferry-rank: rank {}: {}\n", rank_.index, remark);
  }
  const auto left = board.leave_result({log.of(rank_.index), life_.complaints()});
  if (!left) throw WorldError(left.error().reason);
  static_cast<void>(board.await_dismissal());
}

Result<> AgentRun::run() {
  Result<> ended;
  executor_.adopt([&] {
    auto opened = agent::AgentBoard::open(folder_, rank_, executor_, life_);
    if (!opened) throw WorldError(opened.error().reason);
    agent::AgentBoard& board = **opened;
    life_.set_board(board);
    try {
      connect(board);
      const RankDirectory directory;
      mpi::ProcessOptions options = process_options(job_, channels_.places());
      options.migration_thread = board.options().migration_thread;
      mpi::Process process({executor_, processor_, channels_.wait_set(), channels_.endpoint(),
                            directory, channels_.places(), life_, &board},
                           rank_, job_.spec().ranks(), options);
      life_.end.live_as(&process.engine());
      try {
        take_part(board, process);
      } catch (const std::exception& error) {
        const std::string why = fmt::format("{}: {}", who_, error.what());
        board.condemn(why);
        process.engine().leave();
        ended = failure(FailureKind::failed, why);
      }
      watch_.ends();
      life_.end.live_as(nullptr);
    } catch (const WorldError& error) {
      const std::string why = fmt::format("{}: {}", who_, error.what());
      board.condemn(why);
      watch_.ends();
      ended = failure(FailureKind::failed, why);
    }
  });
  return ended;
}

}  // namespace

Result<> run_rank_of_agent(const PreparedJob& job, RankId rank, const std::filesystem::path& folder,
                           const RankOptions& options) {
  return AgentRun(job, rank, folder, options).run();
}

}  // namespace ferry::ranks
