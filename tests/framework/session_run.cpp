#include "tests/framework/session_run.hpp"

#include <algorithm>

namespace ferry {

MoveSpec& SessionCase::move(VmId vm, HostId to, Duration at) {
  MoveSpec spec;
  spec.migration = "leave";
  spec.vm = vm;
  spec.candidates = {to};
  spec.at.at = at;
  const Duration patience = Duration::seconds(5);
  spec.timeouts = {patience, patience, patience, patience, patience};
  cluster.instance.moves.push_back(spec);
  return cluster.instance.moves.back();
}

void SessionCase::fault(VmId vm, Phase phase, PhaseFault::Fail fail, Duration stall) {
  cluster.instance.faults.push_back({.phase = phase, .vm = vm, .fail = fail, .stall = stall});
}

const MoveRecord& SessionEnd::only_move() const {
  EXPECT_EQ(moves.size(), 1U);
  return moves.at(0);
}

SpanRecord SessionEnd::span(VmId vm, Phase phase) const {
  std::vector<SpanRecord> found;
  std::copy_if(spans.begin(), spans.end(), std::back_inserter(found),
               [&](const SpanRecord& s) { return s.vm == vm && s.phase == phase; });
  EXPECT_EQ(found.size(), 1U) << to_name(phase) << " of vm" << vm.index;
  return found.empty() ? SpanRecord{} : found.front();
}

SessionEnd run_session(World& world, SessionCase& session,
                       const std::function<void(Session&)>& beside) {
  session.scenario.platform = session.cluster.platform;
  const auto plan = make_plan(session.scenario, session.cluster.instance);
  SessionEnd end;
  if (!plan) {
    ADD_FAILURE() << plan.error();
    return end;
  }
  LineJournal journal;
  RunRecords records(world.executor.make_mutex());
  SessionOptions options;
  options.on_progress = [&end](const SessionProgress& progress) { end.progress = progress; };
  options.interruption = [&session] { return session.interruption.load(); };
  {
    Session running(world, session.scenario, session.cluster.instance, *plan, journal, records,
                    options);
    if (beside) {
      const std::unique_ptr<Task> task =
          world.executor.spawn("beside", [&] { beside(running); });
      running.run();
      task->join();
    } else {
      running.run();
    }
    for (std::uint32_t vm = 0; vm < session.cluster.instance.vms.size(); ++vm) {
      end.held.push_back(running.inventory().hosts_of(VmId{vm}));
    }
  }
  end.moves = records.moves();
  end.spans = records.spans();
  end.ranks = records.ranks();
  end.rounds = records.rounds();
  end.journal = journal.lines;
  end.journal_synced = journal.synced;
  return end;
}

void expect_invariant(World& world, const SessionCase& session, const SessionEnd& end) {
  EXPECT_EQ(end.moves.size(), session.cluster.instance.moves.size());
  for (std::uint32_t i = 0; i < session.cluster.instance.vms.size(); ++i) {
    const VmInspection vm = world.hypervisor.inspect(VmId{i});
    const bool degraded =
        std::any_of(end.moves.begin(), end.moves.end(), [&](const MoveRecord& move) {
          return move.vm == VmId{i} && move.outcome == Outcome::degraded;
        });
    EXPECT_TRUE(vm.running) << "vm" << i;
    EXPECT_EQ(end.held[i], std::vector<HostId>{vm.host}) << "vm" << i;
    if (degraded) {
      EXPECT_FALSE(vm.virtual_function && vm.ivshmem) << "vm" << i;
    } else {
      EXPECT_TRUE(vm.virtual_function) << "vm" << i;
      EXPECT_TRUE(vm.ivshmem) << "vm" << i;
    }
  }
}

}  // namespace ferry
