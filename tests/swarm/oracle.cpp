#include "tests/swarm/oracle.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <span>

#include "core/migration/journal_history.hpp"
#include "tests/contract/phase_timeouts.hpp"
#include "tests/swarm/phases.hpp"

namespace ferry {
namespace {

using Kind = FaultKind;

bool may_use_post_copy(const TransferOptions& transfer) {
  return transfer.mode == MemoryMode::postcopy || transfer.mode == MemoryMode::hybrid ||
         std::find(transfer.on_stall.begin(), transfer.on_stall.end(), OnStall::postcopy) !=
             transfer.on_stall.end();
}

/// Of ranks that need not answer in time, but may.
constexpr Cell no_answer{Phase::set_pre_migration, Kind::times_out};

class Oracle {
 public:
  explicit Oracle(const Aftermath& aftermath)
      : aftermath_(aftermath), instance_(aftermath.drawn->instance) {}

  Judgement run() {
    auto history = read_history(aftermath_.journal, instance_);
    if (!history) {
      wrong("the journal cannot be read: " + history.error());
      return std::move(judgement_);
    }
    history_ = std::move(*history);
    for (const std::string& vm : aftermath_.unsettled) wrong("not brought to rest: " + vm);
    if (aftermath_.suspensions > 0) {
      wrong(fmt::format("{} suspensions of jobs were never ended", aftermath_.suspensions));
    }
    cells_.resize(history_.waves.size());
    for (std::size_t wave = 0; wave < history_.waves.size(); ++wave) find_cells(wave);
    find_deaths();
    check_moves();
    check_vms();
    check_reservations();
    check_jobs();
    return std::move(judgement_);
  }

 private:
  void wrong(std::string sentence) { judgement_.wrong.push_back(std::move(sentence)); }
  [[nodiscard]] const std::string& name(VmId vm) const { return instance_.vms[vm.index].name; }

  [[nodiscard]] std::vector<SpanRecord> spans_in(const WaveHistory& wave, VmId vm) const {
    std::vector<SpanRecord> found;
    for (const SpanRecord& span : history_.spans) {
      if (span.vm != vm || span.start < wave.opened || !wave.closed || span.end > *wave.closed) {
        continue;
      }
      found.push_back(span);
    }
    return found;
  }

  [[nodiscard]] std::optional<HostId> seen_at_fault(std::size_t fault, VmId vm) const {
    for (const Sighting& sighting : aftermath_.sightings) {
      if (sighting.fault == fault) return sighting.hosts[vm.index];
    }
    return std::nullopt;
  }

  /// When the VM went down with its host.
  [[nodiscard]] std::optional<TimePoint> death_of(VmId vm) const {
    std::optional<TimePoint> first;
    for (std::size_t i = 0; i < instance_.cluster_faults.size(); ++i) {
      const ClusterFaultSpec& fault = instance_.cluster_faults[i];
      if (fault.kind != ClusterFaultSpec::Kind::host_down) continue;
      if (seen_at_fault(i, vm) != fault.host) continue;
      if (!first || fault.from < *first) first = fault.from;
    }
    return first;
  }

  void hit(std::size_t wave, std::size_t move, Cell cell, bool strikes_here) {
    cells_[wave][move].insert(cell);
    if (strikes_here) judgement_.hits[cell] += 1;
  }

  void find_cells(std::size_t wave_index) {
    const WaveHistory& wave = history_.waves[wave_index];
    if (!wave.closed) {
      wrong(fmt::format("wave {} was never closed", wave.number));
      return;
    }
    for (std::size_t i = 0; i < wave.moves.size(); ++i) {
      const MoveHistory& move = wave.moves[i];
      if (const auto death = death_of(move.vm); death && *death < wave.opened) {
        hit(wave_index, i, {Phase::set_pre_migration, Kind::host_down}, false);
      }
      if (may_not_answer(move.vm)) hit(wave_index, i, no_answer, true);
      for (const SpanRecord& span : spans_in(wave, move.vm)) {
        if (job_out_of_reach(span)) hit(wave_index, i, no_answer, true);
        phase_faults(wave_index, i, span);
        cluster_faults(wave_index, i, span);
      }
    }
  }

