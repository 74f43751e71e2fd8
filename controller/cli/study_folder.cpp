#include "controller/cli/study_folder.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string_view>
#include <thread>

#include "controller/cli/text_table.hpp"
#include "core/record/csv.hpp"
#include "core/record/summary.hpp"

namespace ferry {
namespace {

/// Workers of a sweep that was just killed need a moment to end.
constexpr std::chrono::seconds patience{3};

tl::expected<std::string, std::string> read_text(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  if (stream) text << stream.rdbuf();
  if (!stream) return tl::unexpected(fmt::format("{}: cannot be read", file.string()));
  return text.str();
}

tl::expected<CsvTable, std::string> read_table(const std::filesystem::path& file,
                                               const std::vector<std::string>& columns) {
  const auto text = read_text(file);
  if (!text) return tl::unexpected(text.error());
  auto table = read_csv(*text);
  if (!table) return tl::unexpected(fmt::format("{}: {}", file.string(), table.error()));
  for (const std::string& column : columns) {
    if (table->column(column) == table->header.size()) {
      return tl::unexpected(fmt::format("{}: has no column {}", file.string(), column));
    }
  }
  return table;
}

bool begins_with(const std::filesystem::path& file, std::string_view start) {
  std::ifstream stream(file, std::ios::binary);
  std::string text(start.size(), '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  return stream.good() && text == start;
}

/// Of what a sweep leaves in `cells/`: `cell-0012`, `cell-0012.partial`.
bool is_cell_name(std::string_view name) {
  constexpr std::string_view start = "cell-";
  constexpr std::string_view partial = ".partial";
  if (!name.starts_with(start)) return false;
  name.remove_prefix(start.size());
  if (name.ends_with(partial)) name.remove_suffix(partial.size());
  return !name.empty() && name.find_first_not_of("0123456789") == std::string_view::npos;
}

/// What says that an existing folder is none of a sweep; nothing if it is one or is empty. A sweep
/// writes run.json last, and `cells/` first: one that was killed may have left no more.
std::optional<std::string> why_no_study(const std::filesystem::path& folder) {
  std::error_code error;
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    names.insert(entry.path().filename().string());
  }
  if (error) return error.message();
  if (names.empty()) return std::nullopt;
  if (names.count("run.json") > 0) {
    const auto text = read_text(folder / "run.json");
    const nlohmann::json json = nlohmann::json::parse(text.value_or(""), nullptr, false);
    const nlohmann::json kind =
        json.is_object() ? json.value("kind", nlohmann::json()) : nlohmann::json();
    if (kind == "study") return std::nullopt;
    return kind == "run" ? "it is the folder of a run" : "its run.json is not one of a study";
  }
  if (!std::filesystem::is_directory(folder / "cells", error)) {
    return "it has neither run.json nor cells/";
  }
  bool has_cells = false;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "cells", error)) {
    const std::string name = entry.path().filename().string();
    if (!is_cell_name(name)) return fmt::format("cells/{} is no cell", name);
    has_cells = true;
  }
  if (error) return fmt::format("cells: {}", error.message());
  constexpr std::array<std::pair<const char*, std::string_view>, 3> tables = {
      {{"cells.csv", "cell,"},
       {"claims.csv", "id,text,source,"},
       {"sensitivity.csv", "claim,quantity,constant,"}}};
  for (const auto& [name, start] : tables) {
    if (names.count(name) > 0 && !begins_with(folder / name, start)) {
      return fmt::format("its {} is not as ferry writes it", name);
    }
  }
  if (has_cells) return std::nullopt;
  static const std::set<std::string> known = {"cells",           "study.yaml", "cells.csv",
                                              "claims.csv",      "back",       "resumed",
                                              "sensitivity.csv", "cut_short"};
  for (const std::string& name : names) {
    if (known.count(std::filesystem::path(name).extension() == ".partial"
                        ? std::filesystem::path(name).stem().string()
                        : name) == 0) {
      return fmt::format("it has no cell, but {}", name);
    }
  }
  return std::nullopt;
}

}  // namespace

