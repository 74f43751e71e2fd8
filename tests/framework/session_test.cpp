// Sessions on every world: what one migration does, and how several share the cluster.
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>

#include "controller/surroundings.hpp"
#include "tests/contract/rank_end.hpp"
#include "tests/framework/session_run.hpp"

namespace ferry {
namespace {

constexpr VmId vm0{0}, vm1{1}, vm2{2}, vm3{3};
constexpr HostId host0{0}, host1{1}, host3{3};

class SessionInWorlds : public Contract {
 protected:
  void run_case(SessionCase& session, const std::function<void(World&)>& body) const {
    GetParam()->run(session.cluster.instance, session.cluster.platform, body);
  }
};
FERRY_FOR_EVERY_WORLD(SessionInWorlds);

bool overlap(const MoveRecord& a, const MoveRecord& b) {
  return a.start < b.end && b.start < a.end;
}

/// One rank's message to another, in the same world after its VM has moved.
void expect_a_message_arrives(World& world, VmId from, VmId to) {
  const RankEnd sender(world, inside(from));
  const RankEnd receiver(world, inside(to));
  const std::vector<std::byte> hello = {std::byte{'h'}, std::byte{'i'}};
  const std::unique_ptr<Task> rank = world.executor.spawn(
      "sender", [&] { sender.post(receiver.address(), Channel::sriov, 1, hello); });
  const Arrival* const got = receiver.receive(after(world, ms(5000)));
  rank->join();
  ASSERT_NE(got, nullptr);
  EXPECT_EQ(body_of(*got), hello);
  EXPECT_EQ(got->from, sender.address());
}

TEST_P(SessionInWorlds, one_migration_goes_through_seven_phases_and_a_message_through_the_fabric) {
  SessionCase session;
  session.move(vm0, host3);
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    EXPECT_EQ(end.only_move().outcome, Outcome::completed);
    EXPECT_EQ(end.only_move().reason, "");
    EXPECT_EQ(world.hypervisor.inspect(vm0).host, host3);
    expect_invariant(world, session, end);

    const SpanRecord pre = end.span(vm0, Phase::set_pre_migration);
    const SpanRecord detach = end.span(vm0, Phase::detach_vf);
    const SpanRecord remove = end.span(vm0, Phase::remove_ivshmem);
    const SpanRecord migration = end.span(vm0, Phase::migration);
    const SpanRecord attach = end.span(vm0, Phase::attach_vf);
    const SpanRecord add = end.span(vm0, Phase::add_ivshmem);
    const SpanRecord post = end.span(vm0, Phase::set_post_migration);
    EXPECT_EQ(pre.start, end.only_move().start);
    EXPECT_LE(pre.end, std::min(detach.start, remove.start));
    EXPECT_LE(std::max(detach.end, remove.end), migration.start);
    EXPECT_LE(migration.end, std::min(attach.start, add.start));
    EXPECT_LE(std::max(attach.end, add.end), post.start);
    EXPECT_EQ(post.end, end.only_move().end);
    EXPECT_EQ(migration.host, host0);
    EXPECT_EQ(attach.host, host3);
    EXPECT_GE(end.only_move().outage, migration.end - migration.start);
    EXPECT_LE(end.only_move().transfer.downtime, migration.end - migration.start);
    Bytes sent;
    for (const RoundRecord& round : end.rounds) sent += round.report.bytes;
    EXPECT_EQ(sent, end.only_move().transfer.bytes);

    expect_a_message_arrives(world, vm0, vm2);
  });
}

TEST_P(SessionInWorlds, every_rank_of_a_touched_job_answers_and_goes_on) {
  SessionCase session;
  session.move(vm0, host3);
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    ASSERT_EQ(end.ranks.size(), 2U);
    const SpanRecord detach = end.span(vm0, Phase::detach_vf);
    const SpanRecord attach = end.span(vm0, Phase::attach_vf);
    for (const RankRecord& rank : end.ranks) {
      EXPECT_LE(rank.requested, rank.drained);
      EXPECT_LE(rank.drained, rank.ready);
      EXPECT_LE(rank.ready, detach.start);
      EXPECT_GE(rank.blocked_to, attach.end);
    }
  });
}

