#include "controller/planner/forecast.hpp"

#include <algorithm>
#include <queue>
#include <utility>

#include "controller/admission.hpp"
#include "controller/limits.hpp"
#include "controller/planner/fair_shares.hpp"
#include "core/memory/memory_transfer.hpp"
#include "core/topology/inventory.hpp"

namespace ferry {
namespace {

/// An event costs about as much as so many looks at links (measured).
constexpr std::uint64_t event_work = 20;

}  // namespace

Forecaster::Forecaster(const Instance& instance, const Platform& platform, LinkMap& links,
                       const std::vector<PlannedMove>& moves)
    : instance_(instance), platform_(platform), links_(links), moves_(moves) {
  fixed_.reserve(moves.size());
  for (const PlannedMove& move : moves) {
    const MoveSpec& spec = instance.moves[move.move];
    Fixed& fixed = fixed_.emplace_back();
    fixed.route = links.route(spec.transfer.transport, move.from, move.to);
    fixed.costs = costs_of(instance, platform, spec);
    fixed.streams = stream_bandwidth(platform, spec.transfer);
    fixed.link = Bandwidth::unlimited();
    for (const LinkId link : fixed.route) {
      fixed.latency += links.latency(link);
      fixed.link = std::min(fixed.link, links.bandwidth(link));
    }
    fixed.ranks_stop = !fixed.costs.ranks_run;
    for (const JobId id : instance.vms[spec.vm.index].jobs) {
      const JobSpec& job = instance.jobs[id.index];
      const auto place = std::find(job.vms.begin(), job.vms.end(), spec.vm) - job.vms.begin();
      for (std::uint32_t i = 0; i < job.ranks_per_vm; ++i) {
        const std::size_t rank = static_cast<std::size_t>(place) * job.ranks_per_vm + i;
        fixed.longest_call = std::max(fixed.longest_call, job.next_call[rank]);
      }
    }
  }
}

/// One forecast: an event loop over waves, moves and transfers.
class ForecastRun {
 public:
  ForecastRun(const Forecaster& forecaster, const Plan& plan, const ForecastOptions& options)
      : f_(forecaster),
        instance_(f_.instance_),
        costs_(f_.platform_.hypervisor),
        plan_(plan),
        options_(options),
        inventory_(instance_),
        limiter_(instance_, plan.limits, plan.links, plan.link_slots, plan.link_refill),
        admission_(instance_, limiter_, inventory_,
                   [this](std::size_t wave) { return needs_of(wave); }),
        shares_(f_.links_),
        waves_(plan.waves.size()),
        moves_(instance_.moves.size()),
        queues_(instance_.vms.size()),
        control_free_(instance_.hosts.size()),
        streams_on_(f_.links_.link_count()) {
    for (const VmSpec& vm : instance_.vms) hosts_.push_back(vm.host);
    for (std::size_t i = 0; i < plan.waves.size(); ++i) {
      const PlannedWave& wave = plan.waves[i];
      waves_[i].unfinished = wave.moves.size();
      for (const std::size_t move : wave.moves) {
        moves_[move].wave = i;
        queues_[instance_.moves[move].vm.index].push_back(move);
      }
      if (plan.order != Order::sequential) admission_.add(i, wave.not_before);
    }
    result_.moves.resize(instance_.moves.size());
  }

  Forecast run() {
    open_what_can_open();
    while (!events_.empty() || solve_at_) {
      // All that happens at one time comes before new shares.
      if (solve_at_ && (events_.empty() || events_.top().at > *solve_at_)) {
        now_ = *solve_at_;
        share_out();
        continue;
      }
      const Event event = events_.top();
      events_.pop();
      now_ = std::max(now_, event.at);
      result_.work = event_work * ++handled_ + shares_.work();
      if (now_.since_start() > options_.most || result_.work > options_.most_work) {
        result_.complete = false;
        return std::move(result_);
      }
      handle(event);
    }
    return finish();
  }

