#include "controller/cli/past_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "controller/cli/counted.hpp"
#include "controller/cli/text_table.hpp"

namespace ferry {
namespace {

tl::expected<std::string, std::string> read_text(const std::filesystem::path& file) {
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  if (stream) text << stream.rdbuf();
  if (!stream) {
    return tl::unexpected(
        fmt::format("{}: cannot be read: {}", file.string(), std::strerror(errno)));
  }
  return text.str();
}

tl::expected<void, std::string> read_run_json(PastRun& run) {
  const std::filesystem::path file = run.folder / "run.json";
  if (!std::filesystem::exists(file)) {
    return tl::unexpected(
        fmt::format("{}: is no run folder: it has no run.json", run.folder.string()));
  }
  const auto text = read_text(file);
  if (!text) return tl::unexpected(text.error());
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, false);
  const auto wrong = [&file] {
    return tl::unexpected(
        fmt::format("{}: is not as ferry writes it for a run; a run folder of ferry would be right",
                    file.string()));
  };
  if (json.is_object() && json.value("kind", nlohmann::json()) == "study") {
    return tl::unexpected(fmt::format(
        "{}: is the folder of a study; one in its cells/ would be right", run.folder.string()));
  }
  if (!json.is_object() || json.value("kind", nlohmann::json()) != "run") return wrong();
  for (const auto& [key, place] : {std::pair("name", &run.name), std::pair("world", &run.world),
                                   std::pair("started_at", &run.started_at)}) {
    if (!json.contains(key) || !json[key].is_string()) return wrong();
    *place = json[key].get<std::string>();
  }
  if (!json.contains("command") || !json["command"].is_array()) return wrong();
  for (const auto& word : json["command"]) {
    if (!word.is_string()) return wrong();
    run.command.push_back(word.get<std::string>());
  }
  run.unfinished = json.contains("unfinished");
  return {};
}

template <class T>
tl::expected<T, std::string> one_text(Loaded<T>&& loaded) {
  if (loaded) return std::move(*loaded);
  std::string text;
  for (const Diagnostic& diagnostic : loaded.error()) {
    if (!text.empty()) text += '\n';
    text += diagnostic.text();
  }
  return tl::unexpected(std::move(text));
}

std::string seconds(Duration time) { return fmt::format("{:.3f}", time.to_seconds()); }

/// "is at work", "went down" ...
std::string controller_text(const PastRun& run) {
  const std::size_t number = run.history.controllers.size();
  if (run.writer) {
    return *run.writer > 0
               ? fmt::format("controller {} (process {}) is at work", number, *run.writer)
               : fmt::format("controller {}, elsewhere, is at work", number);
  }
  if (number == 0) return "no controller has begun";
  const ControllerHistory& last = run.history.controllers.back();
  if (!last.ended) {
    return fmt::format("controller {} went down; its last record is of {} s", number,
                       seconds(run.history.last.since_start()));
  }
  return fmt::format("controller {} ended at {} s{}", number, seconds(last.ended->since_start()),
                     last.interrupted ? ", interrupted" : "");
}

std::string stage_text(const MoveStatus& status) {
  switch (status.stage) {
    case MoveStatus::Stage::waiting:
      return status.attempts > 0 ? "waits to be tried again" : "waits";
    case MoveStatus::Stage::under_way: return std::string(to_name(status.phase));
    case MoveStatus::Stage::left: return fmt::format("left in {}", to_name(status.phase));
    case MoveStatus::Stage::ended: return std::string(to_name(status.outcome));
  }
  return "?";
}

std::string_view stage_name(MoveStatus::Stage stage) {
  switch (stage) {
    case MoveStatus::Stage::waiting: return "waiting";
    case MoveStatus::Stage::under_way: return "under_way";
    case MoveStatus::Stage::left: return "left";
    case MoveStatus::Stage::ended: return "ended";
  }
  return "?";
}

Phase phase_of(const WaveHistory& wave, const MoveHistory& move) {
  if (move.rest) return Phase::set_post_migration;
  if (!wave.suspension) return Phase::set_pre_migration;
  return move.last_phase.value_or(Phase::set_pre_migration);
}

HostId last_host(const MoveHistory& move) { return move.rest ? move.rest->host : move.host; }

}  // namespace

