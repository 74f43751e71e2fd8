#include "controller/cli/run_output.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>
#include <map>
#include <stdexcept>

#include "controller/cli/text_table.hpp"
#include "controller/cli/worlds.hpp"
#include "core/record/csv.hpp"
#include "core/scenario/document.hpp"

namespace ferry {
namespace {

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "unknown";
  return name.data();
}

/// Of completed moves.
struct Extent {
  Duration sum;
  Duration smallest = Duration::max();
  Duration largest;
  std::int64_t count = 0;

  void add(Duration value) {
    sum += value;
    smallest = std::min(smallest, value);
    largest = std::max(largest, value);
    ++count;
  }
  [[nodiscard]] std::vector<std::string> row(std::string_view name) const {
    const auto text = [](Duration time) { return fmt::format("{:.3f}", time.to_seconds()); };
    return {std::string(name), text(Duration::nanoseconds(sum.count_nanoseconds() / count)),
            text(smallest), text(largest)};
  }
};

/// {"host0: libvirt", "9.0.0"} and so on as {"libvirt", "9.0.0"}, or, where hosts differ, as
/// {"libvirt", "9.0.0 (host0), 8.0.0 (host1)"}.
std::vector<std::pair<std::string, std::string>> versions_by_program(
    const std::vector<std::pair<std::string, std::string>>& versions) {
  struct Program {
    std::string first;
    std::string all;
    bool differs = false;
  };
  std::map<std::string, Program> programs;
  for (const auto& [subject, version] : versions) {
    const std::size_t colon = subject.find(": ");
    const std::string host = subject.substr(0, colon);
    std::string name = colon == std::string::npos ? subject : subject.substr(colon + 2);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    Program& program = programs[name];
    if (program.all.empty()) program.first = version;
    program.differs = program.differs || version != program.first;
    program.all += fmt::format("{}{} ({})", program.all.empty() ? "" : ", ", version, host);
  }
  std::vector<std::pair<std::string, std::string>> texts;
  for (const auto& [name, program] : programs) {
    texts.emplace_back(name, program.differs ? program.all : program.first);
  }
  return texts;
}

std::string outcome_counts(const std::vector<MoveRecord>& moves) {
  std::map<Outcome, std::size_t> counts;
  for (const MoveRecord& move : moves) ++counts[move.outcome];
  std::string text;
  for (const auto& [outcome, count] : counts) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, to_name(outcome));
  }
  return text;
}

/// A table of the jobs whose ranks sent messages; empty if there are none.
std::string jobs_report(const RunOutcome& outcome) {
  constexpr std::size_t shown = 10;
  const auto text = [](const std::optional<Duration>& time) {
    return time ? fmt::format("{:.6f}", time->to_seconds()) : std::string("-");
  };
  std::vector<JobAccount> jobs = account_jobs(outcome.records, outcome.instance);
  std::erase_if(jobs, [](const JobAccount& job) { return job.record == nullptr; });
  if (jobs.empty()) return {};
  const NameOrder order(outcome.instance);
  std::sort(jobs.begin(), jobs.end(), [&](const JobAccount& a, const JobAccount& b) {
    return order.of(a.job) < order.of(b.job);
  });
  std::vector<std::vector<std::string>> rows;
  std::string failures;
  for (std::size_t i = 0; i < std::min(shown, jobs.size()); ++i) {
    const JobAccount& job = jobs[i];
    const JobSpec& spec = outcome.instance.jobs[job.job.index];
    rows.push_back({spec.name, std::string(to_name(spec.workload.type)), text(job.elapsed),
                    text(job.unmigrated), text(job.exposed),
                    job.overlap ? fmt::format("{:.1f} %", 100 * *job.overlap) : "-"});
    if (!job.record->reason.empty()) {
      failures += fmt::format("  {}: {}\n", spec.name, job.record->reason);
    }
  }
  std::string report = "\n" + text_table({{"job"},
                                          {"workload"},
                                          {"elapsed s", Align::right},
                                          {"unmigrated s", Align::right},
                                          {"exposed s", Align::right},
                                          {"overlap", Align::right}},
                                         rows);
  if (jobs.size() > shown) {
    report += fmt::format("and {} more, see jobs.csv\n", jobs.size() - shown);
  }
  return report + failures;
}

}  // namespace

