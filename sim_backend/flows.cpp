#include "sim_backend/flows.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <exception>
#include <simgrid/kernel/resource/Model.hpp>
#include <simgrid/s4u.hpp>
#include <string>
#include <utility>
#include <vector>

#include "core/faults/cluster_faults.hpp"
#include "core/ports/world_error.hpp"
#include "core/topology/link_map.hpp"
#include "core/units/check.hpp"
#include "sim_backend/link_meter.hpp"
#include "sim_backend/networks.hpp"

namespace ferry {
namespace {

namespace s4u = simgrid::s4u;
namespace resource = simgrid::kernel::resource;

/// The engine takes Ctrl-C and crashes for itself when it is made; both are the caller's.
class KeepSignalHandlers {
 public:
  KeepSignalHandlers() {
    sigaction(SIGINT, nullptr, &interrupt_);
    sigaction(SIGSEGV, nullptr, &segmentation_);
  }
  ~KeepSignalHandlers() {
    sigaction(SIGINT, &interrupt_, nullptr);
    sigaction(SIGSEGV, &segmentation_, nullptr);
  }
  KeepSignalHandlers(const KeepSignalHandlers&) = delete;
  KeepSignalHandlers& operator=(const KeepSignalHandlers&) = delete;

 private:
  struct sigaction interrupt_ {};
  struct sigaction segmentation_ {};
};

std::unique_ptr<s4u::Engine> make_engine(bool crosstraffic) {
  const KeepSignalHandlers keep;
  std::vector<std::string> words = {
      "ferry",
      "--log=root.threshold:error",
      "--cfg=debug/verbose-exit:0",
      // Links share max-min fairly and give what they promise; no correction for TCP's headers and
      // slow start, which `streams` of the platform file measures end to end.
      "--cfg=network/model:CM02",
      fmt::format("--cfg=network/crosstraffic:{}", crosstraffic ? 1 : 0),
  };
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  int count = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  return std::make_unique<s4u::Engine>(&count, arguments.data());
}

/// With no more than so many communications under way the engine may forget those that end: then
/// that costs it less than starting one did, or, of the many that jobs' messages may be, less than
/// what keeping them takes of memory.
constexpr std::uint64_t few_for_streams = 500;
constexpr std::uint64_t few_for_messages = 2'000;

// An action of the engine carries what is ours of it: to look that up by the action would take
// several more lines of memory for each flow. Deprecated for no reason but that nobody was known to
// use it.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
void set_owner(resource::Action& action, void* flow) { action.set_data(flow); }
void* owner_of(const resource::Action& action) { return action.get_data(); }
#pragma GCC diagnostic pop

std::int64_t engine_nanoseconds() { return std::llround(s4u::Engine::get_clock() * 1e9); }

}  // namespace

struct Flows::Implementation {
  /// `idle` -> (`waiting` ->) `under_way` -> `ended` -> `under_way` again at the same instant, or
  /// `idle`.
  enum class State {
    idle,
    waiting,    ///< for the engine's clock to come to ours, or for a link to come up
    under_way,  ///< the engine moves it
    ended,      ///< the last byte went through just now; the engine still has the action
  };
  struct Flow {
    Path path;
    State state = State::idle;
    Bytes bytes;  // of the present part
    s4u::CommPtr communication;
    resource::Action* action = nullptr;  // the engine's, while under way or ended
    double rate = 0;                     // when the last part ended
    Bytes left;                          // of the present part, when the link went down
    bool background = false;
    SimTask* waiter = nullptr;
    std::function<void()> on_end;
    LinkMap::Route route;  // where links are metered
    Bytes unmetered;       // of the present part, what no link has been charged for
  };

  /// Where links are metered: their names, and what they carried.
  struct Metering {
    LinkMap links;
    LinkMeter meter;
  };

