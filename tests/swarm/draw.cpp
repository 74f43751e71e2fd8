#include "tests/swarm/draw.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "core/migration/journal_history.hpp"
#include "core/ports/randomness.hpp"
#include "core/scenario/document.hpp"
#include "core/scenario/writer.hpp"
#include "core/topology/inventory.hpp"
#include "tests/contract/small_cluster.hpp"
#include "tests/swarm/phases.hpp"

namespace ferry {
namespace {

using Kind = FaultKind;

Duration ms(std::uint64_t count) {
  return Duration::milliseconds(static_cast<std::int64_t>(count));
}

class Dice {
 public:
  Dice(std::uint64_t seed, std::string_view name) : stream_(seed, name) {}
  std::uint64_t below(std::uint64_t bound) { return stream_.next_below(bound); }
  /// Both included.
  std::uint64_t between(std::uint64_t low, std::uint64_t high) {
    return low + below(high - low + 1);
  }
  bool one_in(std::uint64_t many) { return below(many) == 0; }
  template <class T>
  T of(std::initializer_list<T> values) {
    return values.begin()[below(values.size())];
  }
  template <class T>
  const T& of(const std::vector<T>& values) {
    return values[below(values.size())];
  }
  Duration time_below(Duration bound) { return bound * stream_.next_unit(); }

