// Controllers that go down at every boundary of their journal, and what the next one makes of it,
// in every world.
#include <gmock/gmock.h>

#include <algorithm>

#include "controller/surroundings.hpp"
#include "core/migration/fault_table.hpp"
#include "core/ports/randomness.hpp"
#include "tests/framework/session_run.hpp"

namespace ferry {
namespace {

constexpr VmId vm0{0}, vm1{1}, vm2{2}, vm3{3};
constexpr HostId host0{0}, host1{1}, host3{3};
using When = ControllerDeath::When;
constexpr std::array all_whens = {When::before, When::torn, When::after};

class RecoveryInWorlds : public Contract {
 protected:
  void run_case(SessionCase& session, const std::function<void(World&)>& body) const {
    GetParam()->run(session.cluster.instance, session.cluster.platform, body);
  }
  [[nodiscard]] bool simulated() const { return GetParam()->name() == "simulated"; }
};
FERRY_FOR_EVERY_WORLD(RecoveryInWorlds);

std::string text_of(const SessionEnd& end) {
  std::string text;
  for (std::size_t i = 0; i < end.journal.size(); ++i) {
    text += std::to_string(i + 1) + " " + end.journal[i] + "\n";
  }
  return text;
}

/// The phase in which the first controller went down, by what it wrote; none: no wave was open.
std::optional<Phase> phase_of_death(const SessionEnd& end) {
  std::optional<Phase> phase;
  for (const std::string& record : end.journal) {
    if (record.starts_with("controller 2 ")) break;
    if (record.starts_with("wave 1 opens ")) phase = Phase::set_pre_migration;
    if (record.starts_with("wave 1 reactivates ")) phase = Phase::set_post_migration;
    if (record.starts_with("wave 1 closed ")) phase.reset();
    for (const Phase candidate : all_phases) {
      if (record.starts_with(std::string(to_name(candidate)) + " ")) phase = candidate;
    }
  }
  return phase;
}

TEST_P(RecoveryInWorlds, a_death_at_any_boundary_of_the_journal_ends_as_the_table_allows) {
  constexpr std::uint64_t beyond_the_last = 40;
  for (std::uint64_t record = 1; record <= beyond_the_last; ++record) {
    for (const When when : all_whens) {
      if (!simulated() && when == When::before) continue;  // as torn; real time is dear
      SCOPED_TRACE("record " + std::to_string(record) + ", " +
                   std::to_string(static_cast<int>(when)));
      SessionCase session;
      session.move(vm0, host3);
      run_case(session, [&](World& world) {
        std::size_t controllers = 0;
        const SessionEnd end = run_session_through_downs(
            world, session, {{{record, when}, Duration::milliseconds(50)}}, &controllers);
        SCOPED_TRACE(text_of(end));
        EXPECT_EQ(controllers, record > end.journal.size() ? 1U : 2U);
        const std::optional<Phase> phase = phase_of_death(end);
        const MoveRecord& move = end.only_move();
        const std::vector<Outcome> allowed =
            phase ? allowed_ends(*phase, FaultKind::controller_down).ends
                  : std::vector{Outcome::completed};
        EXPECT_THAT(allowed, testing::Contains(move.outcome)) << to_name(move.outcome);
        EXPECT_EQ(world.hypervisor.inspect(vm0).host,
                  move.outcome == Outcome::completed ? host3 : host0);
        expect_invariant(world, session, end);
        if (record == beyond_the_last) {
          EXPECT_EQ(controllers, 1U) << "no death was beyond the end";
        }
      });
    }
  }
}

TEST_P(RecoveryInWorlds, a_rolled_back_move_is_tried_again_if_it_may) {
  SessionCase session;
  session.move(vm0, host3).retry = {.attempts = 1, .wait = ms(20)};
  run_case(session, [&](World& world) {
    // record 4 is the first device's intent
    const SessionEnd end = run_session_through_downs(world, session, {{{4, When::after}, ms(10)}});
    EXPECT_EQ(end.only_move().outcome, Outcome::completed) << text_of(end);
    EXPECT_EQ(end.only_move().from, host0);
    expect_invariant(world, session, end);
  });
}

TEST_P(RecoveryInWorlds, the_rest_of_the_plan_goes_on) {
  SessionCase session;
  session.scenario.schedule.order = Order::sequential;
  session.move(vm0, host3);
  session.move(vm1, host3);
  session.move(vm2, host3);
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session_through_downs(world, session, {{{25, When::torn}, ms(100)}});
    SCOPED_TRACE(text_of(end));
    ASSERT_EQ(end.moves.size(), 3U);
    EXPECT_EQ(end.moves[0].outcome, Outcome::completed);
    EXPECT_EQ(end.moves[2].outcome, Outcome::completed);
    EXPECT_EQ(world.hypervisor.inspect(vm2).host, host3);
    expect_invariant(world, session, end);
  });
}

