#include "controller/cli/run_scenario.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <optional>
#include <sstream>

#include "controller/cli/process_pool.hpp"
#include "controller/cli/wall_clock.hpp"
#include "controller/cli/worlds.hpp"
#include "controller/surviving_run.hpp"
#include "core/ports/world_error.hpp"
#include "core/record/journal_file.hpp"
#include "core/units/check.hpp"
#include "hw_backend/threads/threads_world.hpp"

namespace ferry {
namespace {

/// How often, in real time, a threads world looks at the interruption level.
constexpr Duration watch_interval = Duration::milliseconds(50);

/// Hands each new level to the session once; being told again would keep the session awake for
/// ever.
class InterruptionRelay {
 public:
  InterruptionRelay(const RunOptions& options, Session& session, CommunicatingJobs& jobs)
      : options_(options), session_(session), jobs_(jobs) {}
  void look() {
    if (!options_.interruption) return;
    const Interruption level = options_.interruption();
    if (level <= told_) return;
    told_ = level;
    session_.poll_interruption();
    if (moved_) jobs_.abort("interrupted");
  }
  /// From now on nothing is left but jobs, which do not outlast an interruption.
  void all_moved() {
    moved_ = true;
    if (told_ != Interruption::none) jobs_.abort("interrupted");
  }

 private:
  const RunOptions& options_;
  Session& session_;
  CommunicatingJobs& jobs_;
  bool moved_ = false;
  Interruption told_ = Interruption::none;
};

struct Cancelling {
  Task& task;
  ~Cancelling() { task.cancel(); }
};

/// One run: what the worlds share.
class Execution {
 public:
  Execution(const LoadedScenario& loaded, const RunOptions& options, const JobPrograms& programs,
            RunOutcome& outcome)
      : loaded_(loaded), options_(options), programs_(programs), outcome_(outcome) {}

  void simulate() {
    SimulationOptions simulation;
    simulation.seed = loaded_.scenario.seed;
    simulation.link_usage = loaded_.scenario.outputs.links;
    simulation.between_steps = [this] {
      if (relay_ != nullptr) relay_->look();
    };
    LinkUsage links = run_in_simulation(
        outcome_.instance, loaded_.scenario.platform, simulation, [this](World& world) {
          run(world, [](InterruptionRelay&, const std::function<void()>& go) { go(); });
        });
    if (simulation.link_usage) outcome_.links = std::move(links);
  }

  void run_on_threads() {
    ThreadsOptions threads;
    threads.seed = loaded_.scenario.seed;
    threads.speed = options_.speed;
    run_threads(outcome_.instance, loaded_.scenario.platform, threads,
                [this](World& world) { run_with_watcher(world, watch_interval * options_.speed); });
  }

  void run_in_cluster() {
    HardwareRun run;
    run.name = options_.run_name;
    run.start = start();
    run.taken_over = options_.history != nullptr && !options_.history->controllers.empty();
    run.origin = run.taken_over ? options_.history->controllers.front().origin
                                : wall_nanoseconds() - run.start.since_start().count_nanoseconds();
    run.schedule = loaded_.scenario.schedule;
    run.scenario = loaded_.resolved;
    origin_ = run.origin;
    auto times = run_on_hardware(outcome_.instance, options_.cluster->cluster, run,
                                 [this](World& world, mpi::RankHost& host) {
                                   host_ = &host;
                                   run_with_watcher(world, watch_interval);
                                 });
    // What earlier controllers waited for is not known, and their moves are among the records.
    if (options_.history == nullptr) outcome_.hypervisor_times = std::move(times);
  }

 private:
  /// A run that is taken over goes on by the same clock, which never goes back.
  [[nodiscard]] TimePoint start() const {
    if (options_.history == nullptr || options_.history->controllers.empty()) {
      return TimePoint::start();
    }
    const std::int64_t since = wall_nanoseconds() - options_.history->controllers.front().origin;
    return std::max(TimePoint::at(Duration::nanoseconds(since)), options_.history->last);
  }

  /// Where tasks are threads: their records need a mutex, and a signal wakes none of them.
  void run_with_watcher(World& world, Duration interval) {
    outcome_.records = RunRecords(world.executor.make_mutex());
    run(world, [&world, interval](InterruptionRelay& relay, const std::function<void()>& go) {
      const std::unique_ptr<Task> watcher =
          world.executor.spawn("interruption watcher", [&world, &relay, interval] {
            while (world.clock.sleep_until(world.clock.now() + interval) != Wake::cancelled) {
              relay.look();
            }
          });
      const Cancelling ending{*watcher};  // before the watcher is joined, however `go` ends
      go();
    });
    outcome_.records.drop_mutex();
  }