  [[nodiscard]] bool link_lost_for_good() const {
    return std::any_of(instance_.cluster_faults.begin(), instance_.cluster_faults.end(),
                       [](const ClusterFaultSpec& fault) {
                         return fault.kind == ClusterFaultSpec::Kind::link_down &&
                                fault.until == TimePoint::never();
                       });
  }
  /// Whether a rank of its jobs may compute, and not answer, for longer than anybody waits, or
  /// waits itself for what will never come.
  [[nodiscard]] bool may_not_answer(VmId vm) const {
    const std::vector<JobId>& jobs = instance_.vms[vm.index].jobs;
    return std::any_of(jobs.begin(), jobs.end(), [&](JobId id) {
      const JobSpec& job = instance_.jobs[id.index];
      if (!job.communicates() || job.strategy == Strategy::none) return false;
      if (link_lost_for_good()) return true;
      return job.strategy == Strategy::progress_engine &&
             job.workload.compute * (1 + job.workload.jitter.value()) > Duration::seconds(2.5);
    });
  }

  /// After its last move that had ended by then.
  [[nodiscard]] HostId host_at(VmId vm, TimePoint when) const {
    HostId host = instance_.vms[vm.index].host;
    TimePoint since;
    for (const MoveRecord& move : aftermath_.records->moves()) {
      if (move.vm != vm || move.end > when || move.end < since) continue;
      host = move.to;
      since = move.end;
    }
    return host;
  }

  /// Whether a rank of its jobs, in a VM that stays where it is, was out of everybody's reach, or
  /// reached only slowly, for a while of this set_pre_migration: what its job waits for may not
  /// come by then.
  [[nodiscard]] bool job_out_of_reach(const SpanRecord& span) const {
    if (span.phase != Phase::set_pre_migration) return false;
    const auto is_out_of_reach = [&](VmId vm) {
      for (std::size_t i = 0; i < instance_.cluster_faults.size(); ++i) {
        const ClusterFaultSpec& fault = instance_.cluster_faults[i];
        if (fault.kind != ClusterFaultSpec::Kind::link_down &&
            fault.kind != ClusterFaultSpec::Kind::slow_link) {
          continue;
        }
        if (seen_at_fault(i, vm) != fault.host && host_at(vm, span.start) != fault.host) continue;
        if (fault.from <= span.end && fault.until > span.start) return true;
      }
      return false;
    };
    const std::vector<JobId>& jobs = instance_.vms[span.vm.index].jobs;
    return std::any_of(jobs.begin(), jobs.end(), [&](JobId id) {
      const JobSpec& job = instance_.jobs[id.index];
      return job.communicates() && job.strategy != Strategy::none &&
             std::any_of(job.vms.begin(), job.vms.end(), is_out_of_reach);
    });
  }

  void phase_faults(std::size_t wave, std::size_t index, const SpanRecord& span) {
    const MoveHistory& move = history_.waves[wave].moves[index];
    for (const FaultSpec& fault : instance_.faults) {
      if (fault.vm != span.vm || fault.phase != span.phase) continue;
      Kind kind = Kind::times_out;
      if (fault.fail == Fault::Fail::once) kind = Kind::fails_once;
      if (fault.fail == Fault::Fail::always) kind = Kind::fails_always;
      const Duration timeout = timeout_of(instance_.moves[move.move.move].timeouts, fault.phase);
      if (kind == Kind::times_out && fault.stall <= timeout) continue;
      hit(wave, index, {span.phase, kind}, true);
    }
  }