TEST_P(RecoveryInWorlds, epochs_rise_over_controllers) {
  SessionCase session;
  session.scenario.schedule.order = Order::sequential;
  session.move(vm0, host3);
  session.move(vm2, host3);
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session_through_downs(world, session, {{{2, When::after}, ms(10)}});
    const auto opens = [&](const std::string& wave) {
      const auto found = std::find_if(
          end.journal.begin(), end.journal.end(),
          [&](const std::string& record) { return record.starts_with("wave " + wave + " opens"); });
      return found == end.journal.end() ? std::string() : *found;
    };
    EXPECT_TRUE(opens("1").ends_with(" jobs pair:1")) << text_of(end);
    EXPECT_TRUE(opens("2").ends_with(" jobs pair:2")) << text_of(end);
    expect_invariant(world, session, end);
  });
}

TEST_P(RecoveryInWorlds, a_migration_that_outlives_its_time_is_cancelled_by_the_next_controller) {
  SessionCase session;
  session.move(vm0, host3).timeouts.migration = Duration::seconds(2);
  session.fault(vm0, Phase::migration, Fault::Fail::no, Duration::seconds(3600));
  run_case(session, [&](World& world) {
    const TimePoint start = world.clock.now();
    // Record 8 is the migration's intent; the death comes too late to keep the call from being
    // made.
    const SessionEnd end = run_session_through_downs(world, session, {{{9, When::torn}, ms(50)}});
    EXPECT_EQ(end.only_move().outcome, Outcome::rolled_back) << text_of(end);
    EXPECT_LT(world.clock.now() - start, Duration::seconds(600));
    expect_invariant(world, session, end);
  });
}

TEST_P(RecoveryInWorlds, an_unplug_that_outlives_its_controller_is_awaited) {
  SessionCase session;
  session.move(vm0, host3);
  session.fault(vm0, Phase::detach_vf, Fault::Fail::no, Duration::seconds(3));
  run_case(session, [&](World& world) {
    // Record 6 ends remove_ivshmem, beside which detach_vf stalls.
    const SessionEnd end = run_session_through_downs(world, session, {{{6, When::torn}, ms(50)}});
    SCOPED_TRACE(text_of(end));
    EXPECT_EQ(end.only_move().outcome, Outcome::rolled_back);
    // Both are under way; which of them was noted first is left to the threads.
    EXPECT_THAT(end.only_move().reason,
                testing::AnyOf("the controller went down during remove_ivshmem",
                               "the controller went down during detach_vf"));
    const SpanRecord detach = end.span(vm0, Phase::detach_vf);
    EXPECT_GE(detach.end - detach.start, Duration::seconds(3));
    EXPECT_EQ(end.span(vm0, Phase::attach_vf).host, host0);
    expect_invariant(world, session, end);
  });
}

TEST_P(RecoveryInWorlds, memory_that_arrived_without_a_controller_leads_forward) {
  SessionCase session;
  session.move(vm0, host3);
  run_case(session, [&](World& world) {
    // Torn in the first round's record: the migration is under way, and arrives in the 20 s.
    const SessionEnd end =
        run_session_through_downs(world, session, {{{9, When::torn}, Duration::seconds(20)}});
    SCOPED_TRACE(text_of(end));
    EXPECT_EQ(end.only_move().outcome, Outcome::completed);
    EXPECT_EQ(end.only_move().reason, "the controller went down during migration");
    EXPECT_EQ(end.only_move().transfer.rounds, 0) << "nobody heard of it";
    EXPECT_EQ(world.hypervisor.inspect(vm0).host, host3);
    EXPECT_GE(end.only_move().outage, Duration::seconds(20));
    expect_invariant(world, session, end);
  });
}