 private:
  RandomStream stream_;
};

void draw_platform(Dice& dice, Platform& platform) {
  platform = small_cluster().platform;
  HypervisorCosts& costs = platform.hypervisor;
  costs.prepare = ms(dice.between(5, 100));
  costs.finish = ms(dice.between(1, 30));
  costs.clean_up = ms(dice.between(0, 60));
  costs.serial = Ratio(0.1 * static_cast<double>(dice.below(4)));
  costs.devices_at_once = dice.one_in(2);
  costs.set_status = ms(dice.between(1, 40));
  costs.detach_vf = ms(dice.between(5, 80));
  costs.remove_ivshmem = ms(dice.between(2, 60));
  costs.add_ivshmem = ms(dice.between(2, 60));
  costs.postcopy_switch = ms(dice.between(1, 20));
  costs.keepalive = ms(dice.of({50U, 300U, 2000U}));
  platform.networks[0].carries = {Transport::tcp};
  Network fast = platform.networks[0];
  fast.name = "fast";
  fast.carries = {Transport::ipoib, Transport::rdma};
  fast.carries_mpi = true;
  if (dice.one_in(2)) fast.topology = FatTree{2, 2};
  platform.networks.push_back(fast);
  for (Network& network : platform.networks) {
    network.link.bandwidth = Bandwidth::bytes_per_second(dice.of({0.5e9, 1.25e9, 5e9}));
  }
}

void draw_memory(Dice& dice, Migration& migration) {
  migration.transport =
      dice.of({Transport::tcp, Transport::tcp, Transport::ipoib, Transport::rdma});
  MemoryOptions& memory = migration.memory;
  memory.pin_all = dice.one_in(2);
  if (migration.transport == Transport::rdma) {
    memory.mode = dice.of({MemoryMode::precopy, MemoryMode::offline});
    return;
  }
  memory.mode = dice.of({MemoryMode::precopy, MemoryMode::precopy, MemoryMode::postcopy,
                         MemoryMode::postcopy, MemoryMode::hybrid, MemoryMode::offline});
  if (memory.mode != MemoryMode::precopy) return;
  memory.auto_converge = dice.one_in(4);
  if (dice.one_in(4)) {
    memory.streams = 2;
    if (dice.one_in(2)) memory.compression = Compression::zstd;
  } else if (dice.one_in(4)) {
    memory.compression = Compression::xbzrle;
  } else if (dice.one_in(3)) {
    memory.on_stall = {OnStall::auto_converge, OnStall::postcopy};
  }
}

void draw_migrations(Dice& dice, Scenario& scenario, std::uint32_t vms, std::uint32_t hosts) {
  const std::uint32_t groups = vms > 2 && dice.one_in(2) ? 2 : 1;
  const std::uint32_t first_part = groups == 2 ? vms / 2 : vms;
  for (std::uint32_t group = 0; group < groups; ++group) {
    Migration migration;
    migration.name = group == 0 ? "leave" : "follow";
    const std::uint32_t low = group == 0 ? 0 : first_part;
    const std::uint32_t high = group == 0 ? first_part - 1 : vms - 1;
    migration.vms.text = fmt::format("vm[{}-{}]", low, high);
    if (dice.one_in(3)) migration.to = Reference{fmt::format("host[{}-{}]", hosts / 2, hosts - 1)};
    migration.place = dice.of({Place::spread, Place::pack, Place::in_order});
    migration.at.at = ms(100 * dice.below(4));
    draw_memory(dice, migration);
    const Duration patience = Duration::seconds(3);
    migration.timeouts = {patience, patience, patience, Duration::seconds(12), patience};
    migration.retry.attempts = dice.one_in(4) ? 1 : 0;
    migration.retry.wait = ms(dice.of({10U, 500U}));
    scenario.migrations.push_back(migration);
  }
}

void draw_schedule(Dice& dice, Schedule& schedule) {
  schedule.order = dice.of({Order::sequential, Order::parallel, Order::parallel, Order::planned});
  schedule.batch = dice.of({Batch::vm, Batch::vm, Batch::job, Batch::all});
  const auto limit = [&]() -> Limit {
    return dice.one_in(4) ? Limit(static_cast<std::uint32_t>(dice.between(1, 3))) : std::nullopt;
  };
  if (schedule.batch == Batch::vm) schedule.limits = {limit(), limit(), limit(), limit()};
  schedule.stagger = ms(dice.of({0U, 0U, 20U}));
}

void draw_workload(Dice& dice, Workload& does) {
  does.type = dice.of({WorkloadType::iterate, WorkloadType::iterate, WorkloadType::iterate,
                       WorkloadType::osu_latency, WorkloadType::osu_bw, WorkloadType::osu_bcast,
                       WorkloadType::osu_allreduce, WorkloadType::overlap});
  does.iterations = static_cast<std::uint32_t>(dice.between(3, 30));
  does.warm_up = static_cast<std::uint32_t>(dice.below(3));
  does.message = Bytes(dice.of({8U, 600U, 20'000U, 300'000U, 2'000'000U}));
  does.sizes = {Bytes(dice.of({0U, 8U, 1000U})), Bytes(dice.of({20'000U, 300'000U}))};
  does.rounds = static_cast<std::uint32_t>(dice.between(1, 8));
  does.exchanges = static_cast<std::uint32_t>(dice.between(1, 8));
  does.share = Ratio(dice.of({0.1, 0.5, 0.9}));
  does.collective = dice.of({IteratedCollective::barrier, IteratedCollective::bcast,
                             IteratedCollective::reduce, IteratedCollective::allreduce,
                             IteratedCollective::gather, IteratedCollective::scatter,
                             IteratedCollective::allgather, IteratedCollective::alltoall,
                             IteratedCollective::reduce_scatter, IteratedCollective::scan});
  does.compute = ms(dice.of({1U, 20U, 100U}));
  // Longer than what waits for answers.
  if (dice.one_in(10)) does.compute = Duration::seconds(8);
  does.jitter = Ratio(dice.of({0.0, 0.5}));
}

void draw_talking_jobs(Dice& dice, Scenario& scenario, std::uint32_t vms) {
  for (std::uint64_t i = dice.of({1U, 1U, 2U, 3U}); i > 0; --i) {
    Job job;
    job.name = fmt::format("job{}", static_cast<char>('a' + i));
    job.vms.text = vms > 2 && dice.one_in(3) ? fmt::format("vm[0-{}]", vms - 2) : "vm";
    job.strategy = dice.of({Strategy::progress_engine, Strategy::migration_thread});
    job.suspend = dice.of({Suspend::peers, Suspend::job});
    job.reconnect = dice.of({Reconnect::lazy, Reconnect::eager});
    job.channels.mode = dice.of({ChannelMode::hybrid, ChannelMode::two_layer});
    job.ranks = vms == 1 ? 2 : static_cast<std::uint32_t>(dice.between(1, 2));
    draw_workload(dice, job.workload);
    const WorkloadType type = job.workload.type;
    if (type == WorkloadType::osu_latency || type == WorkloadType::osu_bw) {
      if (vms > 1) job.vms.text = "vm[0-1]";
      job.ranks = vms > 1 ? 1 : 2;
    }
    if (type == WorkloadType::overlap) job.ranks = 2;
    if (job.workload.type == WorkloadType::iterate && dice.one_in(12)) {
      job.strategy = Strategy::none;
    }
    scenario.jobs.push_back(job);
  }
}

/// A cluster in which, without faults, every move completes.
Scenario draw_cluster(Dice& dice, std::uint64_t seed, Ranks ranks) {
  Scenario scenario;
  scenario.name = fmt::format("swarm-{}", seed);
  scenario.seed = seed;
  draw_platform(dice, scenario.platform);
  const bool talks = ranks == Ranks::send_messages;
  if (talks) {
    RuntimeCosts& costs = scenario.platform.mpi.runtime;
    costs.call = Duration::nanoseconds(50);
    costs.lock = Duration::nanoseconds(30);
    costs.poll = Duration::nanoseconds(200);
    costs.reduce = Bandwidth::bytes_per_second(2e9);
  } else {
    scenario.platform.channels = {};
  }
  const auto hosts = static_cast<std::uint32_t>(dice.between(4, 7));
  scenario.cluster.hosts.push_back(
      {.name = "host",
       .count = hosts,
       .numbered = true,
       .cores = 32,
       .memory = Bytes::gibi(8),
       .virtual_functions = static_cast<std::uint32_t>(dice.of({4U, 8U})),
       .ivshmem = Bytes::gibi(1)});
  const auto vms = static_cast<std::uint32_t>(dice.between(1, 5));
  VmGroup group;
  group.name = "vm";
  group.count = vms;
  group.numbered = true;
  group.on.text = fmt::format("host[0-{}]", hosts / 2 - 1);
  group.spread = dice.of({Spread::round_robin, Spread::pack});
  group.memory.law = Bytes::mebi(dice.between(32, 160));
  group.virtual_functions = dice.one_in(8) && !talks ? 0 : 1;
  group.ivshmem = Bytes::mebi(dice.one_in(8) ? 0 : 8);
  group.pages.zero = Ratio(0.25);
  group.pages.working_set.law = Bytes::mebi(4);
  const bool has_job = dice.one_in(2) || talks;
  if (has_job) group.pages.dirty_rate.law = Bandwidth::bytes_per_second(20e6);
  group.pages.idle_dirty_rate.law = Bandwidth::bytes_per_second(1e6);
  scenario.vms.push_back(group);
  if (talks) draw_talking_jobs(dice, scenario, vms);
  if (has_job && !talks) {
    Job job;
    job.name = "job";
    job.vms.text = "vm";
    if (vms % 2 == 0 && dice.one_in(2)) {
      job.count = 2;
      job.numbered = true;
    }
    job.strategy = dice.of({Strategy::progress_engine, Strategy::migration_thread});
    job.suspend = dice.of({Suspend::peers, Suspend::job});
    job.reconnect = dice.of({Reconnect::lazy, Reconnect::eager});
    job.workload.timed.next_call.law = ms(dice.below(60));
    scenario.jobs.push_back(job);
  }
  draw_migrations(dice, scenario, vms, hosts);
  if (talks) {  // benchmarks are short
    for (Migration& migration : scenario.migrations) migration.at.at = ms(dice.below(30));
  }
  draw_schedule(dice, scenario.schedule);
  if (vms >= 2 && dice.one_in(8)) {
    Constraint constraint;
    std::vector<Reference>& list = dice.one_in(2) ? constraint.apart : constraint.before;
    list = {{"vm0"}, {"vm1"}};
    scenario.constraints.push_back(constraint);
  }
  return scenario;
}

/// Drawn apart: all else of a seed is as it is without.
void draw_bandwidth_limits(std::uint64_t seed, Scenario& scenario) {
  Dice dice(seed, "swarm bandwidth limits");
  for (Migration& migration : scenario.migrations) {
    if (!dice.one_in(4)) continue;
    migration.memory.bandwidth_limit = Bandwidth::bytes_per_second(dice.of({1e8, 3e8}));
  }
}

bool is_of_phase(Kind kind) {
  return kind == Kind::fails_once || kind == Kind::fails_always || kind == Kind::times_out;
}

Fault phase_fault(Dice& dice, Phase phase, Kind kind, const std::string& vm) {
  Fault fault;
  fault.phase = phase;
  fault.vm.text = vm;
  if (kind == Kind::fails_once) fault.fail = Fault::Fail::once;
  if (kind == Kind::fails_always) fault.fail = Fault::Fail::always;
  if (kind == Kind::times_out) {
    fault.stall = Duration::seconds(phase == Phase::migration ? 13.0 : 3.5) + ms(dice.below(900));
  }
  return fault;
}

bool comes_to(const VmSpec& vm, Phase phase) {
  switch (phase) {
    case Phase::detach_vf:
    case Phase::attach_vf: return vm.virtual_function;
    case Phase::remove_ivshmem:
    case Phase::add_ivshmem: return vm.ivshmem > Bytes(0);
    default: return true;
  }
}

void draw_phase_faults(Dice& dice, const AllowedEnds& target, const Instance& instance,
                       Scenario& scenario) {
  const auto add = [&](Phase phase, Kind kind) {
    const VmSpec& vm = instance.vms[instance.moves[dice.below(instance.moves.size())].vm.index];
    const bool another = std::any_of(
        scenario.faults.begin(), scenario.faults.end(),
        [&](const Fault& fault) { return fault.phase == phase && fault.vm.text == vm.name; });
    if (comes_to(vm, phase) && !another) {
      scenario.faults.push_back(phase_fault(dice, phase, kind, vm.name));
    }
  };
  if (is_of_phase(target.fault)) add(target.phase, target.fault);
  if (!dice.one_in(3)) return;
  for (std::uint64_t i = dice.between(1, 2); i > 0; --i) {
    add(all_phases[dice.below(phase_count)],
        dice.of({Kind::fails_once, Kind::fails_always, Kind::times_out}));
  }
}

/// The scenario as a reader of its YAML sees it; none: it cannot be, or not be planned.
std::optional<Drawn> read(const Scenario& scenario) {
  Drawn drawn;
  drawn.yaml = write_resolved(scenario, {});
  auto loaded = read_scenario(drawn.yaml, "swarm.yaml");
  if (!loaded) return std::nullopt;
  drawn.scenario = std::move(loaded->scenario);
  drawn.instance = expand(drawn.scenario);
  auto plan = make_plan(drawn.scenario, drawn.instance);
  if (!plan) return std::nullopt;
  drawn.plan = std::move(*plan);
  auto programs = prepare_jobs(drawn.scenario, drawn.instance);
  if (!programs) return std::nullopt;
  drawn.programs = std::move(*programs);
  return drawn;
}

/// Whether each wave finds all of its places at once when those before it have moved.
bool waves_fit(const Drawn& drawn) {
  Inventory inventory(drawn.instance);
  for (const PlannedWave& wave : drawn.plan.waves) {
    for (const std::size_t move : wave.moves) {
      const VmId vm = drawn.instance.moves[move].vm;
      if (!inventory.fits(vm, drawn.plan.moves[move].to)) return false;
      inventory.reserve(vm, drawn.plan.moves[move].to);
    }
    for (const std::size_t move : wave.moves) {
      inventory.release(drawn.instance.moves[move].vm, drawn.plan.moves[move].from);
    }
  }
  return true;
}

/// Faults of hosts and links, and of the controller.
class Trouble {
 public:
  Trouble(Dice& dice, const Drawn& calm, const std::vector<std::string>& journal)
      : dice_(dice), calm_(calm), journal_(journal) {
    auto history = read_history(journal, calm.instance);
    if (!history) throw std::runtime_error("the calm run's journal: " + history.error());
    history_ = std::move(*history);
  }

