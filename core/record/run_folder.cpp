#include "core/record/run_folder.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "core/record/tables.hpp"
#include "core/record/trace.hpp"
#include "core/units/check.hpp"

namespace ferry {
namespace {

using Written = tl::expected<void, std::string>;

Written write_file(const std::filesystem::path& file, std::string_view text) {
  errno = 0;
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream.write(text.data(), static_cast<std::streamsize>(text.size()));
  stream.close();
  if (!stream) {
    return tl::unexpected(
        fmt::format("{}: cannot be written: {}", file.string(), std::strerror(errno)));
  }
  return {};
}

/// rename(2) that never replaces anything.
int rename_to_new(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  // A file system without this flag: a folder that appears between the two lines is replaced only
  // if it is empty.
  std::error_code error;
  if (std::filesystem::exists(to, error)) return EEXIST;
  return ::rename(from.c_str(), to.c_str()) == 0 ? 0 : errno;
}

}  // namespace

tl::expected<NewFolder, std::string> NewFolder::create(const std::filesystem::path& folder) {
  check(!folder.empty() && folder.has_filename(), "a folder has a name");
  std::error_code error;
  if (std::filesystem::exists(folder, error)) {
    return tl::unexpected(fmt::format(
        "{}: exists already, and nothing is ever overwritten; name another folder with --out",
        folder.string()));
  }
  std::filesystem::path partial = folder;
  partial += ".partial";
  std::vector<std::filesystem::path> parents;
  for (std::filesystem::path parent = folder.parent_path();
       !parent.empty() && !std::filesystem::exists(parent, error); parent = parent.parent_path()) {
    parents.push_back(parent);
  }
  if (folder.has_parent_path()) {
    std::filesystem::create_directories(folder.parent_path(), error);
    if (error) {
      return tl::unexpected(
          fmt::format("{}: cannot be made: {}", folder.parent_path().string(), error.message()));
    }
  }
  if (::mkdir(partial.c_str(), 0777) != 0) {
    if (errno == EEXIST) {
      return tl::unexpected(
          fmt::format("{}: exists: another run is writing it, or one was killed; remove it or name "
                      "another folder with --out",
                      partial.string()));
    }
    return tl::unexpected(
        fmt::format("{}: cannot be made: {}", partial.string(), std::strerror(errno)));
  }
  NewFolder made(folder, std::move(partial));
  made.parents_ = std::move(parents);
  return made;
}

NewFolder NewFolder::of_existing(std::filesystem::path folder) {
  NewFolder existing(folder, folder);
  existing.appeared_ = true;
  return existing;
}

NewFolder::~NewFolder() {
  if (partial_.empty() || appeared_) return;
  std::error_code ignored;  // nothing better can be done in a destructor
  std::filesystem::remove_all(partial_, ignored);
  for (const std::filesystem::path& parent : parents_) {
    std::filesystem::remove(parent, ignored);  // only if nobody else put something there
  }
}

Written NewFolder::write(std::string_view file, std::string_view text) {
  check(!partial_.empty(), "a committed folder is complete");
  return appeared_ ? replace_file(folder_ / file, text) : write_file(partial_ / file, text);
}

Written NewFolder::commit() {
  check(!partial_.empty(), "a folder is committed once");
  if (!appeared_) {
    if (Written shown = appear(); !shown) return shown;
  }
  partial_.clear();
  return {};
}

Written NewFolder::appear() {
  check(!appeared_ && !partial_.empty(), "a folder appears once");
  const int error = rename_to_new(partial_, folder_);
  if (error == EEXIST || error == ENOTEMPTY) {
    return tl::unexpected(
        fmt::format("{}: appeared meanwhile, and nothing is ever overwritten", folder_.string()));
  }
  if (error != 0) {
    return tl::unexpected(
        fmt::format("{}: cannot be made: {}", folder_.string(), std::strerror(error)));
  }
  partial_ = folder_;
  appeared_ = true;
  return {};
}

Written replace_file(const std::filesystem::path& file, std::string_view text) {
  std::filesystem::path temporary = file;
  temporary += ".partial";
  if (Written written = write_file(temporary, text); !written) return written;
  if (::rename(temporary.c_str(), file.c_str()) != 0) {
    return tl::unexpected(
        fmt::format("{}: cannot be written: {}", file.string(), std::strerror(errno)));
  }
  return {};
}

Written write_run_files(NewFolder& folder, const RunContents& contents) {
  const RunRecords& records = contents.records;
  const Instance& instance = contents.instance;
  const std::vector<MoveAccount> accounts = account_moves(records);
  std::vector<std::pair<std::string_view, std::string>> files = {
      {"spans.csv", spans_csv(records, instance)},
      {"rounds.csv", rounds_csv(records, instance)},
      {"migrations.csv", migrations_csv(accounts, instance)},
      {"jobs.csv", jobs_csv(records, instance)},
      {"ranks.csv", ranks_csv(records, instance)},
      {"measurements.csv", measurements_csv(records, instance)},
      {"summary.csv", summary_csv(summarise(records, accounts, account_jobs(records, instance)))},
  };
  if (contents.links != nullptr) {
    files.emplace_back("links.csv", links_csv(*contents.links));
    files.emplace_back("link_usage.csv", link_usage_csv(*contents.links));
  }
  if (contents.trace) files.emplace_back("trace.json", trace_json(records, instance));
  for (const auto& [name, text] : files) {
    if (Written written = folder.write(name, text); !written) return written;
  }
  if (!contents.journal.empty()) {
    if (Written written = folder.write("journal", contents.journal); !written) return written;
  }
  return folder.write("resolved.yaml", contents.resolved);
}

namespace {

/// What is known before the run.
nlohmann::ordered_json beginning_of_run_json(const RunInformation& information) {
  nlohmann::ordered_json json;
  json["kind"] = "run";
  json["name"] = information.name;
  json["world"] = information.world;
  if (!information.cluster.empty()) json["cluster"] = information.cluster;
  json["seed"] = information.seed;
  json["command"] = information.command;
  json["host"] = information.host;
  json["started_at"] = information.started_at;
  for (const auto& [name, version] : information.versions) json["versions"][name] = version;
  if (information.resumed) {
    json["resumed"]["command"] = information.resumed->first;
    json["resumed"]["started_at"] = information.resumed->second;
  }
  return json;
}

std::string text_of(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string run_json_of_unfinished(const RunInformation& information) {
  nlohmann::ordered_json json = beginning_of_run_json(information);
  json["unfinished"] = true;
  json["controller_pid"] = ::getpid();
  return text_of(json);
}

std::string run_json(const RunInformation& information, const RunTimes& times) {
  nlohmann::ordered_json json = beginning_of_run_json(information);
  json["wall_seconds"] = times.wall.to_seconds();
  json["simulate_seconds"] = times.simulate.to_seconds();
  json["peak_memory_bytes"] = peak_memory().count();
  json["interrupted"] = information.interrupted;
  if (information.verdict) {
    json["outcome"] = to_name(information.verdict->outcome);
    json["reason"] = information.verdict->reason;
  }
  if (information.cell) {
    nlohmann::ordered_json& cell = json["cell"];
    cell["study"] = information.cell->study;
    cell["name"] = information.cell->name;
    cell["assignment"] = nlohmann::ordered_json::object();
    for (const auto& [path, value] : information.cell->assignment) {
      cell["assignment"][path] = value;
    }
    cell["repetition"] = information.cell->repetition;
  }
  return text_of(json);
}

Bytes peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    unsigned long long kibi = 0;
    if (std::sscanf(line.c_str(), "VmHWM: %llu kB", &kibi) == 1) return Bytes::kibi(kibi);
  }
  rusage usage{};  // where /proc is not mounted
  ::getrusage(RUSAGE_SELF, &usage);
  return Bytes::kibi(static_cast<std::uint64_t>(usage.ru_maxrss));
}

}  // namespace ferry