  template <class Around>
  void run(World& world, const Around& around) {
    outcome_.world_built_nanoseconds = real_nanoseconds();
    if (!outcome_.instance.controller_downs.empty()) {
      run_through_downs(world, around);
      return;
    }
    MemoryJournal memory;
    Journal& journal = options_.journal != nullptr ? *options_.journal : memory;
    SessionOptions session_options;
    session_options.on_progress = options_.on_progress;
    session_options.interruption = options_.interruption;
    session_options.settle_only = options_.settle_only;
    if (options_.world != WorldKind::sim) {
      session_options.clock_origin = origin_.value_or(
          wall_nanoseconds() - world.clock.now().since_start().count_nanoseconds());
    }
    Surroundings surroundings(world, loaded_.scenario, outcome_.instance, outcome_.records,
                              programs_, host_);
    Session session(surroundings.world(), surroundings.jobs(), outcome_.instance, outcome_.plan,
                    journal, outcome_.records, session_options);
    if (options_.history != nullptr) {
      if (const auto resumed = session.resume(*options_.history); !resumed) {
        throw WorldError(resumed.error());
      }
    }
    CommunicatingJobs& jobs = surroundings.communicating();
    InterruptionRelay relay(options_, session, jobs);
    relay_ = &relay;
    around(relay, [&] {
      jobs.start();
      session.run();
      relay.all_moved();
      jobs.finish(outcome_.records.moves(), outcome_.records);
    });
    relay_ = nullptr;
    outcome_.journal = memory.text();
    outcome_.unsettled = session.unsettled();
  }

  /// As `run`, where the scenario's faults let controllers go down.
  template <class Around>
  void run_through_downs(World& world, const Around& around) {
    std::vector<ControllerDown> downs;
    for (const ControllerDownSpec& down : outcome_.instance.controller_downs) {
      downs.push_back({{down.record, when_of(down.last_record)}, down.away});
    }
    SessionOptions session_options;
    session_options.on_progress = options_.on_progress;
    session_options.interruption = options_.interruption;
    SurvivingRun survived = ferry::run_through_downs(
        world, loaded_.scenario, outcome_.instance, outcome_.plan, downs, {}, session_options,
        outcome_.records, programs_,
        [&](Session& session, Surroundings& surroundings, const std::function<void()>& go) {
          InterruptionRelay relay(options_, session, surroundings.communicating());
          relay_ = &relay;
          around(relay, go);
          relay_ = nullptr;
        });
    outcome_.records.drop_mutex();
    if (options_.journal == nullptr) {
      outcome_.journal = std::move(survived.journal);
      return;
    }
    const auto contents = read_journal(survived.journal);
    check(contents.has_value(), "a journal that was just written can be read");
    for (const std::string& record : contents->records) options_.journal->append(record);
    options_.journal->sync();
  }