  /// The engine asks its models for their next event, then moves its clock to the first of them.
  /// This model stands first in that row and speaks for our tasks: asked, it runs what is due and
  /// answers when the next of our events is. So tasks run inside the engine's step, without any
  /// switch between engine actors, and what they start is there when the engine's other models are
  /// asked.
  class LocalEvents final : public resource::Model {
   public:
    explicit LocalEvents(Implementation& owner) : resource::Model("ferry"), owner_(owner) {}
    double next_occurring_event(double clock) override {
      const TimePoint until = owner_.pump();
      if (until == TimePoint::never()) return -1.0;
      return std::max(0.0, until.to_seconds() - clock);
    }
    void update_actions_state(double /*now*/, double /*delta*/) override { ++owner_.engine_steps; }

   private:
    Implementation& owner_;
  };

  Implementation(Scheduler& tasks, const Instance& world, const SimOptions& settings)
      : scheduler(tasks),
        instance(world),
        options(settings),
        engine(make_engine(settings.crosstraffic)),
        faults(world) {
    // Before the networks, whose making adds the engine's own models.
    engine->add_model(std::make_shared<LocalEvents>(*this));
    networks = std::make_unique<Networks>(instance);
    for (resource::Model* const model : engine->get_all_models()) {
      if (model->get_name().starts_with("Network")) network_model = model;
    }
    check(network_model != nullptr && engine->get_all_models().front()->get_name() == "ferry",
          "the engine has a network model, and asks ours first");
    s4u::Engine::on_time_advance_cb([this](double /*delta*/) { engine_advanced(); });
    out.resize(instance.networks.size(), std::vector<std::uint32_t>(instance.hosts.size(), 0));
    in = out;
    for (std::uint32_t host = 0; host < instance.hosts.size() && !faults.empty(); ++host) {
      for (const TimePoint at : faults.changes(HostId{host})) {
        link_events.push_back(std::make_unique<CallbackEvent>([this, host] {
          to_change.push_back(HostId{host});
          scheduler.interrupt();
        }));
        scheduler.schedule(*link_events.back(), at);
      }
    }
    if (settings.link_usage) metering.emplace(Metering{LinkMap(instance), {}});
  }
  ~Implementation() {
    for (const auto& event : link_events) {
      if (event->scheduled()) scheduler.unschedule(*event);
    }
  }
  Implementation(const Implementation&) = delete;
  Implementation& operator=(const Implementation&) = delete;

  // --- Links that go wrong ---

  [[nodiscard]] bool path_is_up(const Path& path) const {
    return faults.empty() ||
           faults.share({path.network.index, path.from, path.to}, scheduler.now()) > Ratio(0);
  }

  /// Gives the engine's links of these hosts what is left of their bandwidth, or turns them off:
  /// then the engine fails what goes over them.
  void change_links() {
    if (!to_change.empty()) meter_until(scheduler.now());
    for (const HostId host : std::exchange(to_change, {})) {
      for (std::uint32_t i = 0; i < instance.networks.size(); ++i) {
        const double share = faults.link_share(i, host, scheduler.now()).value();
        const double whole = instance.networks[i].link.bandwidth.to_bytes_per_second();
        if (share == 0) note_left(NetworkId{i}, host);
        for (s4u::Link* const link : networks->links_of(NetworkId{i}, host)) {
          if (share == 0) {
            if (link->is_on()) link->turn_off();
          } else {
            if (!link->is_on()) link->turn_on();
            link->set_bandwidth(whole * share);
          }
        }
      }
      must_digest = true;
    }
    for (Flow* const flow : std::exchange(stalled, {})) begin(*flow);
  }

  /// The engine forgets what is left of a communication that it fails.
  void note_left(NetworkId network, HostId host) {
    for (const auto& flow : flows) {
      const Path& path = flow->path;
      if (flow->state != State::under_way || path.network != network) continue;
      if (path.from != host && path.to != host) continue;
      flow->left = Bytes(static_cast<std::uint64_t>(
          std::llround(std::max(0.0, flow->communication->get_remaining()))));
      meter(*flow, flow->left);
    }
  }

  // --- Flows ---

  /// Our clock may be ahead of the engine's; then what concerns it waits until it has caught up.
  [[nodiscard]] bool engine_is_here() const {
    return scheduler.now().since_start().count_nanoseconds() <= engine_nanoseconds();
  }

