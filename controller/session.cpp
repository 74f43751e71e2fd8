#include "controller/session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>

#include "controller/admission.hpp"
#include "controller/limits.hpp"
#include "core/faults/faulty_hypervisor.hpp"
#include "core/migration/timed_ranks.hpp"
#include "core/migration/wave.hpp"
#include "core/topology/inventory.hpp"
#include "core/units/check.hpp"

namespace ferry {

class Session::Impl {
 public:
  Impl(World& world, const Scenario& scenario, const Instance& instance, const Plan& plan,
       Journal& journal, Recorder& recorder, SessionOptions options)
      : instance_(instance),
        plan_(plan),
        recorder_(recorder),
        options_(std::move(options)),
        faulty_(world.hypervisor, world.clock, world.executor, instance),
        world_{world.clock, world.executor, faulty_, world.processor, world.fabric},
        jobs_(world_, instance, scenario.platform.mpi, recorder),
        inventory_(instance),
        limiter_(instance, plan.limits, plan.links, plan.link_slots),
        admission_(instance, limiter_, inventory_,
                   [this](std::size_t wave) { return needs_of(wave); }),
        mutex_(world.executor.make_mutex()),
        changed_(world.executor.make_condition()),
        epochs_(instance.jobs.size(), 0),
        context_{world_, instance, jobs_, recorder, journal, inventory_, *mutex_, epochs_},
        moves_(instance.moves.size()),
        queues_(instance.vms.size()) {
    for (const VmSpec& vm : instance.vms) hosts_.push_back(vm.host);
    for (std::uint32_t i = 0; i < instance.vms.size(); ++i) {
      world_.processor.set_ranks_running(VmId{i}, !instance.vms[i].jobs.empty());
    }
    for (const PlannedWave& wave : plan.waves) {
      add_wave(wave);
      for (const std::size_t move : wave.moves) queue_of(move).push_back(move);
    }
    progress_.moves = moves_.size();
  }

  void run();
  void poll_interruption();
  [[nodiscard]] const Inventory& inventory() const { return inventory_; }

 private:
  enum class State { pending, running, done };

  struct WaveState {
    PlannedWave planned;
    State state = State::pending;
    Wave* running = nullptr;
    std::unique_ptr<Task> task;
  };

  struct MoveState {
    std::uint32_t attempts = 0;
    std::optional<TimePoint> started;
    HostId from;
    HostId to;
    Bytes bytes;
    Duration outage;
  };

  /// The moves of one VM that have not ended, in order.
  std::vector<std::size_t>& queue_of(std::size_t move) {
    return queues_[instance_.moves[move].vm.index];
  }
  [[nodiscard]] const MoveSpec& spec(std::size_t move) const { return instance_.moves[move]; }
  [[nodiscard]] HostId host_of(std::size_t move) const { return hosts_[spec(move).vm.index]; }

  bool interrupted();
  void look_at_interruption();
  void open_what_can_open();
  void add_wave(PlannedWave wave);
  /// Offers the first pending wave of a sequential plan to `admission_`, once nothing runs.
  void offer_next();
  [[nodiscard]] std::vector<AdmissionMove> needs_of(std::size_t wave);
  void open(std::size_t index);
  void run_wave(std::size_t index, TimePoint opened, const std::vector<WaveMove>& moves);
  void close(std::size_t index, const std::vector<WaveMove>& moves,
             const std::vector<WaveMoveEnd>& ends);
  bool retries(std::size_t move, const WaveMoveEnd& end);
  void end_move(std::size_t move, const MoveRecord& record);
  void give_up(std::size_t index, const std::string& reason);
  void give_up_pending(const std::function<std::string(const WaveState&)>& reason);
  [[nodiscard]] std::string why_stuck(const WaveState& wave) const;
  [[nodiscard]] TimePoint next_time() const;
  void report();