 private:
  enum class Kind : std::uint8_t {
    look,         // something may open because time passes
    status_set,   // of a move, at its start
    suspended,    // of a wave
    ranks_stop,   // of a move
    detached,     // one device of a move
    redirected,   // its guest's traffic
    memory_goes,  // first byte of a move
    part_ends,    // of a move's memory
    saved,        // the state of its device
    switched,     // to post-copy
    guest_runs,   // on the destination
    memory_gone,  // and the call has returned
    attached,     // one device of a move
    status_back,  // of a move, at its end
    wave_ends,
  };
  struct Event {
    TimePoint at;
    std::uint64_t number;  // events at one time happen in the order in which they were asked for
    Kind kind;
    std::uint32_t index;
    std::uint32_t version;
    bool operator>(const Event& other) const {
      return std::pair(at, number) > std::pair(other.at, other.number);
    }
  };
  struct WaveState {
    std::size_t unfinished = 0;
    std::size_t to_come = 0;  // VMs that the present step waits for
    TimePoint opened;
    bool running = false;
    bool ended = false;
  };
  struct MoveState {
    std::size_t wave = 0;
    HostId from;
    HostId to;
    int devices = 0;  // steps with devices to come
    bool failed = false;
    bool off_links = false;
    std::optional<MemoryTransfer> memory;
    std::uint32_t slot = 0;
    bool flows = false;
    Bandwidth limit;
    double left = 0;  // bytes of the part at `since`
    double share = 0;
    TimePoint since;
    TimePoint ranks_wait;
    TimePoint migration_began;
    std::uint32_t version = 0;
  };

  [[nodiscard]] const MoveSpec& spec(std::size_t move) const { return instance_.moves[move]; }
  void at(TimePoint time, Kind kind, std::size_t index, std::uint32_t version = 0) {
    events_.push({time, ++asked_, kind, static_cast<std::uint32_t>(index), version});
  }
  TimePoint control_done(HostId host, Duration cost) {
    const Duration serial = cost * costs_.serial.value();
    TimePoint& free = control_free_[f_.platform_.processors.shared ? 0 : host.index];
    free = std::max(free, now_) + serial;
    return free + (cost - serial);
  }

  // --- Admission, as in a session ---

  std::vector<AdmissionMove> needs_of(std::size_t wave) {
    std::vector<AdmissionMove> needs;
    if (waves_[wave].running || waves_[wave].ended) return needs;
    const std::optional<VmId> first = still_to_come(plan_.waves[wave]);
    for (const std::size_t move : plan_.waves[wave].moves) {
      const VmId vm = spec(move).vm;
      const bool its_turn = queues_[vm.index].front() == move;
      needs.push_back({.move = move,
                       .from = hosts_[vm.index],
                       .to = plan_.moves[move].to,
                       .waits_for = its_turn ? first : std::optional(vm)});
    }
    return needs;
  }

  [[nodiscard]] std::optional<VmId> still_to_come(const PlannedWave& wave) const {
    for (const PlannedWave::After& after : wave.after) {
      if (waves_[after.wave].unfinished == 0) continue;
      for (const std::size_t move : plan_.waves[after.wave].moves) {
        const auto& queue = queues_[spec(move).vm.index];
        if (std::find(queue.begin(), queue.end(), move) != queue.end()) return spec(move).vm;
      }
    }
    return std::nullopt;
  }

  void open_what_can_open() {
    for (;;) {
      if (plan_.order == Order::sequential && running_ == 0 && !offered_ &&
          next_offer_ < waves_.size()) {
        offered_ = true;
        admission_.add(next_offer_, plan_.waves[next_offer_].not_before);
        ++next_offer_;
      }
      if (last_opened_ && now_ < *last_opened_ + plan_.stagger) break;
      const std::optional<std::size_t> wave = admission_.next(now_);
      if (!wave) break;
      if (!waves_[*wave].ended && !waves_[*wave].running) open(*wave);
    }
    TimePoint next = TimePoint::never();
    const TimePoint staggered = last_opened_ ? *last_opened_ + plan_.stagger : now_;
    if (admission_.has_candidates(now_)) {
      if (staggered > now_) next = staggered;
    } else if (admission_.next_time() != TimePoint::never()) {
      next = std::max(admission_.next_time(), staggered);
    }
    if (next > now_ && next != TimePoint::never() && next != looks_at_) {
      looks_at_ = next;
      at(next, Kind::look, 0);
    }
  }

