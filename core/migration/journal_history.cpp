#include "core/migration/journal_history.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>
#include <set>
#include <string_view>

namespace ferry {
namespace {

/// The words of one record, taken one by one. The first thing that is wrong is kept; what is taken
/// after it is meaningless.
class Words {
 public:
  explicit Words(std::string_view record) : left_(record), more_(!record.empty()) {}

  std::string_view word() {
    if (!more_) {
      fail("it ends too early");
      return {};
    }
    const std::size_t space = left_.find(' ');
    const std::string_view taken = left_.substr(0, space);
    more_ = space != std::string_view::npos;
    left_ = more_ ? left_.substr(space + 1) : std::string_view();
    return taken;
  }
  [[nodiscard]] bool more() const { return more_; }
  /// All that is left.
  std::string text() {
    if (!more_) fail("it ends too early");
    more_ = false;
    return std::string(left_);
  }
  template <class Number>
  Number number() {
    return number_of<Number>(word());
  }
  template <class Number>
  Number number_of(std::string_view word) {
    Number value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc{} || end != word.data() + word.size()) {
      fail(fmt::format("'{}' is no number of this kind", word));
    }
    return value;
  }
  TimePoint time() { return TimePoint::at(duration_below(longest_run)); }
  Duration duration() { return duration_below(longest_step); }
  Bytes bytes() {
    const auto count = number<std::uint64_t>();
    if (count > most_bytes) fail(fmt::format("{} bytes are too many", count));
    return Bytes(count);
  }
  void end() {
    if (more_) fail(fmt::format("'{}' is too much", left_));
  }
  void fail(std::string what) {
    if (error_.empty()) error_ = std::move(what);
  }
  [[nodiscard]] bool wrong() const { return !error_.empty(); }
  [[nodiscard]] const std::string& error() const { return error_; }

 private:
  // Far beyond anything real, and such that sums of many do not overflow.
  static constexpr std::int64_t longest_run = 3'000'000'000'000'000'000;  // ns: 95 years
  static constexpr std::int64_t longest_step = 3'000'000'000'000'000;     // ns: 35 days
  static constexpr std::uint64_t most_bytes = 1ULL << 50U;

  Duration duration_below(std::int64_t most) {
    const auto nanoseconds = number<std::int64_t>();
    if (nanoseconds < 0 || nanoseconds > most) {
      fail(fmt::format("{} ns is no time of a run", nanoseconds));
      return Duration::zero();
    }
    return Duration::nanoseconds(nanoseconds);
  }

  std::string_view left_;
  bool more_;
  std::string error_;
};

template <class Enum, std::size_t count>
std::optional<Enum> named(std::string_view word, const std::array<Enum, count>& all) {
  for (const Enum value : all) {
    if (to_name(value) == word) return value;
  }
  return std::nullopt;
}

constexpr std::array rest_outcomes = {Outcome::completed, Outcome::rolled_back, Outcome::degraded,
                                      Outcome::cancelled, Outcome::lost};

class Reader {
 public:
  explicit Reader(const Instance& instance) : instance_(instance), present_(instance.vms.size()) {
    add_names(instance.vms, vms_);
    add_names(instance.hosts, hosts_);
    add_names(instance.jobs, jobs_);
    history_.epochs.resize(instance.jobs.size(), 0);
  }

  /// Error: what is wrong.
  tl::expected<void, std::string> read(std::string_view record) {
    Words words(record);
    const std::string_view first = words.word();
    if (first == "controller") {
      controller(words);
    } else if (history_.controllers.empty()) {
      words.fail("no controller has begun");
    } else if (first == "wave") {
      wave(words);
    } else if (first == "done" || first == "failed" || first == "late") {
      phase_ends(words, first);
    } else if (first == "round") {
      round(words);
    } else if (first == "traffic") {
      MoveHistory* const move = moving(words);
      const Duration redirected = words.duration();
      const Duration lost = words.duration();
      words.end();
      if (!words.wrong()) {
        move->redirected = redirected;
        move->lost_traffic = lost;
      }
    } else if (first == "replaced") {
      const VmId vm = vm_named(words, words.word());
      const HostId host = host_named(words, words.word());
      words.end();
      if (!words.wrong()) {
        history_.events.push_back({Event::Kind::function_replaced, history_.replaced.size()});
        history_.replaced.emplace_back(vm, host);
      }
    } else if (first == "down") {
      const HostId host = host_named(words, words.word());
      words.end();
      if (!words.wrong()) history_.hosts_down.push_back(host);
    } else if (first == "given_up") {
      given_up(words);
    } else if (first == "back") {
      MoveHistory* const move = moving(words);
      const HostId host = host_named(words, words.word());
      std::string reason = words.text();
      if (move != nullptr && host != move->move.from) words.fail("it came from another host");
      if (!words.wrong()) move->back = std::move(reason);
    } else if (first == "rest") {
      rest(words);
    } else if (first == "stale") {
      MoveHistory* const move = moving(words);
      std::string reason = words.text();
      if (!words.wrong()) move->stale = std::move(reason);
    } else if (const auto phase = named(first, all_phases)) {
      phase_begins(words, *phase);
    } else {
      words.fail(fmt::format("no record begins with '{}'", first));
    }
    if (words.wrong()) return tl::unexpected(words.error());
    return {};
  }