RunInformation describe_process(const std::vector<std::string>& command, WorldKind world,
                                const RealWorld* real) {
  RunInformation information;
  information.world = to_name(world);
  information.command = command;
  information.host = host_name();
  information.started_at = utc_now();
  information.versions = {{"ferry", FERRY_VERSION}, {"compiler", __VERSION__}};
  if (world == WorldKind::sim) {
    information.versions.emplace_back("simgrid", simulation_engine_version);
  }
  if (real != nullptr) {
    information.cluster = real->cluster->file;
    for (auto& version : versions_by_program(real->diagnosis.versions)) {
      information.versions.push_back(std::move(version));
    }
  }
  return information;
}

tl::expected<void, std::string> write_before_run(NewFolder& folder, const LoadedScenario& loaded,
                                                 const LoadedCluster* cluster,
                                                 RunInformation information) {
  if (cluster != nullptr) {
    if (auto written = folder.write("cluster.yaml", cluster->resolved); !written) return written;
  }
  if (auto written = folder.write("resolved.yaml", loaded.resolved); !written) return written;
  information.name = loaded.scenario.name;
  information.seed = loaded.scenario.seed;
  return folder.write("run.json", run_json_of_unfinished(information));
}

void AppearingJournal::append(std::string_view record) {
  if (!folder_.appeared()) {
    if (const auto appeared = folder_.appear(); !appeared) {
      throw JournalError(appeared.error());
    }
  }
  inner_.append(record);
}

Duration ControllerShare::own() const { return std::max(total - awaited, Duration::zero()); }

std::vector<ControllerShare> controller_shares(const RunOutcome& outcome) {
  std::vector<ControllerShare> shares;
  if (outcome.hypervisor_times.empty()) return shares;
  std::map<VmId, Duration> totals;
  for (const MoveAccount& account : outcome.accounts) totals[account.move->vm] += account.total();
  for (const auto& [vm, total] : totals) {
    const HypervisorTime& time = outcome.hypervisor_times[vm.index];
    shares.push_back({vm, total, time.awaited, time.calls});
  }
  return shares;
}

std::string controller_csv(const std::vector<ControllerShare>& shares, const Instance& instance) {
  CsvText csv(
      {"vm", "total_seconds", "awaited_seconds", "own_seconds", "own_share", "libvirt_calls"});
  for (const ControllerShare& share : shares) {
    const bool moved = share.total > Duration::zero();
    csv.field(instance.vms[share.vm.index].name)
        .seconds(share.total)
        .seconds(share.awaited)
        .seconds(share.own())
        .field(moved ? fmt::format("{:.6f}", share.own().to_seconds() / share.total.to_seconds())
                     : "")
        .count(share.calls)
        .end_row();
  }
  return csv.take();
}

tl::expected<void, std::string> write_run(NewFolder folder, const LoadedScenario& loaded,
                                          const RunOutcome& outcome, RunInformation information,
                                          std::int64_t began_nanoseconds) {
  information.name = loaded.scenario.name;
  information.seed = loaded.scenario.seed;
  information.interrupted = outcome.interrupted;
  information.verdict = outcome.verdict;
  const RunContents contents{outcome.records, outcome.instance,
                             loaded.resolved, loaded.scenario.outputs.trace,
                             outcome.journal, outcome.links ? &*outcome.links : nullptr};
  if (auto written = write_run_files(folder, contents); !written) return written;
  if (const auto shares = controller_shares(outcome); !shares.empty()) {
    auto written = folder.write("controller.csv", controller_csv(shares, outcome.instance));
    if (!written) return written;
  }
  const std::int64_t now = real_nanoseconds();
  const RunTimes times{Duration::nanoseconds(now - began_nanoseconds),
                       Duration::nanoseconds(now - outcome.world_built_nanoseconds)};
  if (auto written = folder.write("run.json", run_json(information, times)); !written) {
    return written;
  }
  return folder.commit();
}