TEST_P(SessionInWorlds, a_rank_that_computes_past_the_migration_is_not_blocked) {
  SessionCase session;
  session.move(vm0, host3);
  session.cluster.instance.jobs[0].next_call = {Duration::seconds(30), Duration::seconds(30)};
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    for (const RankRecord& rank : end.ranks) EXPECT_EQ(rank.blocked_from, rank.blocked_to);
  });
}

TEST_P(SessionInWorlds, a_progress_engine_notices_only_at_the_next_call) {
  SessionCase session;
  session.move(vm0, host3);
  session.cluster.instance.jobs[0].strategy = Strategy::progress_engine;
  session.cluster.instance.jobs[0].next_call = {ms(80), ms(10)};
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    const SpanRecord pre = end.span(vm0, Phase::set_pre_migration);
    EXPECT_GE(pre.end - pre.start, ms(80));
    for (const RankRecord& rank : end.ranks) {
      EXPECT_GE(rank.blocked_to - rank.blocked_from, rank.blocked_to - pre.end);
    }
  });
}

TEST_P(SessionInWorlds, ranks_that_are_not_ready_in_time_roll_the_wave_back) {
  SessionCase session;
  session.move(vm0, host3).timeouts.suspend = Duration::seconds(5);
  session.cluster.instance.jobs[0].strategy = Strategy::progress_engine;
  session.cluster.instance.jobs[0].next_call = {Duration::seconds(20), Duration::zero()};
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    EXPECT_EQ(end.only_move().outcome, Outcome::rolled_back);
    EXPECT_EQ(end.only_move().reason, "ranks of job pair were not ready in time");
    expect_invariant(world, session, end);
  });
}

TEST_P(SessionInWorlds, parallel_moves_overlap_and_sequential_ones_do_not) {
  for (const Order order : {Order::parallel, Order::sequential}) {
    SessionCase session;
    session.move(vm1, host3);
    session.move(vm3, host1);
    session.scenario.schedule.order = order;
    run_case(session, [&](World& world) {
      const SessionEnd end = run_session(world, session);
      ASSERT_EQ(end.moves.size(), 2U);
      EXPECT_EQ(overlap(end.moves[0], end.moves[1]), order == Order::parallel);
      expect_invariant(world, session, end);
    });
  }
}

TEST_P(SessionInWorlds, limits_keep_moves_apart) {
  SessionCase session;
  session.move(vm0, host3);
  session.move(vm1, host1);
  session.scenario.schedule.limits.host_out = 1;
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    ASSERT_EQ(end.moves.size(), 2U);
    EXPECT_FALSE(overlap(end.moves[0], end.moves[1]));
    expect_invariant(world, session, end);
  });
}

TEST_P(SessionInWorlds, stagger_keeps_starts_apart) {
  SessionCase session;
  session.move(vm0, host3);
  session.move(vm1, host1);
  session.scenario.schedule.stagger = ms(50);
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    const SpanRecord first = end.span(vm0, Phase::set_pre_migration);
    const SpanRecord second = end.span(vm1, Phase::set_pre_migration);
    EXPECT_GE(second.start - first.start, ms(50));
  });
}

TEST_P(SessionInWorlds, a_move_waits_for_its_time) {
  SessionCase session;
  session.move(vm0, host3, ms(70));
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    EXPECT_GE(end.only_move().start, TimePoint::at(ms(70)));
  });
}

TEST_P(SessionInWorlds, the_vms_of_a_job_move_in_one_wave) {
  SessionCase session;
  session.move(vm0, host3);
  session.move(vm2, host3);
  session.scenario.schedule.batch = Batch::job;
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    EXPECT_EQ(end.ranks.size(), 2U);  // one suspension of both ranks, not two
    const SpanRecord first = end.span(vm0, Phase::set_post_migration);
    const SpanRecord second = end.span(vm2, Phase::set_post_migration);
    EXPECT_EQ(first.end, second.end);
    EXPECT_GE(first.end,
              std::max(end.span(vm0, Phase::attach_vf).end, end.span(vm2, Phase::attach_vf).end));
    expect_invariant(world, session, end);
  });
}