/// What a session records that only brings to rest what this journal leaves open; and that it
/// leaves every VM that moves at its start.
std::vector<MoveRecord> settled(World& world, SessionCase& session,
                                const std::vector<std::string>& journal) {
  session.scenario.platform = session.cluster.platform;
  Instance& instance = session.cluster.instance;
  const auto plan = make_plan(session.scenario, instance);
  RunRecords records(world.executor.make_mutex());
  RunRecords of_ranks(world.executor.make_mutex());
  Surroundings surroundings(world, session.scenario, instance, of_ranks);
  const auto history = read_history(journal, instance);
  EXPECT_TRUE(history.has_value()) << history.error();
  LineJournal written;
  SessionOptions options;
  options.settle_only = true;
  Session next(surroundings.world(), surroundings.jobs(), instance, *plan, written, records,
               options);
  const auto resumed = next.resume(history.value());
  EXPECT_TRUE(resumed.has_value()) << resumed.error();
  if (!resumed) return {};
  next.run();
  for (const MoveSpec& move : instance.moves) {
    EXPECT_EQ(next.inventory().hosts_of(move.vm),
              std::vector<HostId>{instance.vms[move.vm.index].host});
  }
  return records.moves();
}

TEST_P(RecoveryInWorlds, settle_only_brings_to_rest_and_begins_nothing) {
  SessionCase session;
  session.scenario.schedule.order = Order::sequential;
  session.move(vm0, host3);
  session.move(vm1, host3);
  run_case(session, [&](World& world) {
    const std::vector<MoveRecord> moves =
        settled(world, session,
                {"controller 1 0 0", "wave 1 opens 0 moves 0:vm0:host0:host3 jobs pair:1",
                 "wave 1 suspended 0"});
    ASSERT_EQ(moves.size(), 2U);
    for (const MoveRecord& move : moves) {
      EXPECT_EQ(move.outcome, move.vm == vm0 ? Outcome::rolled_back : Outcome::not_started);
    }
  });
}

TEST_P(RecoveryInWorlds, settle_only_knows_moves_that_were_tried_again) {
  SessionCase session;
  session.move(vm0, host3).retry = {.attempts = 1, .wait = ms(20)};
  run_case(session, [&](World& world) {
    const std::vector<MoveRecord> moves = settled(
        world, session,
        {"controller 1 0 0", "wave 1 opens 0 moves 0:vm0:host0:host3 jobs pair:1",
         "wave 1 unsuspended 5 failed no", "rest vm0 5 rolled_back host0 - no",
         "wave 1 reactivates 5", "wave 1 closed 6",
         "wave 2 opens 20000006 moves 0:vm0:host0:host3 jobs pair:2", "wave 2 suspended 20000006"});
    ASSERT_EQ(moves.size(), 1U);
    EXPECT_EQ(moves[0].outcome, Outcome::rolled_back);
  });
}

TEST_P(RecoveryInWorlds, a_move_that_was_given_up_while_others_went_on_stays_so) {
  for (std::uint64_t record = 1; record < 60; record += simulated() ? 1 : 6) {
    SCOPED_TRACE("record " + std::to_string(record));
    SessionCase session;
    session.move(vm3, host1).retry = {.attempts = 1, .wait = Duration::seconds(1)};
    session.move(vm3, host3, Duration::seconds(4)).retry = {.attempts = 1, .wait = ms(20)};
    session.cluster.platform.hypervisor.keepalive = Duration::seconds(1);
    session.cluster.instance.cluster_faults = {
        {.kind = ClusterFaultSpec::Kind::host_down, .host = host1, .from = TimePoint()}};
    // Nobody else is on it.
    for (VmSpec& vm : session.cluster.instance.vms) {
      if (vm.host == host1) vm.host = host0;
    }
    run_case(session, [&](World& world) {
      const SessionEnd end = run_session_through_downs(
          world, session, {{{record, When::after}, Duration::milliseconds(50)}});
      SCOPED_TRACE(text_of(end));
      ASSERT_EQ(end.moves.size(), 2U);
      EXPECT_EQ(end.moves[0].outcome, Outcome::rolled_back);
      EXPECT_EQ(end.moves[1].outcome, Outcome::completed) << end.moves[1].reason;
      EXPECT_EQ(world.hypervisor.inspect(vm3).host, host3);
    });
    if (HasFailure()) break;
  }
}

