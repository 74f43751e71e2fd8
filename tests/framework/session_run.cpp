#include "tests/framework/session_run.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <tuple>

#include "controller/surroundings.hpp"
#include "core/record/journal_file.hpp"

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

void SessionCase::fault(VmId vm, Phase phase, Fault::Fail fail, Duration stall) {
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
      const std::unique_ptr<Task> task = world.executor.spawn("beside", [&] { beside(running); });
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

SessionEnd run_session_through_downs(World& world, SessionCase& session,
                                     const std::vector<ControllerDown>& downs,
                                     std::size_t* controllers) {
  session.scenario.platform = session.cluster.platform;
  const auto plan = make_plan(session.scenario, session.cluster.instance);
  SessionEnd end;
  if (!plan) {
    ADD_FAILURE() << plan.error();
    return end;
  }
  RunRecords records(world.executor.make_mutex());
  const SurvivingRun run = run_through_downs(
      world, session.scenario, session.cluster.instance, *plan, downs, {}, {}, records, {},
      [&](Session& running, Surroundings&, const std::function<void()>& go) {
        go();
        end.held.clear();
        for (std::uint32_t vm = 0; vm < session.cluster.instance.vms.size(); ++vm) {
          end.held.push_back(running.inventory().hosts_of(VmId{vm}));
        }
      });
  EXPECT_THAT(run.unsettled, testing::IsEmpty());
  if (controllers != nullptr) *controllers = run.controllers;
  end.moves = records.moves();
  end.spans = records.spans();
  end.ranks = records.ranks();
  end.rounds = records.rounds();
  const auto contents = read_journal(run.journal);
  EXPECT_TRUE(contents.has_value());
  EXPECT_FALSE(contents->torn);
  end.journal = contents->records;
  return end;
}

namespace {

auto key(const SpanRecord& s) {
  return std::tuple(s.vm, s.phase, s.host, s.start, s.end, s.outcome);
}
auto key(const MoveRecord& m) {
  return std::tuple(m.move, m.vm, m.from, m.to, m.start, m.end, m.transfer.downtime,
                    m.transfer.bytes, m.transfer.rounds, m.outage, m.lost_traffic, m.outcome, m.reason);
}
auto key(const RoundRecord& r) {
  return std::tuple(r.vm, r.report.round, r.report.bytes, r.report.time, r.report.dirty_bytes);
}
template <class Records>
auto keys(const Records& records) {
  std::vector<decltype(key(records.front()))> keys;
  for (const auto& record : records) keys.push_back(key(record));
  std::sort(keys.begin(), keys.end());
  return keys;
}

}  // namespace

void expect_history_is_complete(World& world, const SessionCase& session, const SessionEnd& end) {
  Instance instance = session.cluster.instance;
  const auto plan = make_plan(session.scenario, instance);
  const auto history = read_history(end.journal, instance);
  ASSERT_TRUE(history.has_value()) << history.error();
  RunRecords restored(world.executor.make_mutex());
  RunRecords of_ranks(world.executor.make_mutex());
  Surroundings surroundings(world, session.scenario, instance, of_ranks);
  LineJournal journal;
  Session next(surroundings.world(), surroundings.jobs(), instance, *plan, journal, restored, {});
  const auto resumed = next.resume(*history);
  ASSERT_TRUE(resumed.has_value()) << resumed.error();
  EXPECT_TRUE(journal.lines.empty());

  // What never opened is not in a journal. The next session gives up by itself what should have
  // followed one that did not arrive.
  const auto tried = [](std::vector<MoveRecord> moves) {
    std::erase_if(moves, [](const MoveRecord& move) {
      return move.outcome == Outcome::not_started || move.reason == "interrupted before it began";
    });
    return keys(moves);
  };
  EXPECT_EQ(tried(restored.moves()), tried(end.moves));
  EXPECT_EQ(keys(restored.spans()), keys(end.spans));
  EXPECT_EQ(keys(restored.rounds()), keys(end.rounds));
  for (std::uint32_t vm = 0; vm < instance.vms.size(); ++vm) {
    EXPECT_EQ(next.inventory().hosts_of(VmId{vm}), end.held[vm]) << "vm" << vm;
  }
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
    const bool has_ivshmem = session.cluster.instance.vms[i].ivshmem > Bytes();
    if (degraded) {
      EXPECT_FALSE(vm.virtual_function && vm.ivshmem) << "vm" << i;
    } else {
      EXPECT_TRUE(vm.virtual_function) << "vm" << i;
      EXPECT_EQ(vm.ivshmem, has_ivshmem) << "vm" << i;
    }
  }
  expect_history_is_complete(world, session, end);
}

}  // namespace ferry