  JournalHistory take() { return std::move(history_); }

 private:
  using Event = JournalHistory::Event;
  using Names = std::map<std::string_view, std::uint32_t>;
  struct Place {  // of a VM's move that is not closed
    std::size_t wave = nowhere;
    std::size_t move = 0;
  };
  static constexpr std::size_t nowhere = std::numeric_limits<std::size_t>::max();

  template <class Items>
  static void add_names(const Items& items, Names& names) {
    for (std::uint32_t i = 0; i < items.size(); ++i) names.emplace(items[i].name, i);
  }
  static std::uint32_t find(Words& words, const Names& names, const char* kind,
                            std::string_view name) {
    const auto found = names.find(name);
    if (found != names.end()) return found->second;
    words.fail(fmt::format("'{}' is no {} of this scenario", name, kind));
    return 0;
  }
  VmId vm_named(Words& words, std::string_view name) { return {find(words, vms_, "VM", name)}; }
  HostId host_named(Words& words, std::string_view name) {
    return {find(words, hosts_, "host", name)};
  }
  JobId job_named(Words& words, std::string_view name) { return {find(words, jobs_, "job", name)}; }

  TimePoint time(Words& words) {
    const TimePoint at = words.time();
    history_.last = std::max(history_.last, at);
    return at;
  }

  /// The move under way of the VM that the next word names; null, and a failure, if there is none.
  MoveHistory* moving(Words& words) {
    const VmId vm = vm_named(words, words.word());
    if (words.wrong() || present_.empty()) return nullptr;
    const Place place = present_[vm.index];
    if (place.wave == nowhere) {
      words.fail(fmt::format("{} is in no open wave", instance_.vms[vm.index].name));
      return nullptr;
    }
    return &history_.waves[place.wave].moves[place.move];
  }

  void controller(Words& words) {
    const std::string_view what = words.word();
    if (what == "ends") {
      const TimePoint at = time(words);
      const std::string_view how = words.word();
      if (how != "done" && how != "interrupted")
        words.fail("a controller ends done or interrupted");
      words.end();
      if (history_.controllers.empty()) words.fail("no controller has begun");
      if (words.wrong()) return;
      history_.controllers.back().ended = at;
      history_.controllers.back().interrupted = how == "interrupted";
      return;
    }
    const auto number = words.number_of<std::uint64_t>(what);
    ControllerHistory begun;
    begun.began = time(words);
    begun.origin = words.number<std::int64_t>();
    words.end();
    if (number != history_.controllers.size() + 1) {
      words.fail(fmt::format("controller {} would be next", history_.controllers.size() + 1));
    }
    if (!words.wrong()) history_.controllers.push_back(begun);
  }

  void wave(Words& words) {
    const auto number = words.number<std::uint64_t>();
    const std::string_view what = words.word();
    const TimePoint at = time(words);
    if (what == "opens") {
      wave_opens(words, number, at);
      return;
    }
    const auto found = open_waves_.find(number);
    if (found == open_waves_.end()) {
      words.fail(fmt::format("wave {} is not open", number));
      return;
    }
    WaveHistory& wave = history_.waves[found->second];
    if (what == "suspended" || what == "unsuspended") {
      WaveHistory::Suspension suspension{.end = at, .ready = what == "suspended", .reason = {}};
      if (suspension.ready) {
        words.end();
      } else {
        const std::string_view how = words.word();
        if (how != "cancelled" && how != "failed") words.fail("it is neither cancelled nor failed");
        suspension.cancelled = how == "cancelled";
        suspension.reason = words.text();
      }
      if (wave.suspension) words.fail("its set_pre_migration has ended before");
      if (words.wrong()) return;
      for (const MoveHistory& move : wave.moves) {
        span(move, Phase::set_pre_migration, move.move.from, wave.opened, at, suspension.ready);
      }
      wave.suspension = std::move(suspension);
    } else if (what == "reactivates") {
      words.end();
      for (const MoveHistory& move : wave.moves) {
        if (!move.rest) words.fail(fmt::format("{} is not at rest", name(move.vm)));
      }
      if (words.wrong()) return;
      wave.reactivates = at;
      for (MoveHistory& move : wave.moves) move.stale.reset();  // it is tried anew
    } else if (what == "closed") {
      words.end();
      if (!wave.reactivates) words.fail("it was not reactivated");
      if (words.wrong()) return;
      for (const MoveHistory& move : wave.moves) {
        span(move, Phase::set_post_migration, move.rest->host, move.rest->at, at, !move.stale);
        present_[move.vm.index] = {};
      }
      wave.closed = at;
      history_.events.push_back({Event::Kind::wave_closed, found->second});
      open_waves_.erase(found);
    } else {
      words.fail(fmt::format("'{}' does not happen to waves", what));
    }
  }