  /// A session that is woken up looks when all that happens at this moment has happened.
  void look_soon() {
    if (std::exchange(looks_soon_, true)) return;
    at(now_, Kind::look, 0);
  }

  void open(std::size_t index) {
    WaveState& wave = waves_[index];
    wave.running = true;
    wave.opened = now_;
    last_opened_ = now_;
    offered_ = false;
    ++running_;
    wave.to_come = plan_.waves[index].moves.size();
    for (const std::size_t move : plan_.waves[index].moves) {
      MoveState& state = moves_[move];
      state.from = hosts_[spec(move).vm.index];
      state.to = plan_.moves[move].to;
      const TimePoint done = control_done(state.from, f_.fixed_[move].costs.set_status);
      check_in_time(move, done, now_ + spec(move).timeouts.suspend);
      at(done, Kind::status_set, move);
    }
  }

  // --- The phases ---

  void handle(const Event& event) {
    const std::size_t i = event.index;
    switch (event.kind) {
      case Kind::look:
        looks_soon_ = false;
        open_what_can_open();
        return;
      case Kind::status_set: status_set(i); return;
      case Kind::suspended: suspended(i); return;
      case Kind::ranks_stop:
        if (moves_[i].memory) {
          moves_[i].memory->set_rate(instance_.vms[spec(i).vm.index].idle_dirty_rate, now_);
        }
        return;
      case Kind::detached: device_gone(i); return;
      case Kind::redirected: begin_migration(i); return;
      case Kind::memory_goes: memory_goes(i); return;
      case Kind::part_ends:
        if (event.version == moves_[i].version) part_ends(i);
        return;
      case Kind::saved:
        moves_[i].memory->saved();
        go_on_sending(i);
        return;
      case Kind::switched:
        moves_[i].memory->switched();
        result_.moves[i].downtime = now_ - *moves_[i].memory->paused();
        go_on_sending(i);
        return;
      case Kind::guest_runs: guest_runs(i); return;
      case Kind::memory_gone: memory_gone(i); return;
      case Kind::attached: device_back(i); return;
      case Kind::status_back:
        if (--waves_[moves_[i].wave].to_come == 0) reactivate(moves_[i].wave);
        return;
      case Kind::wave_ends: wave_ends(i); return;
    }
  }

  void check_in_time(std::size_t move, TimePoint done, TimePoint deadline) {
    if (done > deadline) moves_[move].failed = true;
  }

  void status_set(std::size_t move) {
    WaveState& wave = waves_[moves_[move].wave];
    if (--wave.to_come > 0) return;
    Duration suspend;
    for (const std::size_t other : plan_.waves[moves_[move].wave].moves) {
      suspend = std::max(suspend, f_.fixed_[other].costs.suspend);
      check_in_time(other, now_ + suspend, wave.opened + spec(other).timeouts.suspend);
    }
    for (const std::size_t other : plan_.waves[moves_[move].wave].moves) {
      const Duration longest = f_.fixed_[other].longest_call;
      moves_[other].ranks_wait = now_ + std::max(suspend, longest);
    }
    // Nobody waits for nobody: that would come after what others ask for at this moment.
    if (suspend == Duration::zero()) return suspended(moves_[move].wave);
    at(now_ + suspend, Kind::suspended, moves_[move].wave);
  }

  void suspended(std::size_t wave) {
    for (const std::size_t move : plan_.waves[wave].moves) release_devices(move);
  }

  [[nodiscard]] bool plugs_function(std::size_t move) const {
    return instance_.vms[spec(move).vm.index].virtual_function &&
           spec(move).transfer.device != DeviceStrategy::vfio;
  }
  [[nodiscard]] bool plugs_ivshmem(std::size_t move) const {
    return instance_.vms[spec(move).vm.index].ivshmem > Bytes(0);
  }