tl::expected<std::unique_ptr<PastRun>, std::string> load_past_run(std::filesystem::path folder,
                                                                  const JournalFile* own) {
  auto run = std::make_unique<PastRun>();
  run->folder = folder.has_filename() ? std::move(folder) : folder.parent_path();
  if (const auto name = run->folder.filename(); name == "." || name == "..") {
    // Ranks in guests know their run by its folder's name.
    std::error_code error;
    const std::filesystem::path whole = std::filesystem::canonical(run->folder, error);
    if (!error) run->folder = whole;
  }
  if (!std::filesystem::is_directory(run->folder)) {
    return tl::unexpected(
        fmt::format("{}: no such folder; a run folder, as ferry run makes it, would be right",
                    run->folder.string()));
  }
  if (const auto read = read_run_json(*run); !read) return tl::unexpected(read.error());
  auto loaded = one_text(load_scenario(run->folder / "resolved.yaml", {}));
  if (!loaded) return tl::unexpected(loaded.error());
  run->loaded = std::move(*loaded);
  run->instance = expand(run->loaded.scenario);
  auto plan = make_plan(run->loaded.scenario, run->instance);
  if (!plan) {
    return tl::unexpected(
        fmt::format("{}: {}", (run->folder / "resolved.yaml").string(), plan.error()));
  }
  run->plan = std::move(*plan);
  if (std::filesystem::exists(run->folder / "cluster.yaml")) {
    auto cluster = one_text(load_cluster(run->folder / "cluster.yaml"));
    if (!cluster) return tl::unexpected(cluster.error());
    run->cluster = std::move(*cluster);
  }
  std::vector<std::string> records;
  if (own != nullptr) {
    records = own->found();
  } else {
    run->writer = journal_writer(run->journal());
    const auto text = read_text(run->journal());
    if (!text) return tl::unexpected(text.error());
    auto contents = read_journal(*text);
    if (!contents) {
      return tl::unexpected(fmt::format("{}: {}", run->journal().string(), contents.error()));
    }
    records = std::move(contents->records);
  }
  auto history = read_history(records, run->instance);
  if (!history) {
    return tl::unexpected(fmt::format("{}: {}", run->journal().string(), history.error()));
  }
  run->history = std::move(*history);
  return run;
}

std::vector<MoveStatus> move_statuses(const PastRun& run) {
  std::vector<MoveStatus> statuses(run.instance.moves.size());
  for (std::size_t i = 0; i < statuses.size(); ++i) statuses[i].host = run.plan.moves[i].from;
  for (const WaveHistory& wave : run.history.waves) {
    for (const MoveHistory& move : wave.moves) {
      MoveStatus& status = statuses[move.move.move];
      status.attempts += 1;
      status.since = wave.opened;
      status.host = last_host(move);
      status.phase = phase_of(wave, move);
      if (!wave.closed) {
        status.stage = run.writer ? MoveStatus::Stage::under_way : MoveStatus::Stage::left;
        continue;
      }
      status.outcome = move.rest->outcome;
      status.until = wave.closed;
      status.reason = move.stale.value_or(move.rest->reason);
      const Retry& retry = run.instance.moves[move.move.move].retry;
      const bool again =
          status.outcome == Outcome::rolled_back && status.attempts <= retry.attempts;
      status.stage = again ? MoveStatus::Stage::waiting : MoveStatus::Stage::ended;
    }
  }
  for (const JournalHistory::GivenUp& move : run.history.given_up) {
    MoveStatus& status = statuses[move.move];
    status.stage = MoveStatus::Stage::ended;
    status.outcome = status.attempts > 0 ? Outcome::rolled_back : Outcome::not_started;
    status.until = move.at;
    status.reason = move.reason;
  }
  return statuses;
}