  void wave_opens(Words& words, std::uint64_t number, TimePoint opened) {
    WaveHistory wave;
    wave.number = number;
    wave.opened = opened;
    if (words.word() != "moves") words.fail("the moves are missing");
    bool jobs = false;
    while (words.more() && !words.wrong()) {
      const std::string_view word = words.word();
      if (word == "jobs") {
        if (jobs) words.fail("jobs come once");
        jobs = true;
      } else if (jobs) {
        wave.epochs.push_back(epoch(words, word));
      } else {
        wave.moves.push_back(move(words, word));
      }
    }
    if (!jobs) words.fail("the jobs are missing");
    if (wave.moves.empty()) words.fail("a wave has a move");
    if (!numbers_.insert(number).second) {  // two that open at once may write in either order
      words.fail(fmt::format("wave {} has been opened before", number));
    }
    for (std::size_t i = 0; i < wave.moves.size() && !words.wrong(); ++i) {
      const VmId vm = wave.moves[i].vm;
      if (present_[vm.index].wave != nowhere) {
        words.fail(fmt::format("{} is in an open wave already", name(vm)));
      } else {
        present_[vm.index] = {history_.waves.size(), i};
      }
    }
    if (words.wrong()) return;
    for (const auto& [job, value] : wave.epochs) {
      history_.epochs[job.index] = std::max(history_.epochs[job.index], value);
    }
    history_.last_wave = std::max(history_.last_wave, number);
    open_waves_.emplace(number, history_.waves.size());
    history_.events.push_back({Event::Kind::wave_opened, history_.waves.size()});
    history_.waves.push_back(std::move(wave));
  }

  /// MOVE:VM TIME REASON
  void given_up(Words& words) {
    const std::string_view word = words.word();
    std::array<std::string_view, 2> parts;
    split(words, word, parts);
    const auto index = words.number_of<std::uint64_t>(parts[0]);
    const VmId vm = vm_named(words, parts[1]);
    const TimePoint at = time(words);
    std::string reason = words.text();
    check_is_of(words, index, vm, word);
    if (words.wrong()) return;
    if (present_[vm.index].wave != nowhere)
      words.fail(fmt::format("{} is in an open wave", name(vm)));
    history_.events.push_back({Event::Kind::given_up, history_.given_up.size()});
    history_.given_up.push_back({static_cast<std::size_t>(index), at, std::move(reason)});
  }

  void check_is_of(Words& words, std::uint64_t move, VmId vm, std::string_view word) const {
    if (move >= instance_.moves.size() || (!words.wrong() && instance_.moves[move].vm != vm)) {
      words.fail(fmt::format("'{}' is no move of this scenario", word));
    }
  }

  /// MOVE:VM:FROM:TO
  MoveHistory move(Words& words, std::string_view word) {
    MoveHistory move;
    std::array<std::string_view, 4> parts;
    split(words, word, parts);
    const auto index = words.number_of<std::uint64_t>(parts[0]);
    move.vm = vm_named(words, parts[1]);
    move.move = {static_cast<std::size_t>(index), host_named(words, parts[2]),
                 host_named(words, parts[3])};
    move.host = move.move.from;
    check_is_of(words, index, move.vm, word);
    return move;
  }

  /// JOB:EPOCH
  std::pair<JobId, std::uint64_t> epoch(Words& words, std::string_view word) {
    std::array<std::string_view, 2> parts;
    split(words, word, parts);
    const JobId job = job_named(words, parts[0]);
    return {job, words.number_of<std::uint64_t>(parts[1])};
  }

  template <std::size_t count>
  static void split(Words& words, std::string_view word,
                    std::array<std::string_view, count>& parts) {
    std::string_view left = word;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t colon = left.find(':');
      if ((colon == std::string_view::npos) != (i + 1 == count)) {
        words.fail(fmt::format("'{}' does not have {} parts", word, count));
        return;
      }
      parts[i] = left.substr(0, colon);
      if (i + 1 < count) left.remove_prefix(colon + 1);
    }
  }