  void cluster_faults(std::size_t wave, std::size_t index, const SpanRecord& span) {
    const MoveHistory& move = history_.waves[wave].moves[index];
    for (std::size_t i = 0; i < instance_.cluster_faults.size(); ++i) {
      const ClusterFaultSpec& fault = instance_.cluster_faults[i];
      if (fault.host != move.move.from && fault.host != move.move.to) continue;
      if (fault.from > span.end || fault.until <= span.start) continue;
      const bool strikes_here = fault.from >= span.start;
      const auto kind = [&] {
        switch (fault.kind) {
          case ClusterFaultSpec::Kind::host_down:
            return seen_at_fault(i, span.vm) == fault.host ? Kind::host_down
                                                           : Kind::other_host_down;
          case ClusterFaultSpec::Kind::link_down: return Kind::link_down;
          case ClusterFaultSpec::Kind::slow_link: return Kind::slow_link;
          case ClusterFaultSpec::Kind::late_libvirt: return Kind::late_libvirt;
        }
        return Kind::host_down;
      }();
      hit(wave, index, {span.phase, kind}, strikes_here);
    }
  }

  /// The record of each later controller tells how far the one before it came.
  void find_deaths() {
    std::size_t begun = 0;
    for (std::size_t record = 0; record < aftermath_.journal.size(); ++record) {
      const std::string& text = aftermath_.journal[record];
      if (!text.starts_with("controller ") || text.starts_with("controller ends")) continue;
      if (++begun == 1) continue;
      const auto before = read_history(std::span(aftermath_.journal).first(record), instance_);
      for (std::size_t wave = 0; wave < before->waves.size(); ++wave) {
        if (before->waves[wave].closed) continue;
        for (std::size_t i = 0; i < before->waves[wave].moves.size(); ++i) {
          const Phase phase = phase_of(before->waves[wave], before->waves[wave].moves[i]);
          hit(wave, i, {phase, Kind::controller_down}, true);
        }
      }
    }
  }

  /// Where a wave is not suspended because of one VM, all others go back with it.
  [[nodiscard]] bool suspension_troubled(std::size_t wave) const {
    for (const auto& [index, cells] : cells_[wave]) {
      for (const auto& [phase, kind] : cells) {
        if (phase == Phase::set_pre_migration) return true;
      }
    }
    return false;
  }

  struct Allowed {
    std::set<Outcome> outcomes;
    std::set<Cell> cells;
    std::size_t waves = 0;
  };

  [[nodiscard]] Allowed allowed_for(std::size_t move_index) const {
    Allowed allowed;
    const TransferOptions& transfer = instance_.moves[move_index].transfer;
    for (std::size_t wave = 0; wave < history_.waves.size(); ++wave) {
      for (std::size_t i = 0; i < history_.waves[wave].moves.size(); ++i) {
        if (history_.waves[wave].moves[i].move.move != move_index) continue;
        ++allowed.waves;
        if (const auto found = cells_[wave].find(i); found != cells_[wave].end()) {
          allowed.cells.insert(found->second.begin(), found->second.end());
        }
        if (suspension_troubled(wave)) allowed.outcomes.insert(Outcome::rolled_back);
      }
    }
    bool of_devices = false;
    for (const auto& [phase, kind] : allowed.cells) {
      const AllowedEnds& row = allowed_ends(phase, kind);
      allowed.outcomes.insert(row.ends.begin(), row.ends.end());
      if (may_use_post_copy(transfer)) {
        allowed.outcomes.insert(row.with_post_copy.begin(), row.with_post_copy.end());
      }
      of_devices = of_devices || phase == Phase::attach_vf || phase == Phase::add_ivshmem ||
                   kind == Kind::late_libvirt;
    }
    const bool may_answer =
        allowed.cells == std::set<Cell>{no_answer} &&
        std::none_of(instance_.faults.begin(), instance_.faults.end(), [&](const FaultSpec& fault) {
          return fault.phase == Phase::set_pre_migration &&
                 fault.vm == instance_.moves[move_index].vm;
        });
    const bool calm = allowed.cells.empty() || may_answer;
    if (calm || allowed.waves > 1) allowed.outcomes.insert(Outcome::completed);
    // A device that comes back only at a second attempt, or on the way back, meets the next
    // trouble.
    if (of_devices && allowed.cells.size() > 1) {
      allowed.outcomes.insert({Outcome::degraded, Outcome::rolled_back, Outcome::completed});
    }
    return allowed;
  }

