// The program `ferry-rank`: one rank of a job.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "core/ports/world_error.hpp"
#include "core/record/run_folder.hpp"
#include "hw_backend/agent/agent_board_names.hpp"
#include "hw_backend/agent/handed_trace.hpp"
#include "hw_backend/ranks/ending.hpp"
#include "hw_backend/ranks/rank_program.hpp"
#include "hw_backend/ranks/results.hpp"

namespace ferry::ranks {
namespace {

/// As those of `ferry`.
enum class Status { done = 0, failed = 1, bad_input = 2, no_world = 3, interrupted = 130 };

struct Arguments {
  std::string scenario;
  std::string job;
  std::vector<std::string> settings;
  std::string out;
  RankOptions rank;
};

/// Every rank reads the same: one says what is wrong with it.
Status refuse(const Start& start, const std::vector<std::string>& lines) {
  if (start.rank().index == 0) {
    for (const std::string& line : lines) fmt::print(stderr, "{}\n", line);
  }
  return Status::bad_input;
}

tl::expected<LoadedScenario, std::vector<std::string>> load(const Arguments& arguments,
                                                            TraceFiles traces) {
  std::vector<Setting> settings;
  for (const std::string& text : arguments.settings) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return tl::unexpected(std::vector<std::string>{fmt::format(
          "ferry-rank: --set {}: is not PATH=VALUE; jobs.lu.ranks=2 would be right", text)});
    }
    settings.push_back({text.substr(0, equals), text.substr(equals + 1)});
  }
  auto loaded = load_scenario(arguments.scenario, settings, traces);
  if (loaded) return std::move(*loaded);
  std::vector<std::string> lines;
  for (const Diagnostic& diagnostic : loaded.error()) lines.push_back(diagnostic.text());
  return tl::unexpected(std::move(lines));
}

Status be_rank(const Arguments& arguments, Start& start, const std::vector<std::string>& command) {
  auto loaded = load(arguments, TraceFiles::here);
  if (!loaded) return refuse(start, loaded.error());
  auto job = prepare_job(std::move(*loaded), arguments.job);
  if (!job) return refuse(start, job.error());
  if (job->spec().ranks() != start.size()) {
    return refuse(start, {fmt::format("ferry-rank: job {} has {} ranks, and {} started {}; "
                                      "mpiexec -n {} or another number of ranks (--set) would be "
                                      "right",
                                      job->spec().name, job->spec().ranks(), start.launcher(),
                                      start.size(), job->spec().ranks())});
  }
  Results results(command, arguments.out);
  if (start.rank().index == 0) {
    if (auto ready = results.prepare(*job); !ready) {
      fmt::print(stderr, "ferry-rank: {}\n", ready.error());
      start.abort(static_cast<int>(Status::bad_input));  // the others cannot know
      return Status::bad_input;
    }
  }
  RankOutcome outcome = run_rank_program(*job, start, arguments.rank);
  if (!outcome.remark.empty()) {
    fmt::print(stderr, "ferry-rank: rank {}: {}\n", start.rank().index, outcome.remark);
  }
  if (outcome.record) {
    if (auto written = results.write(*job, *outcome.record, outcome.interrupted); !written) {
      fmt::print(stderr, "ferry-rank: {}\n", written.error());
      return Status::no_world;
    }
  }
  if (!outcome.ended && (start.rank().index == 0 || outcome.others_wait)) {
    fmt::print(stderr, "ferry-rank: {}\n", outcome.ended.error().reason);
  } else if (!outcome.ended) {
    // Rank 0 says it, and a launcher ends it as soon as another rank is seen to have failed.
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
  }
  if (outcome.others_wait) start.abort(static_cast<int>(Status::failed));
  if (outcome.interrupted) return Status::interrupted;
  const bool well = outcome.ended && (!outcome.record || outcome.record->reason.empty());
  return well ? Status::done : Status::failed;
}

/// What it came to is with the agent, and why it failed.
Status be_rank_of_agent(const Arguments& given, const std::filesystem::path& folder) {
  Arguments arguments = given;
  if (arguments.scenario.empty()) arguments.scenario = folder / "description";
  const char* const number = std::getenv(agent::rank_variable);
  RankId rank;
  const char* const end = number == nullptr ? nullptr : number + std::strlen(number);
  if (number == nullptr || std::from_chars(number, end, rank.index).ptr != end || number == end) {
    fmt::print(stderr, "ferry-rank: {} does not say which rank this is\n", agent::rank_variable);
    return Status::no_world;
  }
  auto loaded = load(arguments, TraceFiles::elsewhere);
  const std::chrono::nanoseconds patience(arguments.rank.channels.patience.count_nanoseconds());
  const auto trace = [&]() -> Result<HandedTrace> {
    auto file =
        agent::await_trace(folder, std::chrono::duration_cast<std::chrono::milliseconds>(patience));
    if (!file) return tl::unexpected(file.error());
    return HandedTrace{*file, rank};
  };
  auto job = loaded ? prepare_job(std::move(*loaded), arguments.job, trace)
                    : tl::expected<PreparedJob, std::vector<std::string>>(
                          tl::unexpected(std::move(loaded.error())));
  if (!job || rank.index >= job->spec().ranks()) {
    fmt::print(stderr, "ferry-rank: {}\n",
               job ? "the job has fewer ranks" : fmt::format("{}", fmt::join(job.error(), "\n")));
    return Status::bad_input;
  }
  const Result<> ended = run_rank_of_agent(*job, rank, folder, arguments.rank);
  if (ended) return Status::done;
  fmt::print(stderr, "ferry-rank: {}\n", ended.error().reason);
  return Status::failed;
}

