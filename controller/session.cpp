#include "controller/session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "controller/admission.hpp"
#include "controller/limits.hpp"
#include "controller/planner/vm_groups.hpp"
#include "controller/surroundings.hpp"
#include "core/migration/wave.hpp"
#include "core/ports/task_group.hpp"
#include "core/topology/inventory.hpp"
#include "core/units/check.hpp"

namespace ferry {

class Session::Impl {
 public:
  /// With surroundings of its own.
  Impl(World& world, const Scenario& scenario, const Instance& instance, const Plan& plan,
       Journal& journal, Recorder& recorder, SessionOptions options)
      : Impl(std::make_unique<Surroundings>(world, scenario, instance, recorder), instance, plan,
             journal, recorder, std::move(options)) {}

  Impl(World& world, JobRuntime& jobs, const Instance& instance, const Plan& plan, Journal& journal,
       Recorder& recorder, SessionOptions options)
      : instance_(instance),
        plan_(plan),
        recorder_(recorder),
        options_(std::move(options)),
        world_(world),
        inventory_(instance),
        limiter_(instance, plan.limits, plan.links, plan.link_slots, plan.link_refill),
        admission_(instance, limiter_, inventory_,
                   [this](std::size_t wave) { return needs_of(wave); }),
        mutex_(world.executor.make_mutex()),
        changed_(world.executor.make_condition()),
        epochs_(instance.jobs.size(), 0),
        context_{world_, instance, jobs, recorder, journal, inventory_, *mutex_, epochs_},
        moves_(instance.moves.size()),
        planned_wave_(instance.moves.size(), 0),
        queues_(instance.vms.size()) {
    for (const VmSpec& vm : instance.vms) hosts_.push_back(vm.host);
    for (const PlannedMove& move : plan.moves) destinations_.push_back(move.to);
    if (!plan.link_slots.empty()) {
      context_.memory_moved = [this](VmId vm) { leave_links(vm); };
    }
    followers_.resize(plan.waves.size());
    for (std::size_t i = 0; i < plan.waves.size(); ++i) {
      const PlannedWave& wave = plan.waves[i];
      add_wave(wave);
      unfinished_.push_back(wave.moves.size());
      for (const std::size_t move : wave.moves) planned_wave_[move] = i;
      for (const PlannedWave::After& after : wave.after) {
        if (after.must_complete) followers_[after.wave].push_back(i);
      }
      for (const std::size_t move : wave.moves) queue_of(move).push_back(move);
    }
    progress_.moves = moves_.size();
  }

  [[nodiscard]] tl::expected<void, std::string> resume(const JournalHistory& history);
  void run();
  void poll_interruption();
  [[nodiscard]] const Inventory& inventory() const { return inventory_; }
  [[nodiscard]] const std::vector<std::string>& unsettled() const { return unsettled_; }

 private:
  Impl(std::unique_ptr<Surroundings> surroundings, const Instance& instance, const Plan& plan,
       Journal& journal, Recorder& recorder, SessionOptions options)
      : Impl(surroundings->world(), surroundings->jobs(), instance, plan, journal, recorder,
             std::move(options)) {
    surroundings_ = std::move(surroundings);
  }

  enum class State { pending, running, done };

  struct WaveState {
    PlannedWave planned;
    State state = State::pending;
    Wave* running = nullptr;
    std::unique_ptr<Task> task;
    std::uint64_t number = 0;             ///< in the journal, once it has opened
    std::unique_ptr<WaveHistory> before;  ///< of a wave that an earlier controller left open
    bool awaits_moment = false;           ///< it has opened, and nothing of it has begun
  };

  struct MoveState {
    std::size_t wave = 0;  ///< the latest that holds it
    std::uint32_t attempts = 0;
    std::optional<TimePoint> started;
    HostId from;
    HostId to;
    Bytes bytes;
    Duration outage;
    Duration lost_traffic;
    bool off_links = false;  ///< of the running attempt: its places on the links are given back
  };

  /// The moves of one VM that have not ended, in order.
  std::vector<std::size_t>& queue_of(std::size_t move) {
    return queues_[instance_.moves[move].vm.index];
  }
  [[nodiscard]] const MoveSpec& spec(std::size_t move) const { return instance_.moves[move]; }
  [[nodiscard]] HostId host_of(std::size_t move) const { return hosts_[spec(move).vm.index]; }
  /// Whether the move could go there by its own terms.
  [[nodiscard]] bool may_go(std::size_t move, HostId to) const;