  void release_devices(std::size_t move) {
    MoveState& state = moves_[move];
    const bool function = plugs_function(move);
    const bool ivshmem = plugs_ivshmem(move);
    state.devices = (function ? 1 : 0) + (ivshmem ? 1 : 0);
    if (state.devices == 0) return begin_migration(move);
    if (function) detach(move, true);
    if (ivshmem && (costs_.devices_at_once || !function)) detach(move, false);
  }

  void detach(std::size_t move, bool function) {
    const TimePoint done =
        control_done(moves_[move].from, function ? costs_.detach_vf : costs_.remove_ivshmem);
    check_in_time(move, done,
                  now_ + (function ? spec(move).timeouts.detach : spec(move).timeouts.ivshmem));
    at(done, Kind::detached, move);
  }

  void device_gone(std::size_t move) {
    if (--moves_[move].devices == 0) return redirect(move);
    if (!costs_.devices_at_once) detach(move, false);
  }

  /// With failover the guest has no other device than its virtual function.
  void redirect(std::size_t move) {
    const Duration cost = f_.fixed_[move].costs.redirect;
    if (cost == Duration::zero()) return begin_migration(move);
    check_in_time(move, now_ + cost, now_ + spec(move).timeouts.detach);
    at(now_ + cost, Kind::redirected, move);
  }

  void begin_migration(std::size_t move) {
    MoveState& state = moves_[move];
    state.migration_began = now_;
    const Forecaster::Fixed& fixed = f_.fixed_[move];
    const TimePoint prepared = control_done(state.to, costs_.prepare) + fixed.costs.pin;
    at(prepared + fixed.latency, Kind::memory_goes, move);
  }

  void memory_goes(std::size_t move) {
    MoveState& state = moves_[move];
    const Forecaster::Fixed& fixed = f_.fixed_[move];
    const VmSpec& vm = instance_.vms[spec(move).vm.index];
    std::size_t sharing = 1;
    if (fixed.route.size() > 0) {
      sharing += std::max(streams_on_[fixed.route.begin()->index],
                          streams_on_[(fixed.route.end() - 1)->index]);
    }
    count_stream(move, 1);
    const Bandwidth expected = std::min(fixed.streams, fixed.link / static_cast<double>(sharing));
    const bool quiet = fixed.ranks_stop && state.ranks_wait <= now_;
    const TransferOptions& options = spec(move).transfer;
    state.memory.emplace(
        vm, options, compression_costs(f_.platform_, options.compression), fixed.costs.device_state,
        quiet ? vm.idle_dirty_rate : vm.idle_dirty_rate + vm.dirty_rate, expected, now_);
    if (fixed.ranks_stop && !quiet) at(state.ranks_wait, Kind::ranks_stop, move);
    go_on_sending(move);
  }

  /// With the next part, or with what follows the last.
  void go_on_sending(std::size_t move) {
    MoveState& state = moves_[move];
    const Forecaster::Fixed& fixed = f_.fixed_[move];
    const TimePoint deadline = state.migration_began + spec(move).timeouts.migration;
    if (now_ > deadline && !state.memory->post_copy()) state.failed = true;
    if (state.memory->state() == MemoryTransfer::State::failed) state.failed = true;
    if (state.failed) return stop_sending(move, Kind::memory_gone, now_);
    switch (state.memory->state()) {
      case MemoryTransfer::State::sending: break;
      case MemoryTransfer::State::saving:
        stop_flow(move);
        at(now_ + fixed.costs.save, Kind::saved, move);
        return;
      case MemoryTransfer::State::switching:
        stop_flow(move);
        at(now_ + fixed.latency + costs_.postcopy_switch, Kind::switched, move);
        return;
      case MemoryTransfer::State::arrived: {
        TimePoint runs = now_;
        if (!state.memory->post_copy()) {
          runs = now_ + fixed.latency + fixed.costs.load + costs_.finish;
          result_.moves[move].downtime = runs - *state.memory->paused();
        }
        stop_sending(move, Kind::guest_runs, runs);
        return;
      }
      case MemoryTransfer::State::failed: return;
    }
    state.left = static_cast<double>(state.memory->part().count());
    state.since = now_;
    const Bandwidth limit = std::min(fixed.streams, state.memory->most());
    if (!state.flows) {
      state.flows = true;
      state.share = 0;
      flow(move, limit);
      return;
    }
    if (limit != state.limit) {
      // Until shares are computed anew it has what it had, within the limit.
      shares_.remove(state.slot);
      state.share = std::min(state.share, limit.to_bytes_per_second());
      flow(move, limit);
    }
    schedule_end(move);
  }