int run(const std::vector<std::string>& command) {
  CLI::App program(
      "One rank of a job of a scenario, as a real process. Started by mpiexec (Hydra) or srun, "
      "once "
      "for each rank, or alone.");
  program.name("ferry-rank");
  program.set_version_flag("--version", std::string("ferry-rank ") + FERRY_VERSION);
  Arguments arguments;
  program
      .add_option("--scenario", arguments.scenario,
                  "A scenario file (by an agent: what the controller handed on)")
      ->type_name("FILE");
  program.add_option("--job", arguments.job, "Which of its jobs")->type_name("NAME")->required();
  program
      .add_option("--set", arguments.settings,
                  "Change a value of the file: jobs.lu.ranks=2. May be given several times.")
      ->type_name("PATH=VALUE")
      ->allow_extra_args(false);
  program
      .add_option("--out", arguments.out,
                  "A run folder, which rank 0 writes: measurements.csv, jobs.csv, summary.csv "
                  "and the others (default: none)")
      ->type_name("DIR");
  program
      .add_option("--ivshmem", arguments.rank.channels.ivshmem,
                  "The memory that this machine shares with others of its host (default: the "
                  "ivshmem-plain device that the machine has, if any)")
      ->type_name("FILE");
  program
      .add_option(
          "--device", arguments.rank.channels.device,
          "The adapter: name=rxe0, pci=0000:03:00.1, guid=..., mac=..., with port= and pkey=; "
          "none: no adapter (default: any that is there)")
      ->type_name("DEVICE");
  program
      .add_option("--listen", arguments.rank.channels.listen,
                  "Numeric address for what ranks tell each other beside their messages: of the "
                  "network that lives through migrations (default: all)")
      ->type_name("ADDRESS");
  program
      .add_option("--reached-as", arguments.rank.channels.reached_as,
                  "How other ranks reach it (default: as --listen says, or the first interface "
                  "that is no RDMA device's)")
      ->type_name("ADDRESS");
  program.add_flag("--pages", arguments.rank.pages,
                   "Make this machine's memory what the scenario says of its VM: zero pages, "
                   "working set, dirty rates");
  program.footer(
      "Exit status: 0 done; 1 the job failed; 2 bad input; 3 the system or the launcher refused; "
      "130 interrupted.\n"
      "Examples:\n"
      "  mpiexec.hydra -n 2 ferry-rank --scenario pair.yaml --job pair --out runs/pair\n"
      "  srun --mpi=pmi2 -n 16 ferry-rank --scenario lu.yaml --job lu --out runs/lu");
  try {
    std::vector<std::string> rest(command.rbegin(), command.rend() - 1);
    program.parse(rest);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help, --version
      program.exit(error);
      return 0;
    }
    fmt::print(stderr, "ferry-rank: {}; --help shows what is right\n", error.what());
    return static_cast<int>(Status::bad_input);
  }
  if (const char* const folder = std::getenv(agent::folder_variable)) {
    return static_cast<int>(be_rank_of_agent(arguments, folder));
  }
  if (arguments.scenario.empty()) {
    fmt::print(stderr, "ferry-rank: --scenario is required; --help shows what is right\n");
    return static_cast<int>(Status::bad_input);
  }
  take_signals();
  Result<std::unique_ptr<Start>> started = start_by_pmi();
  if (!started) throw WorldError(started.error().reason);
  const std::unique_ptr<Start> start = *started != nullptr ? std::move(*started) : start_alone();
  Status status = Status::no_world;
  try {
    status = be_rank(arguments, *start, command);
  } catch (const WorldError& error) {
    // What others wait for does not come from this rank.
    fmt::print(stderr, "ferry-rank: rank {}: {}\n", start->rank().index, error.what());
    start->abort(static_cast<int>(Status::no_world));
    return static_cast<int>(Status::no_world);
  }
  if (const Result<> finished = start->finish(); !finished && status == Status::done) {
    fmt::print(stderr, "ferry-rank: {}\n", finished.error().reason);
    status = Status::no_world;
  }
  return static_cast<int>(status);
}

}  // namespace
}  // namespace ferry::ranks

int main(int argc, char** argv) {
  try {
    return ferry::ranks::run({argv, argv + argc});
  } catch (const std::exception& error) {
    fmt::print(stderr, "ferry-rank: {}\n", error.what());
    return 3;
  }
}