TEST_P(SessionInWorlds, a_vm_moves_out_and_back_in_order) {
  SessionCase session;
  session.move(vm0, host3);
  session.move(vm0, host0, ms(1)).migration = "return";
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    ASSERT_EQ(end.moves.size(), 2U);
    EXPECT_EQ(end.moves[0].to, host3);
    EXPECT_EQ(end.moves[1].from, host3);
    EXPECT_EQ(end.moves[1].to, host0);
    EXPECT_GE(end.moves[1].start, end.moves[0].end);
    expect_invariant(world, session, end);
  });
}

TEST_P(SessionInWorlds, a_full_destination_is_waited_for) {
  SessionCase session;
  session.cluster.instance.hosts[1].virtual_functions = 1;  // vm2 holds it until it has left
  session.move(vm0, host1);
  session.move(vm2, host3);
  // The plan fills hosts in the order of names: vm2's migration goes first.
  session.cluster.instance.moves[1].migration = "first";
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    ASSERT_EQ(end.moves.size(), 2U);
    EXPECT_EQ(end.moves[0].vm, vm2);
    EXPECT_EQ(end.moves[1].outcome, Outcome::completed);
    EXPECT_GE(end.moves[1].start, end.moves[0].end);
    expect_invariant(world, session, end);
  });
}

TEST_P(SessionInWorlds, a_wave_larger_than_the_limits_is_not_started_and_says_so) {
  SessionCase session;
  session.move(vm0, host3);
  session.move(vm1, host3);
  session.scenario.schedule.batch = Batch::all;
  session.scenario.schedule.limits.cluster = 1;
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    ASSERT_EQ(end.moves.size(), 2U);
    for (const MoveRecord& move : end.moves) {
      EXPECT_EQ(move.outcome, Outcome::not_started);
      EXPECT_EQ(move.reason,
                "its wave of 2 moves never fitted under the limits and on the hosts at once");
    }
    expect_invariant(world, session, end);
  });
}

/// vm0 before vm1 before vm2, each to host3.
void in_a_row(SessionCase& session) {
  for (const VmId vm : {vm0, vm1, vm2}) session.move(vm, host3);
  for (const auto& [first, then] : {std::pair(vm0, vm1), std::pair(vm1, vm2)}) {
    session.cluster.instance.constraints.push_back(
        {ConstraintSpec::Kind::before, {first}, {then}, Duration::zero()});
  }
}

const MoveRecord& move_of(const SessionEnd& end, VmId vm) {
  const auto found = std::find_if(end.moves.begin(), end.moves.end(),
                                  [&](const MoveRecord& move) { return move.vm == vm; });
  EXPECT_NE(found, end.moves.end());
  return found == end.moves.end() ? end.moves.front() : *found;
}

TEST_P(SessionInWorlds, who_should_follow_one_that_did_not_arrive_never_begins_and_holds_nothing) {
  SessionCase session;
  in_a_row(session);
  session.fault(vm0, Phase::migration, Fault::Fail::always);
  session.move(vm3, host3, Duration::milliseconds(1));
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    ASSERT_EQ(end.moves.size(), 4U);
    EXPECT_EQ(move_of(end, vm0).outcome, Outcome::rolled_back);
    EXPECT_EQ(move_of(end, vm1).outcome, Outcome::not_started);
    EXPECT_EQ(move_of(end, vm1).reason, "vm0 had to move before it, and did not arrive");
    EXPECT_EQ(move_of(end, vm2).outcome, Outcome::not_started);
    EXPECT_EQ(move_of(end, vm2).reason, "vm1 had to move before it, and did not arrive");
    EXPECT_EQ(move_of(end, vm3).outcome, Outcome::completed);
    for (const VmId vm : {vm0, vm1, vm2}) {
      EXPECT_EQ(end.held[vm.index],
                std::vector<HostId>{session.cluster.instance.vms[vm.index].host});
    }
    expect_invariant(world, session, end);
  });
}