  std::uint32_t open(const Path& path) {
    check(path.from != path.to, "a flow goes from one host to another");
    std::uint32_t slot = 0;
    if (free_slots.empty()) {
      slot = static_cast<std::uint32_t>(flows.size());
      flows.push_back(std::make_unique<Flow>());
    } else {
      slot = free_slots.back();
      free_slots.pop_back();
    }
    flows[slot]->path = path;
    if (metering) {
      flows[slot]->route = metering->links.route_in(path.network.index, path.from, path.to);
    }
    ++out[path.network.index][path.from.index];
    ++in[path.network.index][path.to.index];
    return slot;
  }

  void close(std::uint32_t slot) {
    Flow& flow = *flows[slot];
    stop(flow);
    if (flow.state == State::ended) retire(flow);
    --out[flow.path.network.index][flow.path.from.index];
    --in[flow.path.network.index][flow.path.to.index];
    flow = Flow{};
    free_slots.push_back(slot);
  }

  void send(Flow& flow, Bytes bytes) {
    flow.bytes = bytes;
    flow.unmetered = bytes;
    ++started;
    if (flow.state == State::ended) {
      extend(flow);
    } else if (engine_is_here() && to_change.empty()) {
      begin(flow);
    } else {
      flow.state = State::waiting;
      to_begin.push_back(&flow);
      scheduler.interrupt();
    }
  }

  void begin(Flow& flow) {
    const Path& path = flow.path;
    if (!path_is_up(path)) {
      flow.state = State::waiting;
      stalled.push_back(&flow);
      return;
    }
    flow.communication = s4u::Comm::sendto_init(networks->host(path.network, path.from),
                                                networks->host(path.network, path.to));
    flow.communication->set_payload_size(flow.bytes.count());
    flow.communication->detach();  // and start
    flow.action = &network_model->get_started_action_set()->back();
    check(flow.action->get_activity() == flow.communication->get_impl(),
          "the engine's newest action is the communication's that just started");
    const Bandwidth link = instance.networks[path.network.index].link.bandwidth;
    if (path.limit < link) flow.action->set_bound(path.limit.to_bytes_per_second());
    set_owner(*flow.action, &flow);
    goes_on(flow);
  }

  /// Gives a communication that has just sent its last byte another part, as if it had been part of
  /// it from the start: what it shares with whom has not changed, so nothing has to be solved
  /// again.
  void extend(Flow& flow) {
    resource::Action& action = *flow.action;
    const auto bytes = static_cast<double>(flow.bytes.count());
    action.set_cost(bytes);
    action.set_remains(bytes);
    action.set_state(resource::Action::State::STARTED);
    action.set_last_update();
    network_model->get_action_heap().insert(&action, s4u::Engine::get_clock() + bytes / flow.rate,
                                            resource::ActionHeap::Type::normal);
    goes_on(flow);
  }

  void goes_on(Flow& flow) {
    flow.state = State::under_way;
    ++live;
    ++engine_changes;
    scheduler.interrupt();
  }

  /// Ends the present part where it is; returns what was not sent of it.
  Bytes stop(Flow& flow) {
    Bytes left;
    if (flow.state == State::under_way) {
      const double ahead = scheduler.now().to_seconds() - s4u::Engine::get_clock();
      // Its share does not change before the engine's next event, which is not before our now.
      const double since = flow.action->get_rate() * std::max(0.0, ahead);
      left = Bytes(static_cast<std::uint64_t>(
          std::llround(std::max(0.0, flow.communication->get_remaining() - since))));
      meter_until(scheduler.now());
      meter(flow, left);
      --live;
      set_owner(*flow.action, nullptr);
      flow.action = nullptr;
      to_cancel.push_back(std::move(flow.communication));
      scheduler.interrupt();
      if (engine_is_here()) cancel_given_up();
      flow.state = State::idle;
    } else if (flow.state == State::waiting) {
      left = flow.bytes;
      std::erase(to_begin, &flow);
      std::erase(stalled, &flow);
      flow.state = State::idle;
    }
    flow.waiter = nullptr;
    flow.on_end = nullptr;
    return left;
  }