  [[nodiscard]] tl::expected<void, std::string> reopen(const WaveHistory& before);
  void reclose(const WaveHistory& before);
  [[nodiscard]] static std::vector<WaveMove> moves_of(const WaveHistory& wave);
  [[nodiscard]] tl::expected<void, std::string> compare_with_world() const;
  void begin();
  bool interrupted();
  void look_at_interruption();
  void open_what_can_open();
  void add_wave(PlannedWave wave);
  /// Offers the first pending wave of a sequential plan to `admission_`, once nothing runs.
  void offer_next();
  [[nodiscard]] std::vector<AdmissionMove> needs_of(std::size_t wave);
  void open(std::size_t index);
  void run_wave(std::size_t index, std::uint64_t number, TimePoint opened,
                const std::vector<WaveMove>& moves);
  void recover_wave(std::size_t index);
  /// Runs `body`, a wave's. What it throws ends the session: without its journal it may do nothing.
  void in_wave(std::size_t index, const std::function<void()>& body);
  /// False: an interruption, or the session's end, came first.
  bool await_moment(std::size_t index, const std::vector<WaveMove>& moves, TimePoint& opened);
  /// A wave that has opened is as it was before.
  void put_back(std::size_t index, const std::vector<WaveMove>& moves);
  void close(std::size_t index, const std::vector<WaveMove>& moves,
             const std::vector<WaveMoveEnd>& ends);
  bool retries(std::size_t move, const WaveMoveEnd& end);
  /// Of the hosts of moves that did not complete those that do not answer. Asks hypervisors: not
  /// with `mutex_` held.
  [[nodiscard]] std::vector<HostId> silent_hosts(const std::vector<WaveMove>& moves,
                                                 const std::vector<WaveMoveEnd>& ends);
  void take_out_of_use(const std::vector<HostId>& hosts);
  /// Gives pending moves to hosts that are out of use other ones.
  void redirect();
  [[nodiscard]] std::optional<HostId> another_host(const std::vector<std::size_t>& unit,
                                                   Inventory& planned) const;
  void end_move(std::size_t move, const MoveRecord& record);
  void leave_links(VmId vm);
  /// Somebody whose move must have ended before this wave's begin, and has not.
  [[nodiscard]] std::optional<VmId> still_to_come(const PlannedWave& wave) const;
  void give_up_followers();
  void give_up(std::size_t index, const std::string& reason, TimePoint now);
  /// In the journal too, for a later controller: others may open after it.
  void note_given_up(const WaveState& wave, const std::string& reason);
  /// Those that `which` names; false: there was none.
  bool give_up_pending(
      const std::function<std::string(const WaveState&)>& reason,
      const std::function<bool(const WaveState&)>& which = [](const WaveState&) { return true; });
  /// Whether a host that one of its moves would go to is out of use.
  [[nodiscard]] bool is_bound_for_down(const WaveState& wave) const;
  [[nodiscard]] std::string why_stuck(const WaveState& wave) const;
  [[nodiscard]] TimePoint next_time() const;
  void report();

  const Instance& instance_;
  const Plan& plan_;
  Recorder& recorder_;
  SessionOptions options_;
  std::unique_ptr<Surroundings> surroundings_;  ///< unless they are somebody else's
  World& world_;
  Inventory inventory_;
  Limiter limiter_;
  Admission admission_;
  std::unique_ptr<Mutex> mutex_;
  std::unique_ptr<Condition> changed_;
  std::vector<std::uint64_t> epochs_;
  MigrationContext context_;

