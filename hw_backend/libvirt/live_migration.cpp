#include "hw_backend/libvirt/live_migration.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

#include "hw_backend/libvirt/migration_parameters.hpp"
#include "hw_backend/libvirt/refusals.hpp"

namespace ferry {
namespace {

/// For a migration to end after its abort was asked for: longer than keep-alive takes to find out
/// that a daemon is dead.
constexpr Duration abort_patience = Duration::milliseconds(60'000);
constexpr Duration abort_again = Duration::milliseconds(300);
constexpr Duration resume_patience = Duration::milliseconds(3'000);
/// For the event with the statistics, which may come after the end of the call.
constexpr Duration statistics_patience = Duration::milliseconds(3'000);

}  // namespace

/// Of one call of virDomainMigrateToURI3. The call's thread fills `result` and then tells the
/// inbox.
struct LiveMigration::Attempt {
  struct Outcome {
    std::mutex mutex;
    std::optional<Result<>> result;
  };
  std::shared_ptr<Outcome> outcome = std::make_shared<Outcome>();
  int iteration = 0;
  bool ended = false;
  std::string switch_failure;

  [[nodiscard]] Result<> result() const {
    const std::lock_guard guard(outcome->mutex);
    return outcome->result.value_or(Result<>());
  }
};

LiveMigration::LiveMigration(ClusterLink& link, Whereabouts& whereabouts, VmId vm, HostId from,
                             HostId to, const TransferOptions& options, TransferObserver& observer,
                             TimePoint deadline)
    : link_(link),
      whereabouts_(whereabouts),
      vm_(vm),
      from_(from),
      to_(to),
      options_(options),
      observer_(observer),
      deadline_(deadline),
      what_("migration of " + link.name(vm)),
      policy_(options),
      rounds_(link.clock().now()) {}

template <class T>
Result<T> LiveMigration::ask(HostId host, const std::string& what,
                             std::function<Result<T>(HostConnections&)> body) {
  const TimePoint soon = link_.clock().now() + answer_patience;
  // Once its end was decided on, the move's own deadline counts no more.
  const TimePoint limit = decided() ? soon : std::min(deadline_, soon);
  return link_.ask<T>(vm_, host, what, limit, std::move(body));
}

Result<TransferReport> LiveMigration::run() {
  inbox_ = link_.subscribe(vm_);
  Result<> done;
  {
    const NoChannel while_it_leaves(link_.channels(), vm_);
    done = attempt();
    while (!done && again_) {
      again_ = false;
      rounds_.begin_again(link_.clock().now());
      done = attempt();
    }
  }
  const Uncancellable until_known(link_.executor());
  if (done) return arrived();
  return not_arrived(done.error());
}

Result<> LiveMigration::prepare(const DomainState& state) {
  persistent_ = state.persistent;
  was_running_ = state.running;
  const std::string domain = link_.domain(vm_);
  // What is there is what the destination's libvirt would refuse, after it was asked to prepare.
  const auto there = ask<DomainState>(
      to_, what_, [domain](HostConnections& host) { return look_at(host, domain); });
  if (!there) return tl::unexpected(there.error());
  if (there->active) {
    return failure(FailureKind::refused, link_.name(to_) + " already has a running domain " +
                                             domain + "; two hosts of the cluster file may be one");
  }
  if (Result<> allowed = check_refusals(state); !allowed) return allowed;
  return ask<void>(from_, what_,
                   [domain, limit = downtime_milliseconds(options_)](HostConnections& host) {
                     return set_downtime(host, domain, limit);
                   });
}

Result<> LiveMigration::check_refusals(const DomainState& state) {
  MoveFacts facts;
  Result<DomainFacts> domain = read_domain(state.xml);
  if (!domain) return tl::unexpected(domain.error());
  facts.domain = std::move(*domain);
  facts.vm = link_.name(vm_);
  facts.source = link_.name(from_);
  facts.destination = link_.name(to_);
  facts.migrate_uri = link_.description(to_).migrate.by(options_.transport);
  facts.shared_storage = link_.cluster().storage == Storage::shared;
  facts.virtual_function = link_.alias(vm_, DeviceKind::virtual_function);
  facts.ivshmem = link_.alias(vm_, DeviceKind::ivshmem);
  if (options_.compression == Compression::zstd) {
    for (const auto& [host, version] :
         {std::pair{from_, &facts.source_version}, std::pair{to_, &facts.destination_version}}) {
      const auto answer = ask<unsigned long>(host, what_, libvirt_version);
      if (!answer) return tl::unexpected(answer.error());
      *version = *answer;
    }
  }
  if (options_.transport == Transport::rdma) {
    for (const HostId host : {from_, to_}) {
      const auto qemu = ask<unsigned long>(host, what_, qemu_version);
      if (!qemu) return tl::unexpected(qemu.error());
      prepare_postcopy_ = prepare_postcopy_ || rdma_needs_postcopy(*qemu);
    }
  }
  std::string limit_failure;
  if (options_.transport == Transport::rdma && !facts.domain.hard_limit) {
    const Bytes limit = limit_for_rdma(facts.domain.memory);
    const auto set =
        ask<void>(from_, what_, [domain = link_.domain(vm_), limit](HostConnections& host) {
          return set_hard_limit(host, domain, limit);
        });
    if (set) {
      facts.domain.hard_limit = limit;
    } else {
      limit_failure = "; setting it was tried: " + set.error().reason;
    }
  }
  if (const auto refusal = why_refused(options_, facts)) {
    return failure(FailureKind::refused, *refusal + limit_failure);
  }
  Result<> cpu = ask<void>(to_, what_, [domain = facts.domain](HostConnections& host) {
    return can_run_cpu(host, domain);
  });
  if (!cpu) return failure(cpu.error().kind, link_.name(vm_) + ": " + cpu.error().reason);
  return {};
}

/// Starts the migration and follows it to its end.
Result<> LiveMigration::attempt() {
  Attempt attempt;
  const MigrationCall call = migration_call(
      options_, {.migrate_uri = link_.description(to_).migrate.by(options_.transport),
                 .persistent = persistent_,
                 .auto_converge = policy_.throttled(),
                 .prepare_postcopy = prepare_postcopy_});
  DomainEvent ended;
  ended.kind = DomainEvent::Kind::call_ended;
  ended.host = from_;
  ended.domain = link_.domain(vm_);
  link_.start(vm_, from_, what_,
              [outcome = attempt.outcome, board = link_.board(), domain = link_.domain(vm_),
               peer = link_.description(to_).peer, call, ended](HostConnections& host) {
                Result<> result = migrate_to(host, domain, peer, call);
                {
                  const std::lock_guard guard(outcome->mutex);
                  outcome->result = std::move(result);
                }
                board->post(ended);
              });
  follow(attempt);
  if (!attempt.ended) {
    again_ = false;
    return failure(FailureKind::failed,
                   what_ + " has not ended " + to_text(abort_patience) + " after it was aborted");
  }
  return attempt.result();
}

void LiveMigration::follow(Attempt& attempt) {
  while (!attempt.ended) {
    if (decided()) {
      await_end(attempt);
      return;
    }
    DomainEvent event;
    const Wake wake = link_.next_event(vm_, *inbox_, deadline_, event);
    if (wake == Wake::ready) {
      take(attempt, event);
    } else {
      const Failure early = ended_early(wake, what_);
      end(early.kind, early.reason);
    }
  }
}

void LiveMigration::take(Attempt& attempt, const DomainEvent& event) {
  switch (event.kind) {
    case DomainEvent::Kind::call_ended: attempt.ended = true; return;
    case DomainEvent::Kind::job_completed:
      if (event.host == from_) completed_ = event;
      return;
    case DomainEvent::Kind::iteration:
      // One that is too high is a late event of the attempt before.
      if (event.host == from_ && event.iteration <= attempt.iteration + 2) {
        on_iteration(attempt, event);
      }
      return;
    case DomainEvent::Kind::connection_lost:
      // The next events come over another connection, which this opens, if the daemon is there.
      (void)ask<MigrationState>(from_, what_, [domain = link_.domain(vm_)](HostConnections& host) {
        return look_at_migration(host, domain);
      });
      return;
    default: return;
  }
}

void LiveMigration::on_iteration(Attempt& attempt, const DomainEvent& event) {
  attempt.iteration = event.iteration;
  const auto seen =
      ask<MigrationState>(from_, what_, [domain = link_.domain(vm_)](HostConnections& host) {
        return look_at_migration(host, domain);
      });
  const MigrationState state = seen.value_or(MigrationState{});
  if (const auto round = rounds_.iteration_begins(event.iteration, event.at, state.statistics)) {
    observer_.round_done(vm_, *round);
  }
  // The synchronisation that begins the stop-and-copy is told too: then the guest is paused.
  if (!state.running || decided()) return;
  act(policy_.iteration_begins(event.iteration));
}

void LiveMigration::act(StallAction action) {
  switch (action) {
    case StallAction::go_on: return;
    case StallAction::postcopy: {
      const Result<> switched =
          ask<void>(from_, what_, [domain = link_.domain(vm_)](HostConnections& host) {
            return switch_to_postcopy(host, domain);
          });
      if (switched) {
        switched_ = true;
      } else {
        end(switched.error().kind, switched.error().reason);
      }
      return;
    }
    case StallAction::begin_again: again_ = true; return;
    case StallAction::abort:
      end(FailureKind::failed, what_ + " " + policy_.reason_to_abort());
      return;
  }
}

void LiveMigration::end(FailureKind kind, std::string reason) {
  if (!ending_) ending_ = Ending{kind, std::move(reason)};
}

/// Nothing but the end of the call ends this: it was aborted, or there is no way back.
void LiveMigration::await_end(Attempt& attempt) {
  const Uncancellable until_ended(link_.executor());
  const TimePoint limit = link_.clock().now() + abort_patience;
  bool aborted = switched_;
  while (!attempt.ended) {
    if (!aborted) aborted = abort();
    const TimePoint give_up = switched_ ? TimePoint::never() : limit;
    const TimePoint next = aborted ? give_up : std::min(give_up, link_.clock().now() + abort_again);
    DomainEvent event;
    if (link_.next_event(vm_, *inbox_, next, event) == Wake::ready) {
      take(attempt, event);
    } else if (link_.clock().now() >= give_up) {
      return;
    }
  }
}

/// False if there is nothing to abort yet, or any more.
bool LiveMigration::abort() {
  const Result<> asked = ask<void>(
      from_, what_,
      [domain = link_.domain(vm_)](HostConnections& host) { return abort_job(host, domain); });
  if (asked) return true;
  if (asked.error().reason.find("post-copy") != std::string::npos) {
    switched_ = true;  // somebody else has switched it over
    return true;
  }
  return false;
}

Result<TransferReport> LiveMigration::arrived() {
  whereabouts_.set(vm_, to_);
  const TimePoint limit = link_.clock().now() + statistics_patience;
  while (!completed_) {
    DomainEvent event;
    if (link_.next_event(vm_, *inbox_, limit, event) != Wake::ready) break;
    if (event.kind == DomainEvent::Kind::job_completed && event.host == from_) completed_ = event;
  }
  JobStatistics statistics;
  TimePoint end = link_.clock().now();
  if (completed_) {
    statistics = completed_->statistics;
    end = completed_->at;
  } else {
    // The destination keeps them as well.
    const auto kept =
        link_.ask<JobStatistics>(vm_, to_, what_, link_.clock().now() + answer_patience,
                                 [domain = link_.domain(vm_)](HostConnections& host) {
                                   return job_statistics(host, domain, true);
                                 });
    statistics = kept.value_or(JobStatistics{});
  }
  observer_.round_done(vm_, rounds_.finish(end, statistics, switched_));
  return TransferReport{.downtime = statistics.downtime,
                        .bytes = rounds_.bytes(),
                        .rounds = rounds_.rounds(),
                        .note = policy_.note()};
}

/// The call has failed. Where the VM is now decides what that means: a migration goes on between
/// the daemons when only the connection that asked for it has broken.
Result<TransferReport> LiveMigration::not_arrived(const Failure& failed) {
  end(failed.kind, failed.reason);
  const Failure why{ending_->kind, ending_->reason};
  const TimePoint start = link_.clock().now();
  TimePoint found_at = start;
  TimePoint under_way_at = start;  // or nothing was known
  bool aborted = switched_;
  bool goes_on = false;
  Result<VmPlace> place = tl::unexpected(why);
  for (;;) {
    place = whereabouts_.find(vm_, link_.clock().now() + answer_patience);
    goes_on = place && place->host != to_ && place->state.sends;
    if (place && !goes_on && (place->state.running || !was_running_)) break;
    if (goes_on && !aborted) aborted = abort();
    const TimePoint now = link_.clock().now();
    if (place) found_at = now;
    if (!place || goes_on) under_way_at = now;
    if (goes_on && now >= start + abort_patience) break;
    if (!place && now >= found_at + search_patience) break;
    // libvirt lets the guest run again at once, if it does.
    if (now >= under_way_at + resume_patience) break;
    link_.pause(vm_, now + search_again);
  }
  if (!place) {
    return failure(FailureKind::lost, why.reason + "; " + place.error().reason);
  }
  const bool as_before = place->state.running || !was_running_;
  if (switched_ && !(place->host == to_ && as_before)) {
    return failure(FailureKind::lost,
                   failed.reason +
                       "; it failed after the switch to post-copy: part of the memory is on " +
                       link_.name(from_) + ", part on " + link_.name(to_) +
                       ". Do not destroy either domain: when the hosts reach each other again, "
                       "virsh migrate --postcopy --postcopy-resume may save it");
  }
  if (goes_on) {
    return failure(why.kind, why.reason + "; it is still under way on " + link_.name(place->host) +
                                 ", although it was to be aborted");
  }
  if (!as_before) {
    if (Result<> resumed = resume_at(place->host); !resumed) {
      return failure(FailureKind::lost, why.reason + "; it is paused on " +
                                            link_.name(place->host) +
                                            ", and stays so: " + resumed.error().reason);
    }
  }
  if (place->host != to_) {
    return failure(why.kind == FailureKind::lost ? FailureKind::failed : why.kind, why.reason);
  }
  Result<TransferReport> report = arrived();
  if (report) {
    report->note +=
        (report->note.empty() ? "" : "; ") + std::string("libvirt reported: ") + failed.reason;
  }
  return report;
}

/// The migration that failed has left the guest paused. It may run again only where it is for
/// certain that it runs nowhere else.
Result<> LiveMigration::resume_at(HostId host) {
  const HostId elsewhere = host == to_ ? from_ : to_;
  const auto there = link_.ask<DomainState>(
      vm_, elsewhere, what_, link_.clock().now() + answer_patience,
      [domain = link_.domain(vm_)](HostConnections& other) { return look_at(other, domain); });
  if (!there) {
    return failure(FailureKind::lost, "it may run on " + link_.name(elsewhere) +
                                          ", which does not answer: " + there.error().reason);
  }
  if (there->active) {
    return failure(FailureKind::lost, "its domain is on " + link_.name(elsewhere) + " too");
  }
  return link_.ask<void>(
      vm_, host, what_, link_.clock().now() + answer_patience,
      [domain = link_.domain(vm_)](HostConnections& here) { return resume(here, domain); });
}

}  // namespace ferry