  void phase_begins(Words& words, Phase phase) {
    MoveHistory* const move = moving(words);
    MoveHistory::OpenPhase open{host_named(words, words.word()), {}, {}};
    if (phase == Phase::migration) open.to = host_named(words, words.word());
    open.start = time(words);
    words.end();
    if (phase == Phase::set_pre_migration || phase == Phase::set_post_migration) {
      words.fail("this phase is a whole wave's");
    }
    if (words.wrong()) return;
    std::optional<MoveHistory::OpenPhase>& place = move->open[static_cast<std::size_t>(phase)];
    if (place || move->rest) {
      words.fail(fmt::format("{} cannot begin it now", name(move->vm)));
      return;
    }
    place = open;
    move->last_phase = phase;
    if (phase == Phase::migration) move->sent_in_rounds = Bytes(0);
  }

  void phase_ends(Words& words, std::string_view how) {
    const std::optional<Phase> phase = named(words.word(), all_phases);
    MoveHistory* const move = moving(words);
    const TimePoint at = time(words);
    const bool done = how == "done";
    TransferReport report;
    if (done && phase == Phase::migration) {
      report.downtime = words.duration();
      report.bytes = words.bytes();
      report.rounds = words.number<int>();
      report.note = words.text();
    }
    words.end();
    if (!phase) words.fail("it names no phase");
    if (words.wrong()) return;
    std::optional<MoveHistory::OpenPhase>& open = move->open[static_cast<std::size_t>(*phase)];
    if (!open) {
      words.fail(fmt::format("{} did not begin it", name(move->vm)));
      return;
    }
    span(*move, *phase, open->host, open->start, at, done);
    if (*phase == Phase::migration && done) move->host = open->to;
    open.reset();
    if (*phase == Phase::detach_vf && how != "failed") move->vf_gone = at;
    if (*phase == Phase::migration && done) {
      move->transfer.bytes += report.bytes;
      move->transfer.downtime += report.downtime;
      move->transfer.rounds += report.rounds;
      if (move->transfer.note.empty()) move->transfer.note = report.note;
    }
  }

  void round(Words& words) {
    MoveHistory* const move = moving(words);
    RoundReport report;
    report.round = words.number<int>();
    report.bytes = words.bytes();
    report.time = words.duration();
    report.dirty_bytes = words.bytes();
    words.end();
    if (move != nullptr && !move->open[static_cast<std::size_t>(Phase::migration)]) {
      words.fail(fmt::format("{} is not migrating", name(move->vm)));
    }
    if (words.wrong()) return;
    move->sent_in_rounds += report.bytes;
    history_.rounds.emplace_back(move->vm, report);
  }

  void rest(Words& words) {
    MoveHistory* const move = moving(words);
    MoveHistory::Rest rest;
    rest.at = time(words);
    const std::optional<Outcome> outcome = named(words.word(), rest_outcomes);
    if (!outcome) words.fail("it names no outcome");
    rest.host = host_named(words, words.word());
    const std::string_view gone = words.word();
    std::optional<TimePoint> vf_gone;
    if (gone != "-") {
      Words gone_at(gone);
      vf_gone = gone_at.time();
      if (gone_at.wrong()) words.fail(gone_at.error());
    }
    rest.reason = words.text();
    const bool lost_since = move != nullptr && move->rest && outcome == Outcome::lost;
    if (move != nullptr && move->rest && !lost_since) words.fail("it has been at rest before");
    if (words.wrong()) return;
    if (lost_since) {  // while it waited for its wave
      move->rest->outcome = Outcome::lost;
      move->rest->reason = std::move(rest.reason);
      return;
    }
    for (const auto& open : move->open) {
      if (open) words.fail("a phase of it has not ended");
    }
    rest.outcome = *outcome;
    move->vf_gone = vf_gone;
    move->rest = std::move(rest);
  }

  void span(const MoveHistory& move, Phase phase, HostId host, TimePoint start, TimePoint end,
            bool completed) {
    history_.spans.push_back({.vm = move.vm,
                              .phase = phase,
                              .host = host,
                              .start = start,
                              .end = end,
                              .outcome = completed ? Outcome::completed : Outcome::failed});
  }
  [[nodiscard]] const std::string& name(VmId vm) const { return instance_.vms[vm.index].name; }

  const Instance& instance_;
  JournalHistory history_;
  Names vms_;
  Names hosts_;
  Names jobs_;
  std::vector<Place> present_;  ///< by VM
  std::map<std::uint64_t, std::size_t> open_waves_;
  std::set<std::uint64_t> numbers_;  ///< of all waves
};

}  // namespace

tl::expected<JournalHistory, std::string> read_history(std::span<const std::string> records,
                                                       const Instance& instance) {
  Reader reader(instance);
  for (std::size_t i = 0; i < records.size(); ++i) {
    if (const auto read = reader.read(records[i]); !read) {
      return tl::unexpected(fmt::format("record {}: {}", i + 1, read.error()));
    }
  }
  return reader.take();
}

}  // namespace ferry