  std::vector<WaveState> waves_;
  std::vector<MoveState> moves_;
  std::vector<std::size_t> planned_wave_;            ///< by move: of the plan
  std::vector<std::size_t> unfinished_;              ///< by wave of the plan: its moves to come
  std::vector<std::vector<std::size_t>> followers_;  ///< by wave: those it must complete for
  /// Waves that will never open, and why: what had to complete before them did not.
  std::vector<std::pair<std::size_t, std::string>> given_up_;
  std::vector<std::vector<std::size_t>> queues_;  ///< by VM
  std::vector<HostId> hosts_;                     ///< by VM: where it is while no move of it runs
  std::vector<HostId> destinations_;  ///< by move: the plan's, or another where that is down
  std::vector<HostId> down_;          ///< hosts that did not answer
  bool homeless_ = false;             ///< pending moves may be bound for one of them
  std::size_t pending_ = 0;           ///< waves that have not opened
  std::size_t running_ = 0;
  /// Of a sequential plan: the pending wave in `admission_` that it has not refused.
  std::optional<std::size_t> offered_;
  std::size_t next_offer_ = 0;     ///< of a sequential plan: every wave before it was offered
  std::size_t recovering_ = 0;     ///< running waves that an earlier controller opened
  std::uint64_t controller_ = 1;   ///< in the journal
  std::uint64_t last_number_ = 0;  ///< of a wave in the journal
  bool begun_ = false;
  std::vector<std::string> unsettled_;
  std::optional<TimePoint> last_opened_;
  Interruption level_ = Interruption::none;
  std::exception_ptr broken_;  ///< what a wave threw
  SessionProgress progress_;
};

tl::expected<void, std::string> Session::Impl::resume(const JournalHistory& history) {
  check(!begun_, "a session resumes before it runs");
  for (const JournalHistory::Event& event : history.events) {
    switch (event.kind) {
      case JournalHistory::Event::Kind::wave_opened:
        if (auto reopened = reopen(history.waves[event.index]); !reopened) return reopened;
        break;
      case JournalHistory::Event::Kind::wave_closed: reclose(history.waves[event.index]); break;
      case JournalHistory::Event::Kind::function_replaced: {
        const auto& [vm, host] = history.replaced[event.index];
        if (inventory_.holds(vm, host)) (void)inventory_.replace_virtual_function(vm, host);
        break;
      }
      case JournalHistory::Event::Kind::given_up: {
        const JournalHistory::GivenUp& ended = history.given_up[event.index];
        const std::size_t wave = moves_[ended.move].wave;
        if (waves_[wave].state == State::pending) give_up(wave, ended.reason, ended.at);
        break;
      }
    }
  }
  down_ = history.hosts_down;
  for (const HostId host : down_) inventory_.close(host);
  redirect();
  if (auto same = compare_with_world(); !same) return same;
  for (const SpanRecord& span : history.spans) recorder_.span(span);
  for (const auto& [vm, round] : history.rounds) recorder_.round(vm, round);
  epochs_ = history.epochs;
  last_number_ = history.last_wave;
  controller_ = history.controllers.size() + 1;
  return {};
}

std::vector<WaveMove> Session::Impl::moves_of(const WaveHistory& wave) {
  std::vector<WaveMove> moves;
  for (const MoveHistory& move : wave.moves) moves.push_back(move.move);
  return moves;
}

bool Session::Impl::may_go(std::size_t move, HostId to) const {
  const HostList& candidates = spec(move).candidates;
  return plan_.moves[move].to == to ||
         std::find(candidates.begin(), candidates.end(), to) != candidates.end();
}

/// As `open`, for a wave that an earlier controller opened.
tl::expected<void, std::string> Session::Impl::reopen(const WaveHistory& before) {
  const std::size_t index = moves_[before.moves.front().move.move].wave;
  WaveState& wave = waves_[index];
  bool same = wave.state == State::pending && wave.planned.moves.size() == before.moves.size();
  for (std::size_t i = 0; same && i < before.moves.size(); ++i) {
    const WaveMove& move = before.moves[i].move;
    const std::vector<std::size_t>& queue = queue_of(move.move);
    same = wave.planned.moves[i] == move.move && may_go(move.move, move.to) &&
           host_of(move.move) == move.from && !queue.empty() && queue.front() == move.move &&
           inventory_.fits(spec(move.move).vm, move.to);
    if (!same) break;
    destinations_[move.move] = move.to;
    inventory_.reserve(spec(move.move).vm, move.to);
    limiter_.take(spec(move.move), move.from, move.to);
    MoveState& state = moves_[move.move];
    state.from = move.from;
    state.to = move.to;
    state.attempts += 1;
    if (state.attempts == 1) progress_.started += 1;
  }
  if (!same) {
    return tl::unexpected(fmt::format(
        "wave {} of the journal is not one that this scenario's plan would have at this point",
        before.number));
  }
  wave.state = State::running;
  wave.number = before.number;
  wave.before = std::make_unique<WaveHistory>(before);
  pending_ -= 1;
  running_ += 1;
  recovering_ += 1;
  last_opened_ = before.opened;
  return {};
}

/// As the end of `run_wave`, for a wave that an earlier controller closed.
void Session::Impl::reclose(const WaveHistory& before) {
  std::vector<WaveMoveEnd> ends;
  for (const MoveHistory& move : before.moves) {
    WaveMoveEnd& end = ends.emplace_back();
    end.end.outcome = move.rest->outcome;
    end.end.reason = move.stale.value_or(move.rest->reason);
    end.end.host = move.rest->host;
    end.end.transfer = move.transfer;
    end.end.redirected = move.redirected;
    end.end.lost_traffic = move.lost_traffic;
    if (spec(move.move.move).transfer.device == DeviceStrategy::detach) {
      end.end.vf_gone = move.vf_gone;
      end.end.lost_traffic = move.transfer.downtime;
    }
    end.started = before.opened;
    end.ended = *before.closed;
    const bool was_ready = before.suspension && before.suspension->ready;
    account_network(instance_, spec(move.move.move),
                    was_ready ? std::optional(before.suspension->end) : std::nullopt,
                    *before.closed, end);
  }
  recovering_ -= 1;
  close(moves_[before.moves.front().move.move].wave, moves_of(before), ends);
}

/// VMs in open waves are where their recovery finds them; all others must be where they were left.
tl::expected<void, std::string> Session::Impl::compare_with_world() const {
  std::vector<bool> moving(instance_.vms.size(), false);
  for (const WaveState& wave : waves_) {
    if (wave.state != State::running) continue;
    for (const std::size_t move : wave.planned.moves) moving[spec(move).vm.index] = true;
  }
  for (std::uint32_t i = 0; i < instance_.vms.size(); ++i) {
    if (moving[i]) continue;
    const VmInspection found = world_.hypervisor.inspect(VmId{i});
    // One that does not run went down with its host: it stands in the way of nobody.
    if (!found.running || found.host == hosts_[i]) continue;
    return tl::unexpected(fmt::format("{} runs on {}, but the journal left it on {}",
                                      instance_.vms[i].name, instance_.hosts[found.host.index].name,
                                      instance_.hosts[hosts_[i].index].name));
  }
  return {};
}

/// From here on the world is changed.
void Session::Impl::begin() {
  context_.intend(
      records::controller_begins(controller_, world_.clock.now(), options_.clock_origin));
  Lock lock(*mutex_);
  begun_ = true;
  for (std::size_t i = 0; i < waves_.size(); ++i) {
    WaveState& wave = waves_[i];
    if (wave.state == State::pending && plan_.order != Order::sequential) {
      admission_.add(i, wave.planned.not_before);
    }
    if (wave.state != State::running) continue;
    wave.task = world_.executor.spawn(
        "recovery of " + instance_.vms[spec(wave.planned.moves.front()).vm.index].name,
        [this, i] { in_wave(i, [this, i] { recover_wave(i); }); });
  }
}

void Session::Impl::run() {
  begin();
  {
    Lock lock(*mutex_);
    report();
    for (;;) {
      look_at_interruption();
      if (broken_) break;
      if (interrupted()) {
        give_up_pending([](const WaveState&) { return "interrupted before it began"; });
      } else if (options_.settle_only) {
        give_up_pending([](const WaveState&) {
          return "left for later: only what was under way was brought to rest";
        });
      }
      open_what_can_open();
      if (running_ == 0 && (pending_ == 0 || !unsettled_.empty())) break;
      const TimePoint next = next_time();
      if (running_ == 0 && next == TimePoint::never()) {
        // Who has nowhere to go stands in the way of nobody.
        const bool some = give_up_pending(
            [this](const WaveState& wave) {
              std::string reason = why_stuck(wave);
              note_given_up(wave, reason);
              return reason;
            },
            [this](const WaveState& wave) { return is_bound_for_down(wave); });
        if (!some) give_up_pending([this](const WaveState& wave) { return why_stuck(wave); });
        continue;
      }
      if (changed_->wait_until(*mutex_, next) == Wake::cancelled) {
        level_ = Interruption::cancel;
        break;
      }
    }
  }
  for (std::size_t i = 0; i < waves_.size(); ++i) {
    if (waves_[i].task) waves_[i].task->join();
  }
  if (broken_) std::rethrow_exception(broken_);
  if (unsettled_.empty()) {
    context_.intend(records::controller_ends(world_.clock.now(), interrupted()));
  }
}

bool Session::Impl::interrupted() { return level_ != Interruption::none; }

void Session::Impl::look_at_interruption() {
  if (!options_.interruption) return;
  const Interruption level = options_.interruption();
  if (level <= level_) return;
  level_ = level;
  for (WaveState& wave : waves_) {
    if (wave.state != State::running) continue;
    if (level == Interruption::cancel && wave.running != nullptr) wave.running->cancel();
    if (level == Interruption::cancel || wave.awaits_moment) wave.task->cancel();
  }
}

void Session::Impl::poll_interruption() {
  if (!options_.interruption || options_.interruption() == Interruption::none) return;
  Lock lock(*mutex_);
  look_at_interruption();
  changed_->notify_all();
}

void Session::Impl::add_wave(PlannedWave wave) {
  if (begun_ && plan_.order != Order::sequential) admission_.add(waves_.size(), wave.not_before);
  for (const std::size_t move : wave.moves) moves_[move].wave = waves_.size();
  waves_.emplace_back().planned = std::move(wave);
  pending_ += 1;
}

void Session::Impl::offer_next() {
  if (plan_.order != Order::sequential || offered_ || running_ > 0) return;
  while (next_offer_ < waves_.size() && waves_[next_offer_].state != State::pending) ++next_offer_;
  if (next_offer_ == waves_.size()) return;
  offered_ = next_offer_++;
  admission_.add(*offered_, waves_[*offered_].planned.not_before);
}

std::vector<AdmissionMove> Session::Impl::needs_of(std::size_t wave) {
  std::vector<AdmissionMove> needs;
  if (waves_[wave].state != State::pending) return needs;  // it was given up meanwhile
  const std::optional<VmId> first = still_to_come(waves_[wave].planned);
  for (const std::size_t move : waves_[wave].planned.moves) {
    const VmId vm = spec(move).vm;
    const bool its_turn = queue_of(move).front() == move;
    needs.push_back({.move = move,
                     .from = host_of(move),
                     .to = destinations_[move],
                     .waits_for = its_turn ? first : std::optional(vm)});
  }
  return needs;
}

std::optional<VmId> Session::Impl::still_to_come(const PlannedWave& wave) const {
  for (const PlannedWave::After& after : wave.after) {
    if (unfinished_[after.wave] == 0) continue;
    for (const std::size_t move : plan_.waves[after.wave].moves) {
      const std::vector<std::size_t>& queue = queues_[spec(move).vm.index];
      if (std::find(queue.begin(), queue.end(), move) != queue.end()) return spec(move).vm;
    }
  }
  return std::nullopt;
}

void Session::Impl::leave_links(VmId vm) {
  Lock lock(*mutex_);
  const std::size_t move = queues_[vm.index].front();
  MoveState& state = moves_[move];
  // On the way back from a destination it has no places there any more.
  if (state.off_links) return;
  state.off_links = true;
  limiter_.give_slots(spec(move), state.from, state.to);
  admission_.links_left(spec(move), state.from, state.to);
  changed_->notify_all();
}

/// In order; a sequential plan overtakes only a wave for which nothing but later ones can make way,
/// a parallel one opens whatever can be opened.
void Session::Impl::open_what_can_open() {
  const bool sequential = plan_.order == Order::sequential;
  for (;;) {
    if (interrupted() || options_.settle_only || recovering_ > 0 || !unsettled_.empty()) return;
    if (broken_ || (sequential && running_ > 0)) return;
    offer_next();
    const TimePoint now = world_.clock.now();
    if (last_opened_ && now < *last_opened_ + plan_.stagger) return;
    const std::optional<std::size_t> wave = admission_.next(now);
    if (wave) {
      if (waves_[*wave].state == State::pending) open(*wave);
      continue;
    }
    const bool refused = offered_ && admission_.next_time() == TimePoint::never();
    if (!refused || !sequential) return;
    offered_.reset();  // it is looked at again when a later one has ended
  }
}

/// The places of the wave are held: `admission_` took them.
void Session::Impl::open(std::size_t index) {
  WaveState& wave = waves_[index];
  std::vector<WaveMove> moves;
  const TimePoint now = world_.clock.now();
  for (const std::size_t move : wave.planned.moves) {
    MoveState& state = moves_[move];
    state.from = host_of(move);
    state.to = destinations_[move];
    state.attempts += 1;
    if (state.attempts == 1) progress_.started += 1;
    moves.push_back({move, state.from, state.to});
  }
  wave.state = State::running;
  wave.number = ++last_number_;
  pending_ -= 1;
  running_ += 1;
  offered_.reset();
  last_opened_ = now;
  report();
  std::string name = "wave of " + instance_.vms[spec(moves.front().move).vm.index].name;
  wave.task = world_.executor.spawn(
      std::move(name), [this, index, number = wave.number, now, moves = std::move(moves)] {
        in_wave(index, [&] { run_wave(index, number, now, moves); });
      });
}

void Session::Impl::in_wave(std::size_t index, const std::function<void()>& body) {
  std::exception_ptr thrown = thrown_by(body);
  if (!thrown) return;
  Lock lock(*mutex_);
  waves_[index].running = nullptr;
  if (waves_[index].state == State::running) running_ -= 1;
  if (!broken_) broken_ = std::move(thrown);
  for (const WaveState& wave : waves_) {
    if (wave.awaits_moment) wave.task->cancel();
  }
  changed_->notify_all();
}

bool Session::Impl::await_moment(std::size_t index, const std::vector<WaveMove>& moves,
                                 TimePoint& opened) {
  const auto says_so = std::find_if(moves.begin(), moves.end(), [this](const WaveMove& move) {
    return spec(move.move).when != RankMoment::any;
  });
  if (says_so == moves.end()) return true;
  {
    Lock lock(*mutex_);
    if (interrupted() || broken_) return false;
    waves_[index].awaits_moment = true;
  }
  context_.jobs.await_moment(spec(says_so->move).vm, spec(says_so->move).when);
  opened = world_.clock.now();
  Lock lock(*mutex_);
  waves_[index].awaits_moment = false;
  return !interrupted() && !broken_;
}

void Session::Impl::put_back(std::size_t index, const std::vector<WaveMove>& moves) {
  waves_[index].state = State::pending;
  pending_ += 1;
  running_ -= 1;
  for (const WaveMove& move : moves) {
    inventory_.release(spec(move.move).vm, move.to);
    limiter_.give(spec(move.move), move.from, move.to);
    MoveState& state = moves_[move.move];
    state.attempts -= 1;
    if (state.attempts == 0) progress_.started -= 1;
  }
}

void Session::Impl::run_wave(std::size_t index, std::uint64_t number, TimePoint opened,
                             const std::vector<WaveMove>& moves) {
  if (!await_moment(index, moves, opened)) {
    Lock lock(*mutex_);
    put_back(index, moves);
    changed_->notify_all();
    return;
  }
  Wave wave(context_, number, opened, moves);
  {
    Lock lock(*mutex_);
    waves_[index].running = &wave;
    if (level_ == Interruption::cancel) wave.cancel();
  }
  const std::vector<WaveMoveEnd> ends = wave.run();
  const std::vector<HostId> silent = silent_hosts(moves, ends);
  Lock lock(*mutex_);
  take_out_of_use(silent);
  close(index, moves, ends);
  changed_->notify_all();
}

void Session::Impl::recover_wave(std::size_t index) {
  const WaveHistory before = [&] {
    Lock lock(*mutex_);  // for a reference into `waves_`, which may grow meanwhile
    return *waves_[index].before;
  }();
  const std::vector<WaveMove> moves = moves_of(before);
  Wave wave(context_, before.number, before.opened, moves);
  const std::vector<WaveMoveEnd> ends = wave.recover(before);
  const std::vector<HostId> silent = silent_hosts(moves, ends);
  Lock lock(*mutex_);
  recovering_ -= 1;
  take_out_of_use(silent);
  std::size_t left = 0;
  for (std::size_t i = 0; i < moves.size(); ++i) {
    if (!ends[i].end.unsettled) continue;
    unsettled_.push_back(fmt::format("{}: {}", instance_.vms[before.moves[i].vm.index].name,
                                     *ends[i].end.unsettled));
    ++left;
  }
  if (left > 0) {
    running_ -= 1;
  } else {
    close(index, moves, ends);
  }
  changed_->notify_all();
}

void Session::Impl::close(std::size_t index, const std::vector<WaveMove>& moves,
                          const std::vector<WaveMoveEnd>& ends) {
  waves_[index].state = State::done;
  waves_[index].running = nullptr;
  running_ -= 1;
  PlannedWave again;
  for (std::size_t i = 0; i < moves.size(); ++i) {
    const std::size_t move = moves[i].move;
    const VmId vm = spec(move).vm;
    const MoveEnd& end = ends[i].end;
    for (const HostId held : inventory_.hosts_of(vm)) {
      if (held != end.host || end.outcome == Outcome::lost) inventory_.release(vm, held);
    }
    MoveState& state = moves_[move];
    if (std::exchange(state.off_links, false)) {
      limiter_.give_rest(spec(move), moves[i].from, moves[i].to);
    } else {
      limiter_.give(spec(move), moves[i].from, moves[i].to);
    }
    hosts_[vm.index] = end.host;

    if (!state.started) state.started = ends[i].started;
    state.bytes += end.transfer.bytes;
    state.outage += ends[i].outage;
    state.lost_traffic += ends[i].lost_traffic;
    if (retries(move, ends[i])) {
      again.moves.push_back(move);
      again.not_before = std::max(again.not_before, ends[i].ended + spec(move).retry.wait);
      admission_.move_ended(spec(move), moves[i].from, moves[i].to);
      continue;
    }
    MoveRecord record{.move = move,
                      .vm = vm,
                      .from = moves[i].from,
                      .to = end.host,
                      .start = *state.started,
                      .end = ends[i].ended,
                      .transfer = end.transfer,
                      .outage = state.outage,
                      .lost_traffic = state.lost_traffic,
                      .outcome = end.outcome,
                      .reason = end.reason};
    record.transfer.bytes = state.bytes;
    end_move(move, record);
    admission_.move_ended(spec(move), moves[i].from, moves[i].to);
  }
  const bool again_was_empty = again.moves.empty();
  if (!again_was_empty) add_wave(std::move(again));
  if (homeless_ || !again_was_empty) redirect();
  give_up_followers();
  report();
}

std::vector<HostId> Session::Impl::silent_hosts(const std::vector<WaveMove>& moves,
                                                const std::vector<WaveMoveEnd>& ends) {
  std::vector<HostId> silent;
  for (std::size_t i = 0; i < moves.size(); ++i) {
    if (ends[i].end.unsettled || ends[i].end.outcome == Outcome::completed) continue;
    for (const HostId host : {moves[i].from, moves[i].to}) {
      if (std::find(silent.begin(), silent.end(), host) != silent.end()) continue;
      if (!world_.hypervisor.reachable(host)) silent.push_back(host);
    }
  }
  return silent;
}

void Session::Impl::take_out_of_use(const std::vector<HostId>& hosts) {
  for (const HostId host : hosts) {
    if (std::find(down_.begin(), down_.end(), host) != down_.end()) continue;
    down_.push_back(host);
    homeless_ = true;
    inventory_.close(host);
    context_.journal.append(records::host_is_down(instance_.hosts[host.index].name));
  }
}

/// Moves of one wave that have to go to one host go to one again. Those that find no place now keep
/// the one that they have: why they never began is said when nothing else is left.
void Session::Impl::redirect() {
  if (down_.empty()) return;
  const auto is_down = [&](HostId host) {
    return std::find(down_.begin(), down_.end(), host) != down_.end();
  };
  // Who will go where nobody is in the way; departures are not counted on.
  Inventory planned = inventory_;
  std::vector<std::size_t> homeless;
  for (const WaveState& wave : waves_) {
    if (wave.state != State::pending) continue;
    for (const std::size_t move : wave.planned.moves) {
      const VmId vm = spec(move).vm;
      if (is_down(destinations_[move])) {
        homeless.push_back(move);
      } else if (planned.fits(vm, destinations_[move])) {
        planned.reserve(vm, destinations_[move]);
      }
    }
  }
  VmGroups together(instance_.vms.size());
  together.join_constraints(instance_);
  homeless_ = false;
  while (!homeless.empty()) {
    const std::size_t first = homeless.front();
    std::vector<std::size_t> unit;
    std::erase_if(homeless, [&](std::size_t move) {
      const bool same = moves_[move].wave == moves_[first].wave &&
                        together.root(spec(move).vm.index) == together.root(spec(first).vm.index);
      if (same) unit.push_back(move);
      return same;
    });
    const std::optional<HostId> to = another_host(unit, planned);
    if (!to) homeless_ = true;
    for (const std::size_t move : unit) {
      if (!to) break;
      admission_.redirected(destinations_[move]);
      destinations_[move] = *to;
    }
  }
}

/// Where all of them may go and fit together: with `spread` the host with the most memory left,
/// with `pack` that with the least, with `in_order` the next one.
std::optional<HostId> Session::Impl::another_host(const std::vector<std::size_t>& unit,
                                                  Inventory& planned) const {
  const MoveSpec& first = spec(unit.front());
  std::optional<HostId> best;
  for (const HostId host : first.candidates) {
    std::size_t placed = 0;
    for (; placed < unit.size(); ++placed) {
      const std::size_t move = unit[placed];
      if (host == host_of(move) || !may_go(move, host) || !planned.fits(spec(move).vm, host)) break;
      planned.reserve(spec(move).vm, host);
    }
    for (std::size_t i = 0; i < placed; ++i) planned.release(spec(unit[i]).vm, host);
    if (placed < unit.size()) continue;
    const auto left = [&](HostId candidate) { return planned.free(candidate).memory; };
    if (!best || (first.place == Place::spread && left(host) > left(*best)) ||
        (first.place == Place::pack && left(host) < left(*best))) {
      best = host;
    }
  }
  if (best) {
    for (const std::size_t move : unit) planned.reserve(spec(move).vm, *best);
  }
  return best;
}

/// Of what an earlier controller closed: as that one did, whatever this one is to do afterwards.
bool Session::Impl::retries(std::size_t move, const WaveMoveEnd& end) {
  const bool goes_on = !begun_ || (!interrupted() && !options_.settle_only);
  return end.end.outcome == Outcome::rolled_back && goes_on &&
         moves_[move].attempts <= spec(move).retry.attempts;
}

void Session::Impl::end_move(std::size_t move, const MoveRecord& record) {
  std::vector<std::size_t>& queue = queue_of(move);
  check(!queue.empty() && queue.front() == move, "the moves of a VM end in order");
  queue.erase(queue.begin());
  progress_.ended += 1;
  if (record.outcome != Outcome::completed) progress_.failed += 1;
  recorder_.move(record);
  const std::size_t wave = planned_wave_[move];
  unfinished_[wave] -= 1;
  if (record.outcome == Outcome::completed) return;
  for (const std::size_t follower : followers_[wave]) {
    given_up_.emplace_back(follower, fmt::format("{} had to move before it, and did not arrive",
                                                 instance_.vms[record.vm.index].name));
  }
}

/// Also those whose turn has not come: their VMs' earlier moves go on, and they are looked at
/// again.
void Session::Impl::give_up_followers() {
  for (std::size_t i = 0; i < given_up_.size(); ++i) {
    const auto [index, reason] = given_up_[i];
    const WaveState& wave = waves_[index];
    if (wave.state != State::pending) continue;
    const std::vector<std::size_t> moves = wave.planned.moves;
    const bool its_turn = std::all_of(moves.begin(), moves.end(), [&](std::size_t move) {
      return queue_of(move).front() == move;
    });
    if (!its_turn) continue;
    give_up(index, reason, world_.clock.now());
    if (offered_ == index) offered_.reset();
    i = static_cast<std::size_t>(-1);  // others may have had their turn after it
  }
  std::erase_if(given_up_,
                [&](const auto& entry) { return waves_[entry.first].state != State::pending; });
}

void Session::Impl::note_given_up(const WaveState& wave, const std::string& reason) {
  for (const std::size_t move : wave.planned.moves) {
    context_.journal.append(records::given_up(move, instance_.vms[spec(move).vm.index].name,
                                              world_.clock.now(), reason));
  }
}

void Session::Impl::give_up(std::size_t index, const std::string& reason, TimePoint now) {
  WaveState& wave = waves_[index];
  wave.state = State::done;
  pending_ -= 1;
  for (const std::size_t move : wave.planned.moves) {
    const MoveState& state = moves_[move];
    const HostId host = host_of(move);
    // A move that waited for another attempt has already been tried and rolled back.
    end_move(move, {.move = move,
                    .vm = spec(move).vm,
                    .from = host,
                    .to = host,
                    .start = state.started.value_or(now),
                    .end = now,
                    .transfer = TransferReport(),
                    .outage = state.outage,
                    .lost_traffic = state.lost_traffic,
                    .outcome = state.started ? Outcome::rolled_back : Outcome::not_started,
                    .reason = reason});
    if (begun_) admission_.given_up(spec(move));
  }
}

/// A VM's later moves are given up after its earlier ones, which end in order.
bool Session::Impl::give_up_pending(const std::function<std::string(const WaveState&)>& reason,
                                    const std::function<bool(const WaveState&)>& which) {
  bool some = false;
  bool progress = true;
  while (progress) {
    progress = false;
    for (std::size_t i = 0; i < waves_.size(); ++i) {
      const WaveState& wave = waves_[i];
      if (wave.state != State::pending) continue;
      const bool its_turn =
          std::all_of(wave.planned.moves.begin(), wave.planned.moves.end(),
                      [&](std::size_t move) { return queue_of(move).front() == move; });
      if (!its_turn || !which(wave)) continue;
      give_up(i, reason(wave), world_.clock.now());
      if (offered_ == i) offered_.reset();
      some = progress = true;
    }
  }
  report();
  return some;
}

bool Session::Impl::is_bound_for_down(const WaveState& wave) const {
  return std::any_of(wave.planned.moves.begin(), wave.planned.moves.end(), [&](std::size_t move) {
    return std::find(down_.begin(), down_.end(), destinations_[move]) != down_.end();
  });
}

std::string Session::Impl::why_stuck(const WaveState& wave) const {
  for (const auto& [index, reason] : given_up_) {  // with one that it must follow
    if (&waves_[index] == &wave) return reason;
  }
  if (const std::optional<VmId> first = still_to_come(wave.planned)) {
    return fmt::format("{} had to move before it, and could not", instance_.vms[first->index].name);
  }
  for (const std::size_t move : wave.planned.moves) {
    const std::string& vm = instance_.vms[spec(move).vm.index].name;
    const HostId to = destinations_[move];
    if (std::optional<std::string> refusal = inventory_.refusal(spec(move).vm, to)) {
      return fmt::format("no place for {}: {}, and no running move will free one", vm, *refusal);
    }
    if (!limiter_.admits(spec(move), host_of(move), to)) {
      return fmt::format("the limits admit no wave of {} moves at once", wave.planned.moves.size());
    }
  }
  return fmt::format("its wave of {} moves never fitted under the limits and on the hosts at once",
                     wave.planned.moves.size());
}

/// When a pending wave could open because time passes, not because something ends.
TimePoint Session::Impl::next_time() const {
  if (recovering_ > 0 || options_.settle_only || !unsettled_.empty()) return TimePoint::never();
  const TimePoint now = world_.clock.now();
  const TimePoint staggered = last_opened_ ? *last_opened_ + plan_.stagger : now;
  if (admission_.has_candidates(now)) return staggered > now ? staggered : TimePoint::never();
  return std::max(admission_.next_time(), staggered);
}

void Session::Impl::report() {
  if (!options_.on_progress || !begun_) return;
  progress_.now = world_.clock.now();
  options_.on_progress(progress_);
}

Session::Session(World& world, const Scenario& scenario, const Instance& instance, const Plan& plan,
                 Journal& journal, Recorder& recorder, SessionOptions options)
    : impl_(std::make_unique<Impl>(world, scenario, instance, plan, journal, recorder,
                                   std::move(options))) {}

Session::Session(World& world, JobRuntime& jobs, const Instance& instance, const Plan& plan,
                 Journal& journal, Recorder& recorder, SessionOptions options)
    : impl_(std::make_unique<Impl>(world, jobs, instance, plan, journal, recorder,
                                   std::move(options))) {}

Session::~Session() = default;

tl::expected<void, std::string> Session::resume(const JournalHistory& history) {
  return impl_->resume(history);
}

void Session::run() { impl_->run(); }

const std::vector<std::string>& Session::unsettled() const { return impl_->unsettled(); }

void Session::poll_interruption() { impl_->poll_interruption(); }

const Inventory& Session::inventory() const { return impl_->inventory(); }

}  // namespace ferry