TEST_P(SessionInWorlds, who_follows_one_that_is_tried_again_waits_for_the_last_attempt) {
  SessionCase session;
  in_a_row(session);
  session.fault(vm0, Phase::migration, Fault::Fail::once);
  session.cluster.instance.moves[0].retry = {.attempts = 1, .wait = Duration::milliseconds(20)};
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    ASSERT_EQ(end.moves.size(), 3U);
    for (const MoveRecord& move : end.moves) EXPECT_EQ(move.outcome, Outcome::completed);
    EXPECT_GE(move_of(end, vm1).start, move_of(end, vm0).end);
    EXPECT_GE(move_of(end, vm2).start, move_of(end, vm1).end);
    expect_invariant(world, session, end);
  });
}

TEST_P(SessionInWorlds, a_sequential_plan_comes_to_who_must_move_first_and_then_back) {
  SessionCase session;
  session.scenario.schedule.order = Order::sequential;
  in_a_row(session);
  session.fault(vm0, Phase::migration, Fault::Fail::once);
  session.cluster.instance.moves[0].retry = {.attempts = 1, .wait = Duration::milliseconds(20)};
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    ASSERT_EQ(end.moves.size(), 3U);
    for (const MoveRecord& move : end.moves) {
      EXPECT_EQ(move.outcome, Outcome::completed) << move.reason;
    }
    for (const auto& [first, then] : {std::pair(vm0, vm1), std::pair(vm1, vm2)}) {
      EXPECT_GE(move_of(end, then).start, move_of(end, first).end);
    }
    expect_invariant(world, session, end);
  });
}

TEST_P(SessionInWorlds, a_move_that_can_never_begin_keeps_no_later_one_of_a_sequential_plan) {
  SessionCase session;
  session.scenario.schedule.order = Order::sequential;
  session.move(vm0, host3);
  session.move(vm0, host0, Duration::milliseconds(1));  // it is there already
  session.move(vm1, host3, Duration::milliseconds(2));
  session.fault(vm0, Phase::migration, Fault::Fail::always);
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    ASSERT_EQ(end.moves.size(), 3U);
    EXPECT_EQ(move_of(end, vm1).outcome, Outcome::completed) << move_of(end, vm1).reason;
    EXPECT_EQ(move_of(end, vm0).outcome, Outcome::rolled_back);
    EXPECT_EQ(end.moves.back().outcome, Outcome::not_started);
    EXPECT_THAT(end.moves.back().reason, testing::HasSubstr("no place for vm0"));
    expect_invariant(world, session, end);
  });
}

TEST_P(SessionInWorlds, who_should_follow_one_that_can_never_begin_is_given_up_with_it) {
  SessionCase session;
  session.move(vm0, host3);
  session.move(vm1, host3);
  session.move(vm2, host3);
  // A wave of two, under limits that admit one.
  session.cluster.instance.constraints.push_back(
      {ConstraintSpec::Kind::together, {vm0, vm1}, {}, Duration::zero()});
  session.cluster.instance.constraints.push_back(
      {ConstraintSpec::Kind::before, {vm0}, {vm2}, Duration::zero()});
  session.scenario.schedule.limits.host_in = 1;
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    ASSERT_EQ(end.moves.size(), 3U);
    for (const MoveRecord& move : end.moves) EXPECT_EQ(move.outcome, Outcome::not_started);
    EXPECT_EQ(move_of(end, vm2).reason, "vm0 had to move before it, and did not arrive");
    for (const VmId vm : {vm0, vm1, vm2}) {
      EXPECT_EQ(end.held[vm.index],
                std::vector<HostId>{session.cluster.instance.vms[vm.index].host});
    }
    expect_invariant(world, session, end);
  });
}

TEST_P(SessionInWorlds, the_first_interruption_starts_nothing_new_and_lets_moves_finish) {
  SessionCase session;
  session.move(vm0, host3);
  session.move(vm1, host3, Duration::seconds(3600));
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session, [&](Session& running) {
      ASSERT_TRUE(comes_true(world, [&] { return world.hypervisor.inspect(vm0).host == host3; }));
      session.interruption = Interruption::start_nothing_new;
      running.poll_interruption();
    });
    ASSERT_EQ(end.moves.size(), 2U);
    EXPECT_EQ(end.moves[0].vm, vm1);
    EXPECT_EQ(end.moves[0].outcome, Outcome::not_started);
    EXPECT_EQ(end.moves[0].reason, "interrupted before it began");
    EXPECT_EQ(end.moves[1].outcome, Outcome::completed);
    expect_invariant(world, session, end);
  });
}