  void cancel_given_up() {
    for (s4u::CommPtr& communication : to_cancel) {
      communication->cancel();
      must_digest = true;
      forgotten.push_back(std::move(communication));
    }
    to_cancel.clear();
  }

  /// Leaves a communication that has ended to the engine, which speaks to it once more.
  void retire(Flow& flow) {
    set_owner(*flow.action, nullptr);
    const std::uint64_t few = flow.background ? few_for_messages : few_for_streams;
    if (live + parked > few) park(*flow.action);
    flow.action = nullptr;
    forgotten.push_back(std::move(flow.communication));
    flow.state = State::idle;
  }

  /// Keeps the engine from dealing with a communication that has ended: to forget one it goes over
  /// the list of all (measured: 8 ns for each, five sixths of the time with 25,000). What is left
  /// of it shares nothing, and is freed with the engine.
  void park(resource::Action& action) {
    ++parked;
    action.set_activity(nullptr);
    action.suspend();
  }

  void take_ended(resource::Action::StateSet& actions, bool failed) {
    for (resource::Action& action : actions) {
      auto* const owner = static_cast<Flow*>(owner_of(action));
      if (owner == nullptr) continue;  // stopped by us
      Flow& flow = *owner;
      --live;
      if (failed) {
        // The rest goes when the link is up again, unless its sender gives it up before.
        retire(flow);
        flow.bytes = flow.left;
        flow.state = State::waiting;
        stalled.push_back(&flow);
        continue;
      }
      flow.rate = action.get_rate();
      meter(flow, Bytes());
      flow.state = State::ended;
      ended.push_back(&flow);
    }
  }

  // --- Metering ---

  /// Charges the links with what the flow has sent since it was last asked; `left` of its present
  /// part is still to come.
  void meter(Flow& flow, Bytes left) {
    if (!metering || left >= flow.unmetered) return;
    metering->meter.add(flow.route, flow.unmetered - left);
    flow.unmetered = left;
  }

  /// Ends every interval up to `now`, with what each flow sent in it. Asks the engine without
  /// changing it: a run with meters is the run without.
  void meter_until(TimePoint now) {
    if (!metering) return;
    for (TimePoint end = metering->meter.boundary(); end <= now; end = metering->meter.boundary()) {
      for (const auto& flow : flows) {
        if (flow->state == State::under_way) meter(*flow, left_at(*flow, end.to_seconds()));
      }
      metering->meter.begin_next_interval();
    }
  }

  /// What is left of the present part at a time between the engine's last event and its present
  /// one, or its next: rates do not change in between.
  [[nodiscard]] static Bytes left_at(const Flow& flow, double time) {
    const resource::Action& action = *flow.action;
    const double left = action.get_state() == resource::Action::State::FINISHED
                            ? action.get_rate() * (s4u::Engine::get_clock() - time)
                            : action.get_remains_no_update() -
                                  action.get_last_value() * (time - action.get_last_update());
    return Bytes(static_cast<std::uint64_t>(std::llround(std::max(0.0, left))));
  }

  // --- Time ---

  /// The engine's clock has moved and its models know what has ended; it has not yet dealt with
  /// those. What tasks send right after an end goes on in the same communication, so they run now.
  void engine_advanced() {
    if (stopped) return;
    follow_engine();
    meter_until(scheduler.now());
    take_ended(*network_model->get_finished_action_set(), false);
    take_ended(*network_model->get_failed_action_set(), true);
    if (ended.empty()) return;
    for (Flow* const flow : ended) {
      if (flow->waiter != nullptr) {
        if (Scheduler::blocked(*flow->waiter)) scheduler.wake(*flow->waiter, Wake::ready);
      } else {
        flow->on_end();
      }
    }
    scheduler.run_due();
    for (Flow* const flow : ended) {
      if (flow->state == State::ended) retire(*flow);
    }
    ended.clear();
  }

  void follow_engine() {
    const TimePoint engine_now = TimePoint::at(Duration::nanoseconds(engine_nanoseconds()));
    if (engine_now > scheduler.now()) scheduler.advance_to(engine_now);
  }