std::filesystem::path numbered_folder(const std::string& name, unsigned number) {
  std::string safe = name;
  std::replace(safe.begin(), safe.end(), '/', '-');
  return std::filesystem::path("runs") / fmt::format("{}-{:03}", safe, number);
}

tl::expected<NewFolder, std::string> make_run_folder(const std::filesystem::path& wanted,
                                                     const std::string& name) {
  if (!wanted.empty()) {
    // "runs/a/" is "runs/a"
    return NewFolder::create(wanted.has_filename() ? wanted : wanted.parent_path());
  }
  for (unsigned number = 1;; ++number) {
    const std::filesystem::path folder = numbered_folder(name, number);
    std::filesystem::path partial = folder;
    partial += ".partial";
    std::error_code error;
    const auto taken = [&] {
      return std::filesystem::exists(folder, error) || std::filesystem::exists(partial, error);
    };
    if (taken()) continue;
    auto made = NewFolder::create(folder);
    if (made || !taken()) return made;  // else another process took the number meanwhile
  }
}

std::string run_report(const LoadedScenario& loaded, const RunOutcome& outcome, WorldKind world) {
  const std::vector<MoveRecord>& moves = outcome.records.moves();
  std::string text =
      fmt::format("{}: {} migration{} on {}, seed {}\n", loaded.scenario.name, moves.size(),
                  moves.size() == 1 ? "" : "s", to_name(world), loaded.scenario.seed);
  std::array<Extent, phase_count> phases;
  Extent totals;
  Extent downtimes;
  Extent outages;
  for (const MoveAccount& account : outcome.accounts) {
    if (account.move->outcome != Outcome::completed) continue;
    for (std::size_t i = 0; i < phase_count; ++i) phases[i].add(account.times[i]);
    totals.add(account.total());
    downtimes.add(account.move->transfer.downtime);
    outages.add(account.move->outage);
  }
  if (totals.count > 0) {
    std::vector<std::vector<std::string>> rows;
    for (const Phase phase : all_phases) {
      rows.push_back(phases[static_cast<std::size_t>(phase)].row(to_name(phase)));
    }
    rows.push_back(totals.row("total"));
    rows.push_back(downtimes.row("downtime"));
    rows.push_back(outages.row("outage"));
    text += "\n" +
            text_table(
                {{"seconds"}, {"mean", Align::right}, {"min", Align::right}, {"max", Align::right}},
                rows) +
            "\n";
  }
  for (const Metric& metric : outcome.metrics) {
    if (metric.name == "makespan_seconds" && !metric.value.empty()) {
      text += fmt::format("makespan: {} s\n", metric.value.substr(0, metric.value.size() - 6));
    }
  }
  Duration total;
  Duration own;
  for (const ControllerShare& share : controller_shares(outcome)) {
    total += share.total;
    own += share.own();
  }
  if (total > Duration::zero()) {
    text += fmt::format("the controller's own time: {:.1f} % of the moves' totals\n",
                        100 * own.to_seconds() / total.to_seconds());
  }
  if (!moves.empty()) text += fmt::format("outcomes: {}\n", outcome_counts(moves));

  text += jobs_report(outcome);

  std::vector<const MoveRecord*> failures;
  for (const MoveRecord& move : moves) {
    if (move.outcome != Outcome::completed) failures.push_back(&move);
  }
  const NameOrder order(outcome.instance);
  std::sort(failures.begin(), failures.end(),
            [&](const MoveRecord* a, const MoveRecord* b) { return starts_before(*a, *b, order); });
  constexpr std::size_t shown = 10;
  for (std::size_t i = 0; i < std::min(shown, failures.size()); ++i) {
    text += fmt::format("  {}: {}: {}\n", outcome.instance.vms[failures[i]->vm.index].name,
                        to_name(failures[i]->outcome), failures[i]->reason);
  }
  if (failures.size() > shown) {
    text += fmt::format("  and {} more, see migrations.csv\n", failures.size() - shown);
  }
  return text;
}

}  // namespace ferry
