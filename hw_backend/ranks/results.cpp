#include "hw_backend/ranks/results.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <ctime>
#include <utility>

#include "core/record/run_records.hpp"
#include "hw_backend/ranks/machine_address.hpp"

namespace ferry::ranks {
namespace {

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text.data();
}

}  // namespace

Results::Results(std::vector<std::string> command, std::filesystem::path folder)
    : command_(std::move(command)), wanted_(std::move(folder)), started_at_(utc_now()) {}

tl::expected<void, std::string> Results::prepare(const PreparedJob& /*job*/) {
  if (wanted_.empty()) return {};
  // "runs/a/" is "runs/a"
  auto folder = NewFolder::create(wanted_.has_filename() ? wanted_ : wanted_.parent_path());
  if (!folder) return tl::unexpected(folder.error());
  folder_.emplace(std::move(*folder));
  return {};
}

tl::expected<void, std::string> Results::write(const PreparedJob& job, const JobRecord& record,
                                               bool interrupted) {
  const Duration elapsed = record.end - record.start;
  fmt::print("{} of {} ranks: {:.6f} s, {} messages, {} measurements\n", job.spec().name,
             job.spec().ranks(), elapsed.to_seconds(), record.messages, record.measurements.size());
  if (!folder_) return {};
  RunRecords records;
  records.job(record);
  RunInformation information;
  information.name = job.loaded.scenario.name;
  information.world = "hw";
  information.seed = job.loaded.scenario.seed;
  information.command = command_;
  information.host = machine_name();
  information.started_at = started_at_;
  information.versions = {{"ferry", FERRY_VERSION}, {"compiler", __VERSION__}};
  information.interrupted = interrupted;
  const RunContents contents{
      records, job.instance, job.loaded.resolved, job.loaded.scenario.outputs.trace, {}, nullptr};
  if (auto written = write_run_files(*folder_, contents); !written) return written;
  const std::chrono::nanoseconds wall = std::chrono::steady_clock::now() - began_;
  const RunTimes times{Duration::nanoseconds(wall.count()), elapsed};
  if (auto written = folder_->write("run.json", run_json(information, times)); !written) {
    return written;
  }
  if (auto committed = folder_->commit(); !committed) return committed;
  fmt::print("folder: {}\n", folder_->folder().string());
  return {};
}

}  // namespace ferry::ranks