TEST_P(SessionInWorlds, a_virtual_function_that_does_not_come_back_keeps_no_ivshmem_away) {
  for (const bool at_once : {true, false}) {
    SessionCase session;
    session.cluster.platform.hypervisor.devices_at_once = at_once;
    session.move(vm0, host3);
    session.fault(vm0, Phase::attach_vf, Fault::Fail::always);
    run_case(session, [&](World& world) {
      const SessionEnd end = run_session(world, session);
      EXPECT_EQ(end.only_move().outcome, Outcome::degraded);
      EXPECT_THAT(end.only_move().reason,
                  testing::HasSubstr("the virtual function has not come back on host0"));
      EXPECT_FALSE(world.hypervisor.inspect(vm0).virtual_function);
      EXPECT_TRUE(world.hypervisor.inspect(vm0).ivshmem) << at_once;
      expect_invariant(world, session, end);
    });
  }
}

/// Ranks whose moment never comes.
class NeverTheMoment : public JobRuntime {
 public:
  NeverTheMoment(JobRuntime& inner, World& world) : inner_(inner), world_(world) {}
  Result<> suspend(const SuspendRequest& request, TimePoint deadline) override {
    return inner_.suspend(request, deadline);
  }
  Result<> reactivate(const SuspendRequest& request, TimePoint deadline) override {
    return inner_.reactivate(request, deadline);
  }
  void await_moment(VmId /*vm*/, RankMoment /*moment*/) override {
    waits = true;
    world_.clock.sleep_until(TimePoint::never());
  }
  std::atomic<bool> waits = false;

 private:
  JobRuntime& inner_;
  World& world_;
};

TEST_P(SessionInWorlds, the_first_interruption_ends_the_wait_for_a_moment_of_the_ranks) {
  for (const Interruption level : {Interruption::start_nothing_new, Interruption::cancel}) {
    SessionCase session;
    session.move(vm0, host3).when = RankMoment::computing;
    session.scenario.platform = session.cluster.platform;
    const auto plan = make_plan(session.scenario, session.cluster.instance);
    run_case(session, [&](World& world) {
      LineJournal journal;
      RunRecords records(world.executor.make_mutex());
      Surroundings surroundings(world, session.scenario, session.cluster.instance, records);
      NeverTheMoment jobs(surroundings.jobs(), world);
      SessionOptions options;
      options.interruption = [&session] { return session.interruption.load(); };
      Session running(surroundings.world(), jobs, session.cluster.instance, *plan, journal, records,
                      options);
      const std::unique_ptr<Task> user = world.executor.spawn("user", [&] {
        ASSERT_TRUE(comes_true(world, [&] { return jobs.waits.load(); }));
        session.interruption = level;
        running.poll_interruption();
      });
      running.run();
      user->join();
      ASSERT_EQ(records.moves().size(), 1U);
      EXPECT_EQ(records.moves()[0].outcome, Outcome::not_started);
      EXPECT_EQ(records.moves()[0].reason, "interrupted before it began");
      EXPECT_EQ(running.inventory().hosts_of(vm0), std::vector<HostId>{host0});
      EXPECT_EQ(journal.lines.size(), 2U) << "a controller began and ended";
    });
  }
}

/// A disk that is full after so many records.
class FullJournal : public LineJournal {
 public:
  explicit FullJournal(std::size_t room) : room_(room) {}
  void append(std::string_view record) override {
    if (lines.size() >= room_) throw JournalError("the journal cannot be written");
    LineJournal::append(record);
  }

 private:
  std::size_t room_;
};