TEST_P(RecoveryInWorlds, a_journal_that_does_not_fit_plan_or_world_is_refused) {
  SessionCase session;
  session.move(vm0, host3);
  session.scenario.platform = session.cluster.platform;
  const auto plan = make_plan(session.scenario, session.cluster.instance);
  run_case(session, [&](World& world) {
    const auto resume = [&](const std::vector<std::string>& journal) {
      const auto history = read_history(journal, session.cluster.instance);
      EXPECT_TRUE(history.has_value()) << history.error();
      RunRecords records(world.executor.make_mutex());
      LineJournal written;
      Session next(world, session.scenario, session.cluster.instance, *plan, written, records, {});
      const auto resumed = next.resume(*history);
      return resumed ? std::string() : resumed.error();
    };
    EXPECT_EQ(
        resume({"controller 1 0 0", "wave 1 opens 0 moves 0:vm0:host0:host1 jobs pair:1"}),
        "wave 1 of the journal is not one that this scenario's plan would have at this point");
    EXPECT_EQ(resume({"controller 1 0 0", "wave 1 opens 0 moves 0:vm0:host0:host3 jobs pair:1",
                      "wave 1 suspended 5", "rest vm0 9 completed host3 - ", "wave 1 reactivates 9",
                      "wave 1 closed 10"}),
              "vm0 runs on host0, but the journal left it on host3");
  });
}

/// Moves, faults and deaths as a seed has them.
void draw(SessionCase& session, std::vector<ControllerDown>& downs, std::uint64_t seed) {
  RandomStream random(seed, "recovery");
  constexpr std::array vms = {vm0, vm1, vm2, vm3};
  const bool sequential = random.next_below(2) == 0;
  session.scenario.schedule.order = sequential ? Order::sequential : Order::parallel;
  session.scenario.schedule.batch =
      std::array{Batch::vm, Batch::job, Batch::all}[random.next_below(3)];
  session.cluster.platform.hypervisor.devices_at_once = random.next_below(2) == 0;
  // Room for functions that fail and stay out of use.
  for (HostSpec& host : session.cluster.instance.hosts) host.virtual_functions = 8;
  for (const VmId vm : vms) {
    if (random.next_below(4) == 0) continue;
    const HostId from = session.cluster.instance.vms[vm.index].host;
    HostId to{static_cast<std::uint32_t>(random.next_below(4))};
    if (to == from) to = HostId{(from.index + 1) % 4};
    MoveSpec& move = session.move(
        vm, to, Duration::milliseconds(100) * static_cast<double>(random.next_below(3)));
    move.retry = {.attempts = static_cast<std::uint32_t>(random.next_below(2)), .wait = ms(10)};
    if (random.next_below(3) == 0) {
      const Phase phase = all_phases[random.next_below(phase_count)];
      const bool fails = random.next_below(2) == 0;
      session.fault(vm, phase, fails ? Fault::Fail::once : Fault::Fail::no,
                    fails ? Duration::zero() : Duration::milliseconds(700));
    }
  }
  if (session.cluster.instance.moves.empty()) session.move(vm0, host3);
  const std::uint64_t deaths = 1 + random.next_below(3);
  std::uint64_t record = 0;
  for (std::uint64_t i = 0; i < deaths; ++i) {
    record += 1 + random.next_below(25);
    downs.push_back({{record, all_whens[random.next_below(3)]},
                     Duration::milliseconds(1) * static_cast<double>(random.next_below(400))});
  }
}

TEST_P(RecoveryInWorlds, swarms_of_moves_faults_and_deaths_leave_every_vm_whole) {
  const std::uint64_t seeds = simulated() ? 150 : 12;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SessionCase session;
    std::vector<ControllerDown> downs;
    draw(session, downs, seed);
    run_case(session, [&](World& world) {
      const SessionEnd end = run_session_through_downs(world, session, downs);
      SCOPED_TRACE(text_of(end));
      expect_invariant(world, session, end);
      for (const MoveRecord& move : end.moves) {
        EXPECT_NE(move.outcome, Outcome::lost) << move.reason;
        EXPECT_NE(move.outcome, Outcome::not_started) << move.reason;
      }
    });
    if (HasFailure()) break;
  }
}

}  // namespace
}  // namespace ferry