  const Instance& instance_;
  const Plan& plan_;
  Recorder& recorder_;
  SessionOptions options_;
  FaultyHypervisor faulty_;
  World world_;
  TimedRanks jobs_;
  Inventory inventory_;
  Limiter limiter_;
  Admission admission_;
  std::unique_ptr<Mutex> mutex_;
  std::unique_ptr<Condition> changed_;
  std::vector<std::uint64_t> epochs_;
  MigrationContext context_;

  std::vector<WaveState> waves_;
  std::vector<MoveState> moves_;
  std::vector<std::vector<std::size_t>> queues_;  ///< by VM
  std::vector<HostId> hosts_;                     ///< by VM: where it is while no move of it runs
  std::size_t pending_ = 0;                       ///< waves that have not opened
  std::size_t running_ = 0;
  std::optional<std::size_t> offered_;  ///< of a sequential plan: the pending wave in `admission_`
  std::size_t next_offer_ = 0;          ///< of a sequential plan: every wave before it was offered
  std::optional<TimePoint> last_opened_;
  Interruption level_ = Interruption::none;
  SessionProgress progress_;
};

void Session::Impl::run() {
  {
    Lock lock(*mutex_);
    report();
    for (;;) {
      look_at_interruption();
      if (interrupted()) {
        give_up_pending([](const WaveState&) { return "interrupted before it began"; });
      }
      open_what_can_open();
      if (pending_ == 0 && running_ == 0) break;
      const TimePoint next = next_time();
      if (running_ == 0 && next == TimePoint::never()) {
        give_up_pending([this](const WaveState& wave) { return why_stuck(wave); });
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
}

bool Session::Impl::interrupted() { return level_ != Interruption::none; }

void Session::Impl::look_at_interruption() {
  if (!options_.interruption) return;
  const Interruption level = options_.interruption();
  if (level <= level_) return;
  level_ = level;
  if (level == Interruption::cancel) {
    for (WaveState& wave : waves_) {
      if (wave.state != State::running) continue;
      if (wave.running != nullptr) wave.running->cancel();
      wave.task->cancel();
    }
  }
}

void Session::Impl::poll_interruption() {
  if (!options_.interruption || options_.interruption() == Interruption::none) return;
  Lock lock(*mutex_);
  look_at_interruption();
  changed_->notify_all();
}

void Session::Impl::add_wave(PlannedWave wave) {
  if (plan_.order != Order::sequential) admission_.add(waves_.size(), wave.not_before);
  waves_.push_back({std::move(wave), State::pending, nullptr, {}});
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
  for (const std::size_t move : waves_[wave].planned.moves) {
    needs.push_back({.move = move,
                     .from = host_of(move),
                     .to = plan_.moves[move].to,
                     .its_turn = queue_of(move).front() == move});
  }
  return needs;
}

/// In order; a sequential plan never overtakes, a parallel one opens whatever can be opened.
void Session::Impl::open_what_can_open() {
  for (;;) {
    if (interrupted()) return;
    offer_next();
    const TimePoint now = world_.clock.now();
    if (last_opened_ && now < *last_opened_ + plan_.stagger) return;
    const std::optional<std::size_t> wave = admission_.next(now);
    if (!wave) return;
    open(*wave);
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
    state.to = plan_.moves[move].to;
    state.attempts += 1;
    if (state.attempts == 1) progress_.started += 1;
    moves.push_back({move, state.from, state.to});
  }
  wave.state = State::running;
  pending_ -= 1;
  running_ += 1;
  offered_.reset();
  last_opened_ = now;
  report();
  std::string name = "wave of " + instance_.vms[spec(moves.front().move).vm.index].name;
  wave.task = world_.executor.spawn(std::move(name), [this, index, now, moves = std::move(moves)] {
    run_wave(index, now, moves);
  });
}

void Session::Impl::run_wave(std::size_t index, TimePoint opened,
                             const std::vector<WaveMove>& moves) {
  Wave wave(context_, index + 1, opened, moves);
  {
    Lock lock(*mutex_);
    waves_[index].running = &wave;
    if (level_ == Interruption::cancel) wave.cancel();
  }
  const std::vector<WaveMoveEnd> ends = wave.run();
  Lock lock(*mutex_);
  close(index, moves, ends);
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
    const bool moved = end.host == moves[i].to;
    inventory_.release(vm, moved ? moves[i].from : moves[i].to);
    limiter_.give(spec(move), moves[i].from, moves[i].to);
    hosts_[vm.index] = end.host;

    MoveState& state = moves_[move];
    if (!state.started) state.started = ends[i].started;
    state.bytes += end.transfer.bytes;
    state.outage += ends[i].outage;
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
                      .outcome = end.outcome,
                      .reason = end.reason};
    record.transfer.bytes = state.bytes;
    end_move(move, record);
    admission_.move_ended(spec(move), moves[i].from, moves[i].to);
  }
  if (!again.moves.empty()) add_wave(std::move(again));
  report();
}

bool Session::Impl::retries(std::size_t move, const WaveMoveEnd& end) {
  return end.end.outcome == Outcome::rolled_back && !interrupted() &&
         moves_[move].attempts <= spec(move).retry.attempts;
}

void Session::Impl::end_move(std::size_t move, const MoveRecord& record) {
  std::vector<std::size_t>& queue = queue_of(move);
  check(!queue.empty() && queue.front() == move, "the moves of a VM end in order");
  queue.erase(queue.begin());
  progress_.ended += 1;
  if (record.outcome != Outcome::completed) progress_.failed += 1;
  recorder_.move(record);
}

void Session::Impl::give_up(std::size_t index, const std::string& reason) {
  WaveState& wave = waves_[index];
  wave.state = State::done;
  pending_ -= 1;
  const TimePoint now = world_.clock.now();
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
                    .outcome = state.started ? Outcome::rolled_back : Outcome::not_started,
                    .reason = reason});
  }
}