tl::expected<StudyFolder, std::string> StudyFolder::open(const std::filesystem::path& folder,
                                                         bool resume) {
  const std::filesystem::path path = folder.has_filename() ? folder : folder.parent_path();
  std::error_code error;
  if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
  if (error) {
    return tl::unexpected(
        fmt::format("{}: cannot be made: {}", path.parent_path().string(), error.message()));
  }
  if (::mkdir(path.c_str(), 0777) != 0 && !(errno == EEXIST && resume)) {
    if (errno == EEXIST) {
      return tl::unexpected(fmt::format(
          "{}: exists already, and nothing is ever overwritten; --resume goes on in it, "
          "--out names another folder",
          path.string()));
    }
    return tl::unexpected(
        fmt::format("{}: cannot be made: {}", path.string(), std::strerror(errno)));
  }
  const int lock = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock < 0) {
    return tl::unexpected(
        fmt::format("{}: cannot be opened: {}", path.string(), std::strerror(errno)));
  }
  const auto give_up = std::chrono::steady_clock::now() + patience;
  while (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EINTR && std::chrono::steady_clock::now() > give_up) {
      ::close(lock);
      return tl::unexpected(
          fmt::format("{}: another ferry is writing it; wait for its end", path.string()));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  StudyFolder made(path, lock);
  if (const auto why = why_no_study(path)) {
    return tl::unexpected(
        fmt::format("{}: is no folder of a sweep: {}; nothing is ever overwritten, --out names "
                    "another folder",
                    path.string(), *why));
  }
  std::filesystem::create_directory(path / "cells", error);
  if (error) {
    return tl::unexpected(
        fmt::format("{}: cannot be made: {}", (path / "cells").string(), error.message()));
  }
  return made;
}

StudyFolder::StudyFolder(StudyFolder&& other) noexcept
    : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

StudyFolder::~StudyFolder() {
  if (lock_ >= 0) ::close(lock_);
}

std::filesystem::path StudyFolder::cell(const std::string& name) const {
  return path_ / "cells" / name;
}

void StudyFolder::clean(const std::string& cell_name) const {
  std::filesystem::path partial = cell(cell_name);
  partial += ".partial";
  std::error_code ignored;  // what cannot be removed is reported when the cell is made anew
  std::filesystem::remove_all(partial, ignored);
}

tl::expected<CellResult, std::string> read_cell(const std::filesystem::path& folder,
                                                const StudyCell& cell) {
  CellResult result;
  result.cell = cell;
  const auto summary = read_table(folder / "summary.csv", {"metric", "value"});
  if (!summary) return tl::unexpected(summary.error());
  for (const auto& row : summary->rows) {
    result.metrics[row[summary->column("metric")]] = row[summary->column("value")];
  }
  const auto text = read_text(folder / "run.json");
  if (!text) return tl::unexpected(text.error());
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, false);
  const auto word = [&json](const char* key) -> std::optional<std::string> {
    if (!json.is_object() || !json.contains(key) || !json[key].is_string()) return std::nullopt;
    return json[key].get<std::string>();
  };
  const std::optional<std::string> outcome = word("outcome");
  if (!outcome) {
    return tl::unexpected(
        fmt::format("{}: does not say how the run ended", (folder / "run.json").string()));
  }
  result.outcome = *outcome;
  result.reason = word("reason").value_or("");
  return result;
}

tl::expected<void, std::string> verify_cell(const std::filesystem::path& folder,
                                            const StudyCell& cell, WorldKind world,
                                            const std::string& resolved) {
  const auto differs = [&](std::string_view what) {
    return tl::unexpected(
        fmt::format("{}: was made with another {}, so the study cannot go on here; name another "
                    "folder with --out",
                    folder.string(), what));
  };
  const auto text = read_text(folder / "run.json");
  if (!text) return tl::unexpected(text.error());
  const nlohmann::json json = nlohmann::json::parse(*text, nullptr, false);
  if (!json.is_object() || !json.contains("cell") || !json["cell"].is_object()) {
    return tl::unexpected(
        fmt::format("{}: run.json is not one of a study's cell", folder.string()));
  }
  nlohmann::json assignment = nlohmann::json::object();
  for (const Setting& setting : cell.settings) assignment[setting.path] = setting.value;
  if (json["cell"].value("assignment", nlohmann::json()) != assignment)
    return differs("assignment");
  if (json["cell"].value("repetition", nlohmann::json()) != cell.repetition) {
    return differs("repetition");
  }
  if (json.value("seed", nlohmann::json()) != cell.seed) return differs("seed");
  if (json.value("world", nlohmann::json()) != to_name(world)) return differs("world");
  const auto old = read_text(folder / "resolved.yaml");
  if (!old) return tl::unexpected(old.error());
  if (*old != resolved) return differs("scenario or platform");
  return {};
}