TEST_P(SessionInWorlds, a_journal_that_cannot_be_written_ends_the_session_and_another_one_goes_on) {
  for (std::size_t room = 1; room < 40; room += GetParam()->name() == "simulated" ? 1 : 6) {
    SCOPED_TRACE(room);
    SessionCase session;
    session.scenario.schedule.batch = room % 2 == 0 ? Batch::all : Batch::vm;
    session.move(vm0, host3);
    session.move(vm1, host3);
    session.scenario.platform = session.cluster.platform;
    const auto plan = make_plan(session.scenario, session.cluster.instance);
    run_case(session, [&](World& world) {
      FullJournal journal(room);
      RunRecords records(world.executor.make_mutex());
      Surroundings surroundings(world, session.scenario, session.cluster.instance, records);
      {
        Session full(surroundings.world(), surroundings.jobs(), session.cluster.instance, *plan,
                     journal, records, {});
        try {
          full.run();
          EXPECT_LE(journal.lines.size(), room);
          return;  // there was room for all of it
        } catch (const JournalError& error) {
          EXPECT_STREQ(error.what(), "the journal cannot be written");
        }
      }
      const auto history = read_history(journal.lines, session.cluster.instance);
      ASSERT_TRUE(history.has_value()) << history.error();
      RunRecords after(world.executor.make_mutex());
      LineJournal rest;
      Session next(surroundings.world(), surroundings.jobs(), session.cluster.instance, *plan, rest,
                   after, {});
      const auto resumed = next.resume(*history);
      ASSERT_TRUE(resumed.has_value()) << resumed.error();
      next.run();
      EXPECT_THAT(next.unsettled(), testing::IsEmpty());
      EXPECT_EQ(after.moves().size(), 2U);
      for (const VmId vm : {vm0, vm1}) {
        const VmInspection found = world.hypervisor.inspect(vm);
        EXPECT_TRUE(found.running && found.virtual_function && found.ivshmem);
        EXPECT_EQ(next.inventory().hosts_of(vm), std::vector<HostId>{found.host});
      }
    });
  }
}

TEST_P(SessionInWorlds, the_second_interruption_rolls_running_moves_back) {
  SessionCase session;
  session.move(vm0, host3);
  session.cluster.platform.hypervisor.prepare = Duration::seconds(60);
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session, [&](Session& running) {
      sleep(world, ms(500));  // the destination is being prepared
      session.interruption = Interruption::cancel;
      running.poll_interruption();
    });
    EXPECT_EQ(end.only_move().outcome, Outcome::cancelled);
    EXPECT_EQ(world.hypervisor.inspect(vm0).host, host0);
    EXPECT_LT(end.only_move().end, TimePoint::at(Duration::seconds(60)));
    expect_invariant(world, session, end);
  });
}

TEST_P(SessionInWorlds, what_changes_the_world_is_in_the_journal_before_it_happens) {
  SessionCase session;
  session.move(vm1, host3);
  run_case(session, [&](World& world) {
    const SessionEnd end = run_session(world, session);
    auto place = [&](const std::string& words) {
      const auto found =
          std::find_if(end.journal.begin(), end.journal.end(),
                       [&](const std::string& record) { return record.starts_with(words + " "); });
      EXPECT_NE(found, end.journal.end()) << words;
      return found - end.journal.begin();
    };
    const std::vector<std::string> in_order = {"controller 1",       "wave 1 opens",
                                               "wave 1 suspended",   "detach_vf vm1 host0",
                                               "done detach_vf vm1", "migration vm1 host0 host3",
                                               "done migration vm1", "attach_vf vm1 host3",
                                               "done attach_vf vm1", "rest vm1",
                                               "wave 1 reactivates", "wave 1 closed",
                                               "controller ends"};
    for (std::size_t i = 1; i < in_order.size(); ++i) {
      EXPECT_LT(place(in_order[i - 1]), place(in_order[i])) << in_order[i];
    }
    EXPECT_LT(place("remove_ivshmem vm1 host0"), place("done remove_ivshmem vm1"));
    EXPECT_LT(place("add_ivshmem vm1 host3"), place("done add_ivshmem vm1"));
    EXPECT_EQ(end.journal_synced, end.journal.size());
  });
}

}  // namespace
}  // namespace ferry