  /// When the engine's next flow ends, if none starts or is given up before. Asking is cheap while
  /// nothing has changed since it was last asked.
  TimePoint next_end() {
    if (live == 0) return TimePoint::never();
    const double clock = s4u::Engine::get_clock();
    const double delta = network_model->next_occurring_event(clock);
    constexpr double last = 9e18;  // nanoseconds; what comes later is beyond what a time can say
    const double end = (clock + delta) * 1e9;
    if (delta < 0 || end > last) return TimePoint::never();
    return TimePoint::at(Duration::nanoseconds(static_cast<std::int64_t>(end)));
  }

  /// Runs our side as far as it can go without the engine; returns when the engine must come back
  /// to us at the latest. `never()`: after its own next event, or if it has none, not at all.
  TimePoint pump() {
    forgotten.clear();
    must_digest = false;
    if (stopped) return TimePoint::never();
    follow_engine();
    if (engine_is_here()) {
      cancel_given_up();
      change_links();
      for (Flow* const flow : std::exchange(to_begin, {})) begin(*flow);
    }
    scheduler.run_due();
    if ((must_digest || !to_change.empty()) && scheduler.live_tasks() > 0) return scheduler.now();
    // Until then, unless something concerns the engine, our side can go on alone.
    TimePoint engine_next = next_end();
    for (;;) {
      if (scheduler.live_tasks() == 0 || broken) return stop_all();
      if (!between_steps()) {
        if (!to_begin.empty() || !to_cancel.empty() || !to_change.empty()) return scheduler.now();
        const TimePoint next = scheduler.next_event();
        if (live > 0 && next >= engine_next) return next;
        if (next != TimePoint::never()) {
          scheduler.advance_to(next);
        } else if (!scheduler.end_standstill()) {
          return stop_all();  // nothing will ever happen again
        }
      }
      const std::uint64_t changes = engine_changes;
      if (options.between_steps) {
        scheduler.run_due();
      } else {
        scheduler.run_until(live > 0 ? engine_next : TimePoint::never());
      }
      if (must_digest && scheduler.live_tasks() > 0) return scheduler.now();
      if (changes != engine_changes) engine_next = next_end();
    }
  }

  /// Gives the caller its chance to cancel tasks; true if that made something due.
  bool between_steps() {
    if (!options.between_steps) return false;
    try {
      options.between_steps();
    } catch (...) {  // must not pass through the engine's frames; `run` rethrows it
      broken = std::current_exception();
      return true;
    }
    return scheduler.something_due();
  }

  /// With no flow left the engine ends by itself.
  TimePoint stop_all() {
    stopped = true;
    for (const auto& flow : flows) stop(*flow);
    cancel_given_up();
    return TimePoint::never();
  }

  Scheduler& scheduler;
  const Instance& instance;
  const SimOptions& options;
  std::unique_ptr<s4u::Engine> engine;
  std::unique_ptr<Networks> networks;
  ClusterFaults faults;
  std::vector<std::unique_ptr<CallbackEvent>> link_events;
  resource::Model* network_model = nullptr;

  std::vector<std::unique_ptr<Flow>> flows;  // by slot
  std::vector<std::uint32_t> free_slots;
  std::vector<Flow*> to_begin;
  std::vector<Flow*> stalled;     // until a link is up again
  std::vector<HostId> to_change;  // whose links are no longer what they were
  std::vector<Flow*> ended;
  std::vector<s4u::CommPtr> to_cancel;
  std::vector<s4u::CommPtr> forgotten;  // until the engine has forgotten them too
  std::vector<std::vector<std::uint32_t>> out;
  std::vector<std::vector<std::uint32_t>> in;