  void check_moves() {
    if (aftermath_.records->moves().size() != instance_.moves.size()) {
      wrong(fmt::format("{} moves ended, of {}", aftermath_.records->moves().size(),
                        instance_.moves.size()));
    }
    // Who did not leave, and functions that failed and stay out of use, take places of others.
    const bool trouble =
        std::any_of(cells_.begin(), cells_.end(), [](const auto& wave) { return !wave.empty(); });
    for (const MoveRecord& move : aftermath_.records->moves()) {
      if (move.outcome != Outcome::completed && move.reason.empty()) {
        wrong(fmt::format("the move of {} gives no reason", name(move.vm)));
      }
      if (move.outcome == Outcome::not_started) {
        if (!trouble) {
          wrong(fmt::format("{} was not moved ({}) although nobody failed", name(move.vm),
                            move.reason));
        }
        continue;
      }
      if (move.outcome == Outcome::lost) {
        check_loss(move);
        continue;
      }
      const Allowed allowed = allowed_for(move.move);
      if (allowed.outcomes.contains(move.outcome)) continue;
      std::string cells;
      for (const auto& [phase, kind] : allowed.cells) {
        cells += fmt::format(" [{}, {}]", to_name(phase), to_name(kind));
      }
      wrong(fmt::format("{} ended {} ({}), which the table does not allow for{}", name(move.vm),
                        to_name(move.outcome), move.reason, cells.empty() ? " no fault" : cells));
    }
  }

  /// Only where its own host went down, or post-copy failed.
  void check_loss(const MoveRecord& move) {
    const std::optional<TimePoint> death = death_of(move.vm);
    if (death && *death <= move.end) return;
    const Allowed allowed = allowed_for(move.move);
    const bool failed_post_copy =
        std::any_of(allowed.cells.begin(), allowed.cells.end(), [&](const Cell& cell) {
          return may_use_post_copy(instance_.moves[move.move].transfer) &&
                 !allowed_ends(cell.first, cell.second).with_post_copy.empty();
        });
    if (!failed_post_copy) {
      wrong(fmt::format("{} is lost ({}), although its host did not go down", name(move.vm),
                        move.reason));
    }
  }

  void check_vms() {
    for (std::uint32_t i = 0; i < instance_.vms.size(); ++i) {
      const VmId vm{i};
      const VmInspection& found = aftermath_.vms[i];
      const MoveRecord* last = nullptr;
      bool lost = false;
      bool degraded = false;
      for (const MoveRecord& move : aftermath_.records->moves()) {
        if (move.vm != vm) continue;
        lost = lost || move.outcome == Outcome::lost;
        degraded = degraded || move.outcome == Outcome::degraded;
        if (last == nullptr || move.end > last->end) last = &move;
      }
      if (!found.running) {
        if (!lost && !death_of(vm)) wrong(name(vm) + " runs nowhere, and nothing happened to it");
        if (lost && !aftermath_.held[i].empty()) wrong(name(vm) + " is lost and holds a host");
        continue;
      }
      if (lost) wrong(name(vm) + " runs, although it is called lost");
      if (death_of(vm)) wrong(name(vm) + " runs, although its host went down under it");
      if (found.moving) wrong(name(vm) + " is still being moved");
      const HostId told = last == nullptr ? instance_.vms[i].host : last->to;
      if (found.host != told) {
        wrong(fmt::format("{} runs on {}, not on {}", name(vm),
                          instance_.hosts[found.host.index].name,
                          instance_.hosts[told.index].name));
      }
      const VmSpec& spec = instance_.vms[i];
      const bool whole = (found.virtual_function || !spec.virtual_function) &&
                         (found.ivshmem || spec.ivshmem == Bytes(0));
      if (!whole && !degraded) wrong(name(vm) + " lacks a device");
      if (aftermath_.held[i] != std::vector<HostId>{found.host}) {
        wrong(fmt::format("{} holds {} hosts, or another than its own", name(vm),
                          aftermath_.held[i].size()));
      }
    }
  }