  const LoadedScenario& loaded_;
  const RunOptions& options_;
  const JobPrograms& programs_;
  RunOutcome& outcome_;
  InterruptionRelay* relay_ = nullptr;
  mpi::RankHost* host_ = nullptr;       ///< null: ranks run here
  std::optional<std::int64_t> origin_;  ///< of the clock of a real world, ns since the epoch
};

/// Why jobs that send messages cannot run in these guests; nothing if they can.
std::optional<std::string> missing_for_ranks(const Instance& instance, const JobPrograms& programs,
                                             const ClusterFile& cluster) {
  for (const auto& [id, program] : programs) {
    const JobSpec& job = instance.jobs[id.index];
    if (cluster.rank.path.empty()) {
      return fmt::format(
          "jobs: {}: its ranks send messages, and the cluster file does not say which program they "
          "are in the guests; rank: {{path: /usr/bin/ferry-rank, user: hpc}} there would be right, "
          "or workload: {{type: timed}} here where the guests run programs of their own",
          job.name);
    }
    for (const VmId vm : job.vms) {
      const std::string& name = instance.vms[vm.index].name;
      const ClusterVm* const known = cluster.vm(name);
      if (known == nullptr || !known->agent.empty()) continue;
      return fmt::format(
          "jobs: {}: it has ranks in {}, for which the cluster file names no agent; vms: {{{}: "
          "{{agent: org.ferry.agent.0}}}} with ferry-agent in the guest would be right, or "
          "workload: {{type: timed}} where the guests run programs of their own",
          job.name, name, name);
    }
  }
  return std::nullopt;
}

/// How long the jobs take without migrations, by another simulation, in a process of its own.
tl::expected<std::map<JobId, Duration>, RunError> simulate_twin(const LoadedScenario& loaded,
                                                                const RunOptions& options,
                                                                const JobPrograms& programs,
                                                                const RunOutcome& outcome) {
  const ProcessTask task = [&](TaskOutput& output) {
    RunOutcome twin;
    twin.instance = outcome.instance;
    twin.instance.moves.clear();
    twin.instance.controller_downs.clear();
    RunOptions quiet = options;
    quiet.on_progress = nullptr;
    quiet.journal = nullptr;
    Execution(loaded, quiet, programs, twin).simulate();
    for (const JobRecord& job : twin.records.jobs()) {
      if (!job.reason.empty()) continue;
      output.write(
          fmt::format("{} {}\n", job.job.index, (job.end - job.start).count_nanoseconds()));
    }
    return 0;
  };
  ProcessPoolOptions pool;
  pool.interruption = options.interruption;
  const TaskEnd end = run_processes({task}, pool).front().value_or(TaskEnd());
  std::map<JobId, Duration> times;
  if (end.how == TaskEnd::How::cancelled) return times;
  if (!end.succeeded()) {
    return tl::unexpected(RunError{
        ExitStatus::no_world,
        fmt::format("the run without migrations {}; outputs: {{twin: false}} goes without it{}{}",
                    end.reason(), end.output.empty() ? "" : ": ", end.output)});
  }
  std::istringstream lines(end.output);
  std::uint32_t job = 0;
  std::int64_t nanoseconds = 0;
  while (lines >> job >> nanoseconds) times[JobId{job}] = Duration::nanoseconds(nanoseconds);
  return times;
}

}  // namespace

std::string_view to_name(WorldKind world) {
  switch (world) {
    case WorldKind::sim: return "sim";
    case WorldKind::threads: return "threads";
    case WorldKind::hw: return "hw";
  }
  return "?";
}

std::int64_t real_nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

tl::expected<std::unique_ptr<RunOutcome>, RunError> run_scenario_in_memory(
    const LoadedScenario& loaded, const RunOptions& options) {
  if (options.world == WorldKind::sim && !simulation_is_built_in) {
    return tl::unexpected(RunError{
        ExitStatus::no_world,
        "this build has no simulated world (SimGrid was not there when it was configured); "
        "--on threads would be right"});
  }
  check(options.world != WorldKind::hw || options.cluster != nullptr,
        "the hw world is a cluster's");
  auto outcome = std::make_unique<RunOutcome>();
  outcome->instance = expand(loaded.scenario);
  if (options.world == WorldKind::hw && !outcome->instance.cluster_faults.empty()) {
    return tl::unexpected(RunError{
        ExitStatus::bad_input,
        "faults: host_down, link_down, slow_link and late_libvirt are for --on sim and --on "
        "threads; take them out for a real world"});
  }
  if (options.world == WorldKind::hw && !outcome->instance.controller_downs.empty()) {
    return tl::unexpected(RunError{
        ExitStatus::bad_input,
        "faults: controller_down is for --on sim and --on threads; in a real world kill the "
        "controller's process, and write faults without it"});
  }
  auto plan = make_plan(loaded.scenario, outcome->instance);
  if (!plan) return tl::unexpected(RunError{ExitStatus::bad_input, plan.error()});
  outcome->plan = std::move(*plan);

  const auto programs = prepare_jobs(loaded.scenario, outcome->instance);
  if (!programs) {
    return tl::unexpected(
        RunError{ExitStatus::bad_input, fmt::format("{}", fmt::join(programs.error(), "\n"))});
  }
  if (options.world == WorldKind::hw) {
    if (auto missing = missing_for_ranks(outcome->instance, *programs, options.cluster->cluster)) {
      return tl::unexpected(RunError{ExitStatus::bad_input, std::move(*missing)});
    }
  }
  const bool twin = loaded.scenario.outputs.twin && !programs->empty() &&
                    !outcome->instance.moves.empty() && options.world == WorldKind::sim;
  tl::expected<std::map<JobId, Duration>, RunError> unmigrated;
  if (twin) unmigrated = simulate_twin(loaded, options, *programs, *outcome);
  if (!unmigrated) return tl::unexpected(unmigrated.error());

  Execution execution(loaded, options, *programs, *outcome);
  try {
    switch (options.world) {
      case WorldKind::sim: execution.simulate(); break;
      case WorldKind::threads: execution.run_on_threads(); break;
      case WorldKind::hw: execution.run_in_cluster(); break;
    }
  } catch (const WorldError& error) {
    return tl::unexpected(
        RunError{ExitStatus::no_world, fmt::format("the world broke: {}", error.what())});
  } catch (const JournalError& error) {
    return tl::unexpected(RunError{ExitStatus::no_world, fmt::format("stopped: {}", error.what())});
  }
  outcome->records.set_unmigrated(std::move(*unmigrated));
  outcome->accounts = account_moves(outcome->records);
  outcome->metrics = summarise(outcome->records, outcome->accounts,
                               account_jobs(outcome->records, outcome->instance));
  outcome->verdict = judge(outcome->records, outcome->instance);
  outcome->interrupted = options.interruption && options.interruption() != Interruption::none;
  return outcome;
}

}  // namespace ferry
