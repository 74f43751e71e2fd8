#include "controller/surviving_run.hpp"

#include <fmt/format.h>

#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>

#include "core/migration/journal_history.hpp"
#include "core/record/journal_file.hpp"

namespace ferry {
namespace {

/// The journal of several controllers, in memory or in a file.
class Book {
 public:
  explicit Book(std::filesystem::path file) : file_(std::move(file)) {}

  /// As a new controller does: what is torn is cut off, what is whole is read.
  std::vector<std::string> open() {
    journal_.reset();
    const auto contents = read_journal(text());
    if (!contents) throw std::runtime_error(contents.error());
    if (file_.empty()) {
      auto memory = std::make_unique<MemoryJournal>(text_);
      memory_ = memory.get();
      journal_ = std::move(memory);
    } else {
      journal_ = std::make_unique<JournalFile>(file_);
    }
    return contents->records;
  }
  [[nodiscard]] Journal& journal() { return *journal_; }
  /// Leaves half of a record's line.
  void tear(std::uint64_t number, std::string_view record) {
    const std::string line = journal_line(number, record);
    const std::string half = line.substr(0, line.size() / 2);
    if (file_.empty()) {
      text_ = memory_->text() + half;
      memory_ = nullptr;
    } else {
      std::ofstream(file_, std::ios::binary | std::ios::app) << half;
    }
  }
  void close() {
    if (memory_ != nullptr) text_ = memory_->text();
    memory_ = nullptr;
    journal_.reset();
  }
  [[nodiscard]] std::string text() const {
    if (file_.empty()) return text_;
    std::ostringstream text;
    text << std::ifstream(file_, std::ios::binary).rdbuf();
    return text.str();
  }

 private:
  std::filesystem::path file_;
  std::string text_;
  std::unique_ptr<Journal> journal_;
  MemoryJournal* memory_ = nullptr;  ///< `journal_`, until it is torn
};

}  // namespace

SurvivingRun run_through_downs(World& world, const Scenario& scenario, const Instance& instance,
                               const Plan& plan, const std::vector<ControllerDown>& downs,
                               const std::filesystem::path& file, const SessionOptions& options,
                               RunRecords& records, const JobPrograms& programs,
                               const SessionRunner& around) {
  SurvivingRun run;
  RunRecords of_ranks(world.executor.make_mutex());
  Surroundings surroundings(world, scenario, instance, of_ranks, programs);
  surroundings.communicating().start();
  std::vector<std::unique_ptr<MortalController>> controllers;
  Book book(file);
  for (std::size_t next = 0;; ++next) {
    const std::vector<std::string> written = book.open();
    const auto history = read_history(written, instance);
    if (!history) throw std::runtime_error(history.error());
    std::optional<ControllerDeath> death;
    if (next < downs.size()) death = downs[next].death;
    MortalController& controller = *controllers.emplace_back(std::make_unique<MortalController>(
        surroundings.world(), surroundings.jobs(), book.journal(), written.size(), death,
        [&book](std::uint64_t number, std::string_view record) { book.tear(number, record); }));
    ++run.controllers;

    records = RunRecords(world.executor.make_mutex());
    SessionOptions mortal = options;
    if (options.on_progress) {
      mortal.on_progress = [&](const SessionProgress& progress) {
        if (!controller.dead()) options.on_progress(progress);
      };
    }
    Session session(controller.world(), controller.jobs(), instance, plan, controller.journal(),
                    records, mortal);
    if (const auto resumed = session.resume(*history); !resumed) {
      throw std::runtime_error(resumed.error());
    }
    bool lived = true;
    around(session, surroundings, [&] { lived = controller.run([&session] { session.run(); }); });
    book.close();
    if (lived) {
      run.unsettled = session.unsettled();
      break;
    }
    world.clock.sleep_until(world.clock.now() + downs[next].away);
  }
  surroundings.communicating().finish(records.moves(), records);
  run.suspensions = surroundings.suspensions();
  for (const RankRecord& rank : of_ranks.ranks()) records.rank(rank);
  if (file.empty()) run.journal = book.text();
  return run;
}

}  // namespace ferry