  void add(Phase phase, Kind kind, Scenario& scenario) {
    if (kind == Kind::controller_down) {
      add_death(phase, scenario);
    } else {
      add_to_cluster(phase, kind, scenario);
    }
  }

 private:
  void add_death(std::optional<Phase> phase, Scenario& scenario) {
    std::vector<std::uint32_t> records;
    for (std::uint32_t record = 2; record <= journal_.size() && phase; ++record) {
      const auto before = read_history(std::span(journal_).first(record - 1), calm_.instance);
      for (const WaveHistory& wave : before->waves) {
        if (wave.closed) continue;
        for (const MoveHistory& move : wave.moves) {
          if (phase_of(wave, move) == *phase) records.push_back(record);
        }
      }
    }
    Fault fault;
    fault.journal = records.empty() ? static_cast<std::uint32_t>(dice_.between(1, journal_.size()))
                                    : dice_.of(records);
    fault.controller_down = ms(dice_.below(400));
    fault.last_record =
        dice_.of({Fault::LastRecord::torn, Fault::LastRecord::whole, Fault::LastRecord::missing});
    // With `whole` it goes down after the record, which may end the phase.
    if (!records.empty() && fault.last_record == Fault::LastRecord::whole) fault.journal -= 1;
    scenario.faults.push_back(fault);
  }