  void flow(std::size_t move, Bandwidth limit) {
    MoveState& state = moves_[move];
    state.limit = limit;
    state.slot = shares_.add(f_.fixed_[move].route, limit);
    slot_owner_.resize(std::max<std::size_t>(slot_owner_.size(), state.slot + 1));
    slot_owner_[state.slot] = static_cast<std::uint32_t>(move);
    shares_change();
  }

  void stop_sending(std::size_t move, Kind then, TimePoint when) {
    stop_flow(move);
    count_stream(move, -1);
    moves_[move].memory.reset();
    at(when, then, move);
  }

  /// Its stream stays open: others count it among those that they share their links with.
  void stop_flow(std::size_t move) {
    MoveState& state = moves_[move];
    ++state.version;
    if (!std::exchange(state.flows, false)) return;
    shares_.remove(state.slot);
    shares_change();
  }

  void count_stream(std::size_t move, int change) {
    const LinkMap::Route& route = f_.fixed_[move].route;
    for (const LinkId link : route) streams_on_[link.index] += static_cast<std::size_t>(change);
  }

  void schedule_end(std::size_t move) {
    MoveState& state = moves_[move];
    ++state.version;
    if (state.share <= 0) return;
    at(state.since + Duration::seconds(state.left / state.share), Kind::part_ends, move,
       state.version);
  }

  void part_ends(std::size_t move) {
    MoveState& state = moves_[move];
    state.memory->part_done(Bandwidth::bytes_per_second(state.share), now_);
    go_on_sending(move);
  }

  void shares_change() {
    if (solve_at_) return;
    solve_at_ = solved_ ? std::max(now_, *solved_ + options_.resolution) : now_;
  }

  void share_out() {
    solve_at_.reset();
    solved_ = now_;
    for (const std::uint32_t slot : shares_.solve()) {
      const std::uint32_t move = slot_owner_[slot];
      MoveState& state = moves_[move];
      state.left = std::max(0.0, state.left - state.share * (now_ - state.since).to_seconds());
      state.since = now_;
      state.share = shares_.share(slot).to_bytes_per_second();
      schedule_end(move);
    }
  }

  void guest_runs(std::size_t move) {
    if (costs_.clean_up == Duration::zero()) return memory_gone(move);
    at(now_ + costs_.clean_up, Kind::memory_gone, move);
  }

  void memory_gone(std::size_t move) {
    MoveState& state = moves_[move];
    const bool function = plugs_function(move);
    const bool ivshmem = plugs_ivshmem(move);
    state.devices = (function ? 1 : 0) + (ivshmem ? 1 : 0);
    if (function) attach(move, true);
    if (ivshmem && (costs_.devices_at_once || !function)) attach(move, false);
    if (state.failed) {
      result_.moves[move].downtime = Duration::zero();
    } else if (!plan_.link_slots.empty()) {
      state.off_links = true;
      limiter_.give_slots(spec(move), state.from, state.to);
      admission_.links_left(spec(move), state.from, state.to);
    }
    if (state.devices == 0) at_rest(move);
    if (state.off_links) look_soon();
  }

  [[nodiscard]] HostId present_host(std::size_t move) const {
    return moves_[move].failed ? moves_[move].from : moves_[move].to;
  }

  void attach(std::size_t move, bool function) {
    const TimePoint done = control_done(
        present_host(move), function ? f_.fixed_[move].costs.attach_vf : costs_.add_ivshmem);
    const Duration redirected = function ? f_.fixed_[move].costs.redirect : Duration::zero();
    const Duration patience = function ? spec(move).timeouts.attach : spec(move).timeouts.ivshmem;
    if (done > now_ + patience || redirected > patience) late_.push_back(move);
    at(done + redirected, Kind::attached, move);
  }

  void device_back(std::size_t move) {
    if (--moves_[move].devices == 0) return at_rest(move);
    if (!costs_.devices_at_once) attach(move, false);
  }