std::string cells_csv(const Study& study, const std::vector<CellResult>& cells) {
  // The metrics in the order of summary.csv, as far as any cell has them.
  std::vector<std::string> metrics;
  for (std::string& name : metric_names()) {
    const bool known = std::any_of(cells.begin(), cells.end(), [&](const CellResult& cell) {
      return cell.metrics.count(name) > 0;
    });
    if (known) metrics.push_back(std::move(name));
  }
  std::vector<std::string> header = {"cell"};
  for (const Vary& vary : study.vary) header.push_back(vary.path);
  header.insert(header.end(), {"repetition", "seed"});
  header.insert(header.end(), metrics.begin(), metrics.end());
  header.insert(header.end(), {"outcome", "reason"});
  CsvText csv(header);
  for (const CellResult& cell : cells) {
    std::vector<std::string> row = {cell.cell.name};
    for (const Setting& setting : cell.cell.settings) row.push_back(setting.value);
    row.push_back(fmt::to_string(cell.cell.repetition));
    row.push_back(fmt::to_string(cell.cell.seed));
    for (const std::string& metric : metrics) {
      const auto found = cell.metrics.find(metric);
      row.push_back(found == cell.metrics.end() ? "" : found->second);
    }
    row.insert(row.end(), {cell.outcome, cell.reason});
    csv.row(row);
  }
  return csv.take();
}

std::string claims_csv(const std::vector<ClaimRow>& rows) {
  CsvText csv({"id", "text", "source", "expected", "got", "holds", "basis", "robust", "reason"});
  for (const ClaimRow& row : rows) {
    csv.row({row.claim->id, row.claim->text, row.claim->source, row.verdict.expected,
             row.verdict.got, to_name(row.verdict.holds), row.basis,
             row.robust ? row.robust->text() : "", row.verdict.reason});
  }
  return csv.take();
}

std::string sensitivity_csv(const std::vector<ClaimRow>& rows,
                            const std::vector<PerturbedCells>& perturbed) {
  CsvText csv({"claim", "quantity", "constant", "factor", "low", "high", "least", "greatest",
               "holds", "reason"});
  const auto number = [](std::optional<double> value) {
    return value ? fmt::format("{:.9g}", *value) : std::string();
  };
  const auto add = [&](const Claim& claim, const Perturbation& at, const ClaimVerdict& verdict) {
    const std::optional<ClaimMeasure>& measure = verdict.measure;
    csv.row({claim.id, measure ? measure->quantity : "", at.path, fmt::format("{}", at.factor),
             number(measure ? std::optional(measure->low) : std::nullopt),
             number(measure ? std::optional(measure->high) : std::nullopt),
             number(measure ? measure->least : std::nullopt),
             number(measure ? measure->greatest : std::nullopt),
             std::string(to_name(verdict.holds)), verdict.reason});
  };
  for (const ClaimRow& row : rows) {
    add(*row.claim, Perturbation{}, row.verdict);
    for (const PerturbedCells& cells : perturbed) {
      if (cells.not_tried.empty()) {
        add(*row.claim, cells.perturbation, evaluate(*row.claim, cells.cells));
      } else {
        csv.row({row.claim->id, "", cells.perturbation.path,
                 fmt::format("{}", cells.perturbation.factor), "", "", "", "", "",
                 cells.not_tried});
      }
    }
  }
  return csv.take();
}

std::string claims_report(const std::vector<ClaimRow>& rows) {
  std::vector<std::vector<std::string>> lines;
  std::string notes;
  for (const ClaimRow& row : rows) {
    const std::string& id = row.claim->id;
    const std::string_view robust = !row.robust ? "" : row.robust->changes.empty() ? "yes" : "no";
    lines.push_back({id, row.claim->text, row.verdict.expected, row.verdict.got,
                     std::string(to_name(row.verdict.holds)), row.basis, std::string(robust)});
    if (!row.verdict.met()) {
      notes += paragraph(fmt::format(
          "{} {}: {}", id, row.verdict.holds == Holds::no ? "does not hold" : "is not reproduced",
          row.verdict.reason));
    }
    if (row.robust && !row.robust->changes.empty()) {
      notes += paragraph(fmt::format("{} {} with {}", id,
                                     row.verdict.met() ? "would not hold" : "would hold",
                                     fmt::join(row.robust->changes, ", or ")));
    }
    if (row.robust && !row.robust->not_tried.empty()) {
      notes += paragraph(
          fmt::format("{} was not tried with {}", id, fmt::join(row.robust->not_tried, ", ")));
    }
  }
  std::string text = text_table(
      {{"id"}, {"claim"}, {"expected"}, {"got"}, {"holds"}, {"basis"}, {"robust"}}, lines);
  if (!notes.empty()) text += "\n" + notes;
  return text;
}

}  // namespace ferry