  std::optional<Metering> metering;
  std::uint64_t live = 0;
  std::uint64_t parked = 0;  ///< ended, and still in the engine's list
  std::uint64_t started = 0;
  std::uint64_t engine_changes = 0;  // flows begun and extended
  std::uint64_t engine_steps = 0;
  /// A cancelled communication keeps its share until the engine has dealt with it, at the end of
  /// its step: it must take one of no length before anything else.
  bool must_digest = false;
  bool stopped = false;
  std::exception_ptr broken;
};

Flows::Flows(Scheduler& scheduler, const Instance& instance, const SimOptions& options)
    : implementation_(std::make_unique<Implementation>(scheduler, instance, options)) {}

Flows::~Flows() = default;

std::optional<NetworkId> Flows::network_for(Transport transport) const {
  const std::vector<Network>& networks = implementation_->instance.networks;
  for (std::uint32_t i = 0; i < networks.size(); ++i) {
    const std::vector<Transport>& carries = networks[i].carries;
    if (std::find(carries.begin(), carries.end(), transport) != carries.end()) return NetworkId{i};
  }
  return std::nullopt;
}

NetworkId Flows::network_for_messages() const {
  const std::vector<Network>& networks = implementation_->instance.networks;
  for (std::uint32_t i = 0; i < networks.size(); ++i) {
    if (networks[i].carries_mpi) return NetworkId{i};
  }
  return network_for(Transport::rdma).value_or(NetworkId{0});
}

Bandwidth Flows::link_bandwidth(NetworkId network) const {
  return implementation_->instance.networks[network.index].link.bandwidth;
}

Duration Flows::latency(NetworkId network, HostId from, HostId to) const {
  const Duration link = implementation_->instance.networks[network.index].link.latency;
  return Duration::nanoseconds(link.count_nanoseconds() *
                               implementation_->networks->hops(network, from, to));
}

std::uint32_t Flows::flows_out(NetworkId network, HostId host) const {
  return implementation_->out[network.index][host.index];
}

std::uint32_t Flows::flows_in(NetworkId network, HostId host) const {
  return implementation_->in[network.index][host.index];
}

Flows::Stream::Stream(Flows& flows, const Path& path)
    : flows_(flows), slot_(flows.implementation_->open(path)) {}

Flows::Stream::~Stream() { flows_.implementation_->close(slot_); }

FlowEnd Flows::Stream::send(Bytes bytes, TimePoint deadline, Cancellable cancellable) {
  if (bytes == Bytes(0)) return {};
  Implementation& flows = *flows_.implementation_;
  Implementation::Flow& flow = *flows.flows[slot_];
  flow.waiter = &flows.scheduler.current();
  flows.send(flow, bytes);
  const Wake wake = flows.scheduler.block("a transfer", deadline, cancellable);
  if (wake == Wake::ready) {
    flow.waiter = nullptr;
    return {FlowOutcome::done, bytes, Bandwidth::bytes_per_second(flow.rate)};
  }
  const Bytes left = flows.stop(flow);
  return {
      wake == Wake::cancelled ? FlowOutcome::cancelled : FlowOutcome::timed_out, bytes - left, {}};
}

std::unique_ptr<Flows::Background> Flows::start(const Path& path, Bytes bytes,
                                                std::function<void()> on_end) {
  const std::uint32_t slot = implementation_->open(path);
  implementation_->flows[slot]->background = true;
  implementation_->flows[slot]->on_end = std::move(on_end);
  implementation_->send(*implementation_->flows[slot], bytes);
  return std::unique_ptr<Background>(new Background(*this, slot));
}

Flows::Background::~Background() { flows_.implementation_->close(slot_); }

void Flows::run() {
  Implementation& flows = *implementation_;
  const KeepSignalHandlers keep;
  flows.engine->run();
  if (flows.broken) std::rethrow_exception(flows.broken);
  if (flows.scheduler.live_tasks() > 0) {
    throw WorldError("the simulation stands still: nothing is left to happen, but " +
                     flows.scheduler.blocked_tasks());
  }
}

std::uint64_t Flows::flows_started() const { return implementation_->started; }
std::uint64_t Flows::engine_steps() const { return implementation_->engine_steps; }

LinkUsage Flows::link_usage() const {
  const auto& metering = implementation_->metering;
  return metering ? metering->meter.usage(metering->links, implementation_->instance) : LinkUsage();
}

}  // namespace ferry