  void add_to_cluster(Phase phase, Kind kind, Scenario& scenario) {
    std::vector<SpanRecord> spans;
    for (const SpanRecord& span : history_.spans) {
      if (span.phase == phase) spans.push_back(span);
    }
    if (spans.empty()) spans = history_.spans;
    if (spans.empty()) return;
    const SpanRecord span = dice_.of(spans);
    Fault fault;
    const TimePoint at = span.start + dice_.time_below(span.end - span.start);
    fault.at = at.since_start();
    const HostId other = other_host(span);
    const HostId either = dice_.one_in(2) ? span.host : other;
    const Duration keepalive = calm_.scenario.platform.hypervisor.keepalive;
    const bool passes = dice_.one_in(2);
    if (passes)
      fault.lasts = ms(1) + keepalive * (0.02 * static_cast<double>(dice_.between(1, 150)));
    const auto named = [&](HostId host) {
      return Reference{calm_.instance.hosts[host.index].name};
    };
    switch (kind) {
      case Kind::host_down: fault.host_down = named(span.host); break;
      case Kind::other_host_down: fault.host_down = named(other); break;
      case Kind::link_down:
        fault.link_down = named(either);
        if (dice_.one_in(3)) fault.network = dice_.of(calm_.instance.networks).name;
        break;
      case Kind::slow_link:
        fault.slow_link = named(either);
        fault.factor = Ratio(dice_.of({0.5, 0.1, 0.01}));
        break;
      default:
        fault.late_libvirt = named(phase == Phase::migration ? other : span.host);
        fault.delay = dice_.one_in(2) ? ms(dice_.of({20U, 400U, 4000U})) : Duration::zero();
        if (fault.delay == Duration::zero()) fault.lasts = ms(dice_.of({30U, 700U, 5000U}));
    }
    scenario.faults.push_back(fault);
  }