  void at_rest(std::size_t move) {
    const std::size_t index = moves_[move].wave;
    if (++waves_[index].to_come < plan_.waves[index].moves.size()) return;
    for (const std::size_t other : plan_.waves[index].moves) {
      at(control_done(present_host(other), costs_.set_status), Kind::status_back, other);
    }
  }

  void reactivate(std::size_t index) {
    Duration longest;
    for (const std::size_t move : plan_.waves[index].moves) {
      longest = std::max(longest, f_.fixed_[move].costs.reactivate);
    }
    if (longest == Duration::zero()) return wave_ends(index);
    at(now_ + longest, Kind::wave_ends, index);
  }

  void wave_ends(std::size_t index) {
    WaveState& wave = waves_[index];
    wave.running = false;
    wave.ended = true;
    --running_;
    for (const std::size_t move : plan_.waves[index].moves) {
      MoveState& state = moves_[move];
      const VmId vm = spec(move).vm;
      inventory_.release(vm, state.failed ? state.to : state.from);
      if (state.off_links) {
        limiter_.give_rest(spec(move), state.from, state.to);
      } else {
        limiter_.give(spec(move), state.from, state.to);
      }
      hosts_[vm.index] = present_host(move);
      MoveForecast& forecast = result_.moves[move];
      forecast.start = wave.opened;
      forecast.end = now_;
      forecast.arrives = !state.failed;
      end_move(move);
      admission_.move_ended(spec(move), state.from, state.to);
    }
    look_soon();
  }

  void end_move(std::size_t move) {
    const MoveState& state = moves_[move];
    auto& queue = queues_[spec(move).vm.index];
    queue.erase(queue.begin());
    waves_[state.wave].unfinished -= 1;
  }

  Forecast finish() {
    for (const std::size_t move : late_) result_.moves[move].arrives = false;
    TimePoint first = TimePoint::never();
    TimePoint last;
    Duration downtimes;
    std::size_t arrived = 0;
    for (const MoveForecast& move : result_.moves) {
      if (move.end == TimePoint()) {
        ++result_.failed;
        continue;
      }
      first = std::min(first, move.start);
      last = std::max(last, move.end);
      if (!move.arrives) {
        ++result_.failed;
        continue;
      }
      ++arrived;
      downtimes += move.downtime;
    }
    if (first != TimePoint::never()) result_.makespan = last - first;
    if (arrived > 0) result_.mean_downtime = downtimes * (1.0 / static_cast<double>(arrived));
    return std::move(result_);
  }

  const Forecaster& f_;
  const Instance& instance_;
  const HypervisorCosts& costs_;
  const Plan& plan_;
  ForecastOptions options_;
  Inventory inventory_;
  Limiter limiter_;
  Admission admission_;
  FairShares shares_;
  std::vector<WaveState> waves_;
  std::vector<MoveState> moves_;
  std::vector<std::vector<std::size_t>> queues_;  ///< by VM: its moves to come
  std::vector<HostId> hosts_;                     ///< by VM
  std::vector<TimePoint> control_free_;    ///< by host; if they share processors, the first's
  std::vector<std::size_t> streams_on_;    ///< by link: open, whether they send or not
  std::vector<std::uint32_t> slot_owner_;  ///< by slot of `shares_`: the move
  std::vector<std::size_t> late_;          ///< moves whose devices came after their timeout
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::optional<TimePoint> solve_at_;
  std::optional<TimePoint> solved_;
  std::optional<TimePoint> last_opened_;
  TimePoint looks_at_ = TimePoint::never();
  bool looks_soon_ = false;
  std::size_t running_ = 0;
  std::size_t next_offer_ = 0;  ///< of a sequential plan
  bool offered_ = false;        ///< and whether its next wave is in `admission_`
  std::uint64_t asked_ = 0;
  std::uint64_t handled_ = 0;
  TimePoint now_;
  Forecast result_;
};

Forecast Forecaster::run(const Plan& plan, const ForecastOptions& options) const {
  return ForecastRun(*this, plan, options).run();
}

}  // namespace ferry