bool has_work_left(const PastRun& run) {
  const std::vector<MoveStatus> statuses = move_statuses(run);
  return run.unfinished || std::any_of(statuses.begin(), statuses.end(), [](const auto& status) {
           return status.stage != MoveStatus::Stage::ended;
         });
}

std::string status_text(const PastRun& run) {
  const std::vector<MoveStatus> statuses = move_statuses(run);
  std::size_t waiting = 0;
  std::size_t under_way = 0;
  std::map<Outcome, std::size_t> outcomes;
  std::vector<std::vector<std::string>> rows;
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    const MoveStatus& status = statuses[i];
    const MoveSpec& spec = run.instance.moves[i];
    switch (status.stage) {
      case MoveStatus::Stage::waiting: ++waiting; break;
      case MoveStatus::Stage::under_way:
      case MoveStatus::Stage::left: ++under_way; break;
      case MoveStatus::Stage::ended: ++outcomes[status.outcome]; break;
    }
    const TimePoint until = status.until.value_or(run.history.last);
    rows.push_back({run.instance.vms[spec.vm.index].name, spec.migration,
                    run.instance.hosts[run.plan.moves[i].from.index].name,
                    run.instance.hosts[run.plan.moves[i].to.index].name, stage_text(status),
                    run.instance.hosts[status.host.index].name,
                    status.since ? seconds(until - *status.since) : "", status.reason});
  }
  std::string counts;
  for (const auto& [outcome, count] : outcomes) {
    counts += fmt::format(", {} {}", count, to_name(outcome));
  }
  if (under_way > 0) {
    counts += fmt::format(", {} {}", under_way, run.writer ? "under way" : "left under way");
  }
  if (waiting > 0) counts += fmt::format(", {} waiting", waiting);
  std::string text = fmt::format("{}: {} on {}, {}\n", run.folder.string(), run.name, run.world,
                                 controller_text(run));
  text += fmt::format("{}{}\n", counted(statuses.size(), "migration"), counts);
  if (!rows.empty()) {
    text += '\n';
    text += text_table({{"vm"},
                        {"migration"},
                        {"from"},
                        {"to"},
                        {"stage"},
                        {"on"},
                        {"seconds", Align::right},
                        {"reason"}},
                       rows);
  }
  return text;
}

std::string status_json(const PastRun& run) {
  nlohmann::ordered_json json;
  json["folder"] = run.folder.string();
  json["name"] = run.name;
  json["world"] = run.world;
  json["controllers"] = run.history.controllers.size();
  json["at_work"] = run.writer.has_value();
  json["controller_pid"] =
      run.writer.value_or(0) > 0 ? nlohmann::ordered_json(*run.writer) : nlohmann::ordered_json();
  json["unfinished"] = run.unfinished;
  json["now_seconds"] = run.history.last.to_seconds();
  json["moves"] = nlohmann::ordered_json::array();
  const std::vector<MoveStatus> statuses = move_statuses(run);
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    const MoveStatus& status = statuses[i];
    nlohmann::ordered_json move;
    move["vm"] = run.instance.vms[run.instance.moves[i].vm.index].name;
    move["migration"] = run.instance.moves[i].migration;
    move["from"] = run.instance.hosts[run.plan.moves[i].from.index].name;
    move["to"] = run.instance.hosts[run.plan.moves[i].to.index].name;
    move["stage"] = stage_name(status.stage);
    if (status.stage == MoveStatus::Stage::under_way || status.stage == MoveStatus::Stage::left) {
      move["phase"] = to_name(status.phase);
    }
    if (status.stage == MoveStatus::Stage::ended) move["outcome"] = to_name(status.outcome);
    move["on"] = run.instance.hosts[status.host.index].name;
    if (status.since) move["since_seconds"] = status.since->to_seconds();
    if (status.until) move["until_seconds"] = status.until->to_seconds();
    move["reason"] = status.reason;
    json["moves"].push_back(std::move(move));
  }
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace ferry
