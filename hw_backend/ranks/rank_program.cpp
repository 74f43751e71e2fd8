#include "hw_backend/ranks/rank_program.hpp"

#include <fmt/format.h>

#include <chrono>
#include <exception>

#include "core/mpi/engine.hpp"
#include "core/mpi/workloads/engine_calls.hpp"
#include "core/mpi/workloads/job_record.hpp"
#include "core/ports/world_error.hpp"
#include "core/scenario/expand.hpp"
#include "hw_backend/ranks/common_clock.hpp"
#include "hw_backend/ranks/ending.hpp"
#include "hw_backend/ranks/rank_log_codec.hpp"
#include "hw_backend/ranks/rank_places.hpp"
#include "hw_backend/ranks/working_processor.hpp"

namespace ferry::ranks {
namespace {

template <class T>
T or_throw(Result<T> result) {
  if (!result) throw WorldError(result.error().reason);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

class Watch final : public mpi::JobWatch {
 public:
  Watch(shm::Region& region, std::string who) : region_(region), who_(std::move(who)) {}
  void complain(RankId /*rank*/, std::string what) override {
    complaints.push_back(std::move(what));
  }
  void abort(std::string why) override { region_.condemn(fmt::format("{}: {}", who_, why)); }
  std::vector<std::string> complaints;

 private:
  shm::Region& region_;
  std::string who_;
};

/// Everybody's, by rank. `round`: whereabouts of different rounds may differ.
std::vector<Whereabouts> exchange_places(Start& start, const Whereabouts& mine, int round) {
  const auto key = [round](std::uint32_t rank) {
    return fmt::format("ferry{}place{}", round, rank);
  };
  or_throw(start.put(key(start.rank().index), to_text(mine)));
  or_throw(start.barrier());
  std::vector<Whereabouts> all;
  for (std::uint32_t rank = 0; rank < start.size(); ++rank) {
    const std::string text = or_throw(start.get(key(rank)));
    std::optional<Whereabouts> there = parse_whereabouts(text);
    if (!there) {
      throw WorldError(fmt::format(
          "rank {} says of itself '{}', which this version of ferry-rank does not understand: all "
          "ranks of a job need the same one",
          rank, text));
    }
    all.push_back(std::move(*there));
  }
  return all;
}

/// The logs of all ranks, on rank 0; elsewhere nothing.
mpi::WorkloadLog gather_logs(mpi::Communicator& world, const mpi::RankLog& mine, Duration shift) {
  constexpr mpi::Tag tag = 2;
  mpi::Communicator among = world.dup();
  const auto ranks = static_cast<std::uint32_t>(among.size());
  mpi::WorkloadLog log(among.rank() == 0 ? ranks : 0);
  std::vector<std::byte> bytes = encode(mine, shift);
  if (among.rank() != 0) {
    among.send({bytes.data(), bytes.size()}, 0, tag);
    return log;
  }
  log.of(0) = mine;
  for (std::uint32_t rank = 1; rank < ranks; ++rank) {
    const mpi::Status found = among.probe(static_cast<mpi::Rank>(rank), tag);
    bytes.resize(found.size);
    among.recv({bytes.data(), bytes.size()}, found.source, tag);
    std::optional<mpi::RankLog> there = decode_rank_log(bytes);
    if (!there) throw WorldError(fmt::format("the log of rank {} is none", rank));
    log.of(rank) = std::move(*there);
  }
  return log;
}

/// One rank, with all that it needs.
class RankRun {
 public:
  RankRun(const PreparedJob& job, Start& start, const RankOptions& options)
      : job_(job),
        start_(start),
        options_(options),
        executor_(clock_),
        sleeper_(clock_),
        channels_({start.job_id(), start.rank(), start.size()}, job.loaded.scenario, job.instance,
                  job.id, options.channels, clock_),
        who_(fmt::format("rank {} on {}", start.rank().index, channels_.mine().machine)) {}

  RankOutcome run();

 private:
  void connect();
  void take_part(mpi::Process& process, mpi::WorkloadLog& log);

  const PreparedJob& job_;
  Start& start_;
  const RankOptions& options_;
  const ThreadClock clock_ = steady_clock_of_machine();
  ThreadExecutor executor_;
  ThreadSleeper sleeper_;
  WorkingProcessor processor_;
  RankChannels channels_;
  std::string who_;
  std::optional<mpi::WorkloadLog> gathered_;
};

/// Of a task of its own: it can be cancelled.
void RankRun::take_part(mpi::Process& process, mpi::WorkloadLog& log) {
  mpi::Communicator world = process.world();
  const Duration shift = to_common_clock(world, sleeper_);
  const JobSpec& spec = job_.spec();
  const mpi::EnginePorts ports{sleeper_, processor_,
                               spec.vms[start_.rank().index / spec.ranks_per_vm], nullptr, true};
  const std::unique_ptr<PageDirtier> pages = dirty_pages(job_, start_.rank(), channels_, options_);
  world.barrier();
  if (pages != nullptr) pages->set_running(true);
  mpi::run_workload(job_.program, process, ports, log);
  gathered_ = gather_logs(world, log.of(start_.rank().index), shift);
  // Who leaves takes its memory with it, which others may still have to read.
  world.barrier();
  process.finish();
}

/// Ranks see each other in the memory of their host, and so know that they are on one.
void RankRun::connect() {
  std::vector<Whereabouts> all = exchange_places(start_, channels_.mine(), 1);
  channels_.join(all);
  channels_.open_ivshmem();
  if (channels_.hosts_are_unknown()) {
    or_throw(start_.barrier());
    all = exchange_places(start_, channels_.mine_with_neighbours(), 2);
  }
  channels_.connect(std::move(all));
}

RankOutcome RankRun::run() {
  connect();
  shm::Region& memory = channels_.memory();
  const RankDirectory directory;
  Watch watch(memory, who_);
  mpi::Process process({executor_, processor_, channels_.wait_set(), channels_.endpoint(),
                        directory, channels_.places(), watch},
                       start_.rank(), start_.size(), process_options(job_, channels_.places()));
  mpi::WorkloadLog log(start_.size());
  {
    const EndListener listener(executor_, memory, process.engine());
    const std::unique_ptr<Task> task = executor_.spawn(who_, [&] {
      try {
        take_part(process, log);
      } catch (const mpi::JobAborted& aborted) {
        memory.condemn(fmt::format("{}: {}", who_, aborted.what()));
      } catch (const std::exception& error) {
        memory.condemn(fmt::format("{}: {}", who_, error.what()));
      }
    });
    task->join();
  }
  RankOutcome outcome;
  if (const std::optional<std::string> why = memory.verdict()) {
    outcome.ended = failure(FailureKind::failed, *why);
    outcome.interrupted = *why == interrupted_by_signal;
    // Those that do not share this memory do not hear of it.
    outcome.others_wait = channels_.sharing_memory() < start_.size();
  }
  outcome.remark = channels_.remark();
  if (start_.rank().index == 0) {
    const mpi::JobEnd end{outcome.ended, clock_.now(), watch.complaints};
    outcome.record = mpi::make_job_record(job_.id, job_.program.workload.type,
                                          gathered_ ? *gathered_ : log, end, {}, {});
  }
  return outcome;
}

}  // namespace

tl::expected<PreparedJob, std::vector<std::string>> prepare_job(LoadedScenario loaded,
                                                                std::string_view name) {
  return prepare_job(std::move(loaded), name, nullptr);
}

tl::expected<PreparedJob, std::vector<std::string>> prepare_job(
    LoadedScenario loaded, std::string_view name,
    const std::function<Result<HandedTrace>()>& trace) {
  PreparedJob job;
  job.loaded = std::move(loaded);
  job.instance = expand(job.loaded.scenario);
  std::vector<std::string_view> names;
  std::optional<std::uint32_t> found;
  for (std::uint32_t i = 0; i < job.instance.jobs.size(); ++i) {
    names.push_back(job.instance.jobs[i].name);
    if (names.back() == name) found = i;
  }
  using Errors = std::vector<std::string>;
  if (!found) {
    std::string known;
    for (const std::string_view one : names)
      known += fmt::format("{}{}", known.empty() ? "" : ", ", one);
    return tl::unexpected(
        Errors{fmt::format("--job {}: the scenario has no such job; {} would be right", name,
                           known.empty() ? "one with jobs" : known)});
  }
  job.id = JobId{*found};
  const JobSpec& spec = job.spec();
  if (!spec.communicates()) {
    return tl::unexpected(Errors{fmt::format(
        "--job {}: its workload is timed, which stands for a program and is none; another type of "
        "workload would be right",
        name)});
  }
  Workload workload = spec.workload;
  mpi::JobOfWorkload whose{
      .name = spec.name, .ranks = spec.ranks(), .seed = job.loaded.scenario.seed, .folder = {}};
  if (workload.type == WorkloadType::trace && trace) {
    const Result<HandedTrace> handed = trace();
    if (!handed) return tl::unexpected(Errors{handed.error().reason});
    workload.file = handed->file;
    whose.only_rank = handed->rank.index;
  }
  auto program = mpi::prepare_workload(workload, job.loaded.scenario.platform.compute, whose);
  if (!program) return tl::unexpected(program.error());
  job.program = std::move(*program);
  return job;
}

mpi::ProcessOptions process_options(const PreparedJob& job, const RankPlaces& places) {
  mpi::ProcessOptions options;
  options.costs = job.loaded.scenario.platform.mpi.runtime;
  options.locality = std::make_shared<const mpi::JobLocality>(places.hosts());
  return options;
}

std::unique_ptr<PageDirtier> dirty_pages(const PreparedJob& job, RankId rank,
                                         const RankChannels& channels, const RankOptions& options) {
  if (!options.pages || !channels.is_first_here()) return nullptr;
  const JobSpec& spec = job.spec();
  return std::make_unique<PageDirtier>(
      page_plan(job.instance.vms[spec.vms[rank.index / spec.ranks_per_vm].index]));
}

ThreadClock steady_clock_of_machine() {
  const std::chrono::nanoseconds now = std::chrono::steady_clock::now().time_since_epoch();
  return ThreadClock(1.0, TimePoint::at(Duration::nanoseconds(now.count())));
}

RankOutcome run_rank_program(const PreparedJob& job, Start& start, const RankOptions& options) {
  return RankRun(job, start, options).run();
}

}  // namespace ferry::ranks