  void check_reservations() {
    std::vector<Bytes> used(instance_.hosts.size());
    for (std::uint32_t i = 0; i < instance_.vms.size(); ++i) {
      if (aftermath_.held[i].size() > 1) wrong(name(VmId{i}) + " holds two hosts at rest");
      for (const HostId host : aftermath_.held[i]) used[host.index] += instance_.vms[i].memory;
    }
    for (std::size_t i = 0; i < used.size(); ++i) {
      if (aftermath_.memory_free[i] + used[i] == instance_.hosts[i].memory) continue;
      wrong(fmt::format("{} of memory of {} are reserved for nobody",
                        to_text(instance_.hosts[i].memory - aftermath_.memory_free[i] - used[i]),
                        instance_.hosts[i].name));
    }
  }

  /// Whether all that its ranks need was there all the time. What ranks send that do not cooperate
  /// goes with the device.
  [[nodiscard]] bool could_end(const JobSpec& job) const {
    if (job.strategy == Strategy::none) return false;
    const auto is_whole = [&](VmId vm) {
      const VmInspection& found = aftermath_.vms[vm.index];
      return found.running && found.virtual_function;
    };
    return std::all_of(job.vms.begin(), job.vms.end(), is_whole) && !link_lost_for_good();
  }

  /// Whether it was `overlap` that has measured its exchange anew, as it does if a move was in its
  /// way.
  [[nodiscard]] bool measured_again(const mpi::WorkloadSpec& program, std::uint64_t messages,
                                    Bytes bytes) const {
    const Workload& workload = program.workload;
    if (workload.type != WorkloadType::overlap) return false;
    const std::uint64_t messages_a_time =
        (workload.exchanges + 1) * program.ranks;  // and an allreduce
    const std::uint64_t bytes_a_time =
        (workload.exchanges * workload.message.count() + 8) * program.ranks;
    const std::uint64_t times = messages / messages_a_time;
    // At most as each wave begins, and as it ends.
    return times <= 2 * history_.waves.size() && messages == times * messages_a_time &&
           bytes == Bytes(times * bytes_a_time);
  }

  void check_jobs() {
    for (const RankRecord& rank : aftermath_.records->ranks()) {
      if (!instance_.jobs[rank.job.index].communicates()) continue;
      if (rank.blocked_from < rank.blocked_to) ++judgement_.ranks_blocked;
    }
    for (const auto& [id, program] : aftermath_.drawn->programs) {
      const JobSpec& job = instance_.jobs[id.index];
      const std::vector<JobRecord>& jobs = aftermath_.records->jobs();
      const auto of_it = [job_id = id](const JobRecord& record) { return record.job == job_id; };
      if (std::count_if(jobs.begin(), jobs.end(), of_it) != 1) {
        wrong(job.name + " has no record, or more than one");
        continue;
      }
      const JobRecord& record = *std::find_if(jobs.begin(), jobs.end(), of_it);
      if (!record.reason.empty()) {
        ++judgement_.jobs_stopped;
        if (could_end(job)) wrong(job.name + " did not come to its end: " + record.reason);
        continue;
      }
      ++judgement_.jobs_ended;
      std::uint64_t messages = 0;
      Bytes bytes;
      for (std::uint32_t rank = 0; rank < program.ranks; ++rank) {
        const mpi::Traffic sent = mpi::expected_traffic(program, rank);
        messages += sent.messages;
        bytes += Bytes(sent.bytes);
        for (const mpi::CallCount& calls : sent.collectives) {
          messages += calls.calls;
          bytes += Bytes(calls.bytes);
        }
      }
      if (record.messages == messages && record.bytes == bytes) continue;
      if (measured_again(program, record.messages - messages, record.bytes - bytes)) continue;
      wrong(fmt::format("{} sent {} messages of {}, not {} of {}", job.name, record.messages,
                        to_text(record.bytes), messages, to_text(bytes)));
    }
  }

  const Aftermath& aftermath_;
  const Instance& instance_;
  JournalHistory history_;
  std::vector<std::map<std::size_t, std::set<Cell>>> cells_;  ///< by wave and move of it
  Judgement judgement_;
};

}  // namespace

Judgement judge(const Aftermath& aftermath) { return Oracle(aftermath).run(); }

}  // namespace ferry