  [[nodiscard]] HostId other_host(const SpanRecord& span) const {
    for (const WaveHistory& wave : history_.waves) {
      for (const MoveHistory& move : wave.moves) {
        if (move.vm != span.vm || wave.opened > span.start) continue;
        if (wave.closed && *wave.closed < span.end) continue;
        return move.move.from == span.host ? move.move.to : move.move.from;
      }
    }
    return span.host;
  }

  Dice& dice_;
  const Drawn& calm_;
  const std::vector<std::string>& journal_;
  JournalHistory history_;
};

}  // namespace

const AllowedEnds& target_of(std::uint64_t seed) {
  return fault_table()[seed % fault_table().size()];
}

Drawn draw_calm(std::uint64_t seed, Ranks ranks) {
  for (std::uint64_t attempt = 0; attempt < 1000; ++attempt) {
    Dice dice(seed, fmt::format("swarm {}", attempt));
    Scenario scenario = draw_cluster(dice, seed, ranks);
    draw_bandwidth_limits(seed, scenario);
    const std::optional<Drawn> cluster = read(scenario);
    if (!cluster || !waves_fit(*cluster)) continue;
    draw_phase_faults(dice, target_of(seed), cluster->instance, scenario);
    if (std::optional<Drawn> drawn = read(scenario)) return std::move(*drawn);
  }
  throw std::runtime_error(fmt::format("seed {} gives no cluster in a thousand attempts", seed));
}

bool has_more(std::uint64_t seed) {
  return !is_of_phase(target_of(seed).fault) || Dice(seed, "swarm more").one_in(4);
}

Drawn draw_whole(std::uint64_t seed, const Drawn& calm, const std::vector<std::string>& journal) {
  Dice dice(seed, "swarm trouble");
  Scenario scenario = calm.scenario;
  Trouble trouble(dice, calm, journal);
  const AllowedEnds& target = target_of(seed);
  const bool of_phase = is_of_phase(target.fault);
  if (!of_phase) trouble.add(target.phase, target.fault, scenario);
  const std::uint64_t more = of_phase ? 1 : dice.one_in(2) ? 0 : dice.between(1, 2);
  for (std::uint64_t i = 0; i < more; ++i) {
    trouble.add(all_phases[dice.below(phase_count)],
                dice.of({Kind::host_down, Kind::other_host_down, Kind::link_down, Kind::slow_link,
                         Kind::late_libvirt, Kind::controller_down, Kind::controller_down}),
                scenario);
  }
  std::optional<Drawn> drawn = read(scenario);
  if (!drawn) throw std::runtime_error(fmt::format("seed {}: faults that cannot be read", seed));
  return std::move(*drawn);
}

}  // namespace ferry