/// A VM's later moves are given up after its earlier ones, which end in order.
void Session::Impl::give_up_pending(const std::function<std::string(const WaveState&)>& reason) {
  bool progress = true;
  while (progress) {
    progress = false;
    for (std::size_t i = 0; i < waves_.size(); ++i) {
      const WaveState& wave = waves_[i];
      if (wave.state != State::pending) continue;
      const bool its_turn =
          std::all_of(wave.planned.moves.begin(), wave.planned.moves.end(),
                      [&](std::size_t move) { return queue_of(move).front() == move; });
      if (!its_turn) continue;
      give_up(i, reason(wave));
      progress = true;
    }
  }
  report();
}

std::string Session::Impl::why_stuck(const WaveState& wave) const {
  for (const std::size_t move : wave.planned.moves) {
    const std::string& vm = instance_.vms[spec(move).vm.index].name;
    const HostId to = plan_.moves[move].to;
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
  const TimePoint now = world_.clock.now();
  const TimePoint staggered = last_opened_ ? *last_opened_ + plan_.stagger : now;
  if (admission_.has_candidates(now)) return staggered > now ? staggered : TimePoint::never();
  return std::max(admission_.next_time(), staggered);
}

void Session::Impl::report() {
  if (!options_.on_progress) return;
  progress_.now = world_.clock.now();
  options_.on_progress(progress_);
}

Session::Session(World& world, const Scenario& scenario, const Instance& instance, const Plan& plan,
                 Journal& journal, Recorder& recorder, SessionOptions options)
    : impl_(std::make_unique<Impl>(world, scenario, instance, plan, journal, recorder,
                                   std::move(options))) {}

Session::~Session() = default;

void Session::run() { impl_->run(); }

void Session::poll_interruption() { impl_->poll_interruption(); }

const Inventory& Session::inventory() const { return impl_->inventory(); }

}  // namespace ferry
