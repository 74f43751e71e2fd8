#include "core/migration/journal_history.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/ports/randomness.hpp"
#include "tests/contract/small_cluster.hpp"

namespace ferry {
namespace {

constexpr VmId vm0{0};
constexpr HostId host0{0}, host3{3};
using testing::ElementsAre;

TimePoint at(std::int64_t nanoseconds) { return TimePoint::at(Duration::nanoseconds(nanoseconds)); }

/// vm0 and vm2, both of job `pair`, may move to host3, and vm0 then back.
Instance instance_of_test() {
  Instance instance = small_cluster().instance;
  for (const std::uint32_t vm : {0U, 2U, 0U}) {
    MoveSpec move;
    move.vm = VmId{vm};
    instance.moves.push_back(move);
  }
  return instance;
}

const Instance& instance() {
  static const Instance instance = instance_of_test();
  return instance;
}

/// A whole run: vm0 and vm2 in one wave; vm2's virtual function fails at host3, and it goes back.
std::vector<std::string> example() {
  const RoundReport round{1, Bytes(100), Duration::nanoseconds(10), Bytes(7)};
  const std::vector<WaveMove> moves = {{0, host0, host3}, {1, HostId{1}, host3}};
  const std::vector<SuspendRequest> requests = {{JobId{0}, 5, {}}};
  const TransferReport report{.downtime = Duration::nanoseconds(3),
                              .bytes = Bytes(100),
                              .rounds = 1,
                              .note = "throttled, then post-copy"};
  using records::PhaseEnd;
  return {
      records::controller_begins(1, at(0), 1'700'000'000'000'000'000),
      records::wave_opens(instance(), 1, at(10), moves, requests),
      records::wave_suspended(1, at(20)),
      records::device_begins(Phase::detach_vf, "vm0", "host0", at(21)),
      records::device_begins(Phase::detach_vf, "vm2", "host1", at(22)),
      records::phase_ends(PhaseEnd::done, Phase::detach_vf, "vm0", at(30)),
      records::phase_ends(PhaseEnd::done, Phase::detach_vf, "vm2", at(31)),
      records::migration_begins("vm0", "host0", "host3", at(40)),
      records::migration_begins("vm2", "host1", "host3", at(41)),
      records::round_ends("vm0", round),
      records::migration_done("vm0", at(50), report),
      records::migration_done("vm2", at(51), report),
      records::device_begins(Phase::attach_vf, "vm0", "host3", at(52)),
      records::device_begins(Phase::attach_vf, "vm2", "host3", at(53)),
      records::phase_ends(PhaseEnd::done, Phase::attach_vf, "vm0", at(60)),
      records::phase_ends(PhaseEnd::failed, Phase::attach_vf, "vm2", at(61)),
      records::at_rest("vm0", at(60), Outcome::completed, "host3", at(30), ""),
      records::function_replaced("vm2", "host3"),
      records::goes_back("vm2", "host1", "no function\nis left"),
      records::migration_begins("vm2", "host3", "host1", at(62)),
      records::migration_done("vm2", at(70), report),
      records::device_begins(Phase::attach_vf, "vm2", "host1", at(71)),
      records::phase_ends(PhaseEnd::done, Phase::attach_vf, "vm2", at(80)),
      records::at_rest("vm2", at(80), Outcome::rolled_back, "host1", at(31), "no function is left"),
      records::wave_reactivates(1, at(81)),
      records::status_is_stale("vm2", "its status could not be set"),
      records::wave_closed(1, at(90)),
      records::controller_ends(at(91), true),
  };
}

TEST(JournalHistory, knows_everything_that_the_records_say) {
  const auto history = read_history(example(), instance());
  ASSERT_TRUE(history.has_value()) << history.error();

  ASSERT_EQ(history->controllers.size(), 1U);
  EXPECT_EQ(history->controllers[0].origin, 1'700'000'000'000'000'000);
  EXPECT_EQ(history->controllers[0].ended, at(91));
  EXPECT_TRUE(history->controllers[0].interrupted);
  EXPECT_EQ(history->last, at(91));
  EXPECT_EQ(history->last_wave, 1U);
  EXPECT_THAT(history->epochs, ElementsAre(5));
  EXPECT_THAT(history->replaced, ElementsAre(std::pair(VmId{2}, host3)));
  EXPECT_EQ(history->events.size(), 3U);

  ASSERT_EQ(history->waves.size(), 1U);
  const WaveHistory& wave = history->waves[0];
  EXPECT_EQ(wave.opened, at(10));
  ASSERT_TRUE(wave.suspension.has_value());
  EXPECT_TRUE(wave.suspension->ready);
  EXPECT_EQ(wave.closed, at(90));
  ASSERT_EQ(wave.moves.size(), 2U);
  EXPECT_EQ(wave.moves[0].vm, vm0);
  EXPECT_EQ(wave.moves[0].move.from, host0);
  EXPECT_EQ(wave.moves[0].move.to, host3);
  EXPECT_EQ(wave.moves[0].vf_gone, at(30));
  EXPECT_EQ(wave.moves[0].transfer.rounds, 1);
  EXPECT_EQ(wave.moves[0].transfer.note, "throttled, then post-copy");
  EXPECT_EQ(wave.moves[1].transfer.bytes, Bytes(200)) << "there and back";
  EXPECT_EQ(wave.moves[1].transfer.downtime, Duration::nanoseconds(6));
  EXPECT_EQ(wave.moves[1].back, "no function is left") << "a text stays one line";
  EXPECT_EQ(wave.moves[0].host, host3);
  EXPECT_EQ(wave.moves[1].rest->outcome, Outcome::rolled_back);
  EXPECT_EQ(wave.moves[1].stale, "its status could not be set");

  ASSERT_EQ(history->rounds.size(), 1U);
  EXPECT_EQ(history->rounds[0].second.dirty_bytes, Bytes(7));
  const auto spans = std::count_if(history->spans.begin(), history->spans.end(),
                                   [](const SpanRecord& span) { return span.vm == vm0; });
  EXPECT_EQ(spans, 5) << "set_pre_migration, detach_vf, migration, attach_vf, set_post_migration";
  const SpanRecord& last = history->spans.back();
  EXPECT_EQ(last.phase, Phase::set_post_migration);
  EXPECT_EQ(last.start, at(80));
  EXPECT_EQ(last.outcome, Outcome::failed) << "it is stale";
}

TEST(JournalHistory, knows_where_a_vm_is_that_is_on_its_way_back) {
  std::vector<std::string> all = example();
  const auto returned = std::find_if(all.begin(), all.end(), [](const std::string& record) {
    return record.starts_with("done migration vm2 70");
  });
  ASSERT_NE(returned, all.end());
  all.erase(returned, all.end());
  const auto history = read_history(all, instance());
  ASSERT_TRUE(history.has_value()) << history.error();
  EXPECT_EQ(history->waves[0].moves[1].host, host3) << "its memory has not arrived";
}

TEST(JournalHistory, knows_which_moves_were_given_up_and_refuses_others) {
  std::vector<std::string> all = example();
  all.insert(all.end() - 1, records::given_up(0, "vm0", at(91), "no place\nfor it"));
  const auto history = read_history(all, instance());
  ASSERT_TRUE(history.has_value()) << history.error();
  ASSERT_EQ(history->given_up.size(), 1U);
  EXPECT_EQ(history->given_up[0].move, 0U);
  EXPECT_EQ(history->given_up[0].at, at(91));
  EXPECT_EQ(history->given_up[0].reason, "no place for it");
  EXPECT_EQ(history->events.back().kind, JournalHistory::Event::Kind::given_up);
  for (const char* bad : {"given_up 0:vm2 91 x", "given_up 77:vm0 91 x", "given_up vm0 91 x",
                          "given_up 0:nobody 91 x", "given_up 0:vm0"}) {
    all.end()[-2] = bad;
    EXPECT_FALSE(read_history(all, instance()).has_value()) << bad;
  }
  all = example();
  all.insert(all.begin() + 3, records::given_up(0, "vm0", at(11), "it is in an open wave"));
  EXPECT_FALSE(read_history(all, instance()).has_value());
}

TEST(JournalHistory,
     knows_who_was_lost_while_it_waited_for_its_wave_and_which_hosts_are_out_of_use) {
  std::vector<std::string> all = example();
  const auto reactivates = std::find(all.begin(), all.end(), records::wave_reactivates(1, at(81)));
  all.insert(reactivates + 1, {records::status_is_stale("vm0", "host3 does not answer"),
                               records::at_rest("vm0", at(85), Outcome::lost, "host3", at(30),
                                                "host3 does not answer"),
                               records::host_is_down("host3")});
  const auto history = read_history(all, instance());
  ASSERT_TRUE(history.has_value()) << history.error();
  const MoveHistory::Rest& rest = *history->waves[0].moves[0].rest;
  EXPECT_EQ(rest.outcome, Outcome::lost);
  EXPECT_EQ(rest.reason, "host3 does not answer");
  EXPECT_EQ(rest.at, at(60)) << "its last phase began when it first came to rest";
  EXPECT_THAT(history->hosts_down, ElementsAre(host3));

  all = example();
  all.insert(all.begin() + 17,
             records::at_rest("vm0", at(61), Outcome::degraded, "host3", {}, "again"));
  const auto twice = read_history(all, instance());
  ASSERT_FALSE(twice.has_value());
  EXPECT_EQ(twice.error(), "record 18: it has been at rest before");
}

TEST(JournalHistory, says_what_was_under_way_after_any_number_of_records) {
  const std::vector<std::string> all = example();
  for (std::size_t count = 0; count <= all.size(); ++count) {
    const auto history = read_history(std::span(all).first(count), instance());
    EXPECT_TRUE(history.has_value()) << history.error();
  }
  const auto history = read_history(std::span(all).first(10), instance());
  ASSERT_TRUE(history.has_value());
  const MoveHistory& move = history->waves[0].moves[0];
  EXPECT_EQ(move.last_phase, Phase::migration);
  ASSERT_TRUE(move.open[static_cast<std::size_t>(Phase::migration)].has_value());
  EXPECT_EQ(move.open[static_cast<std::size_t>(Phase::migration)]->to, host3);
  EXPECT_FALSE(move.open[static_cast<std::size_t>(Phase::detach_vf)].has_value());
  EXPECT_EQ(move.sent_in_rounds, Bytes(100));
  EXPECT_FALSE(history->waves[0].closed.has_value());
}

TEST(JournalHistory, whatever_does_not_fit_is_an_error_with_the_record_s_number) {
  const std::string begins = "controller 1 0 0";
  const std::string opens = "wave 1 opens 0 moves 0:vm0:host0:host3 jobs pair:1";
  struct Case {
    std::vector<std::string> records;
    std::string error;
  };
  const std::vector<Case> cases = {
      {{"wave 1 opens 0 moves 0:vm0:host0:host3 jobs"}, "record 1: no controller has begun"},
      {{""}, "record 1: it ends too early"},
      {{"controller 2 0 0"}, "record 1: controller 1 would be next"},
      {{"controller 1 -5 0"}, "record 1: -5 ns is no time of a run"},
      {{"controller ends 5 done"}, "record 1: no controller has begun"},
      {{begins, "controller ends 5 badly"}, "record 2: a controller ends done or interrupted"},
      {{begins, "greetings"}, "record 2: no record begins with 'greetings'"},
      {{begins, opens + " pair:1x"}, "record 2: '1x' is no number of this kind"},
      {{begins, "wave 1 opens 0 moves 0:vm9:host0:host3 jobs"},
       "record 2: 'vm9' is no VM of this scenario"},
      {{begins, "wave 1 opens 0 moves 0:vm0:host0:host9 jobs"},
       "record 2: 'host9' is no host of this scenario"},
      {{begins, "wave 1 opens 0 moves 1:vm0:host0:host3 jobs"},
       "record 2: '1:vm0:host0:host3' is no move of this scenario"},
      {{begins, "wave 1 opens 0 moves 7:vm0:host0:host3 jobs"},
       "record 2: '7:vm0:host0:host3' is no move of this scenario"},
      {{begins, "wave 1 opens 0 moves 0:vm0:host0 jobs"},
       "record 2: '0:vm0:host0' does not have 4 parts"},
      {{begins, "wave 1 opens 0 moves jobs"}, "record 2: a wave has a move"},
      {{begins, "wave 1 opens 0 moves 0:vm0:host0:host3"}, "record 2: the jobs are missing"},
      {{begins, opens + " other:1"}, "record 2: 'other' is no job of this scenario"},
      {{begins, opens, "wave 2 opens 0 moves 2:vm0:host0:host3 jobs"},
       "record 3: vm0 is in an open wave already"},
      {{begins, opens, "wave 1 opens 0 moves 1:vm2:host1:host3 jobs"},
       "record 3: wave 1 has been opened before"},
      {{begins, opens, "wave 2 suspended 5"}, "record 3: wave 2 is not open"},
      {{begins, opens, "wave 1 suspended 5", "wave 1 suspended 6"},
       "record 4: its set_pre_migration has ended before"},
      {{begins, opens, "wave 1 reactivates 5"}, "record 3: vm0 is not at rest"},
      {{begins, opens, "wave 1 closed 5"}, "record 3: it was not reactivated"},
      {{begins, opens, "wave 1 explodes 5"}, "record 3: 'explodes' does not happen to waves"},
      {{begins, opens, "detach_vf vm2 host0 5"}, "record 3: vm2 is in no open wave"},
      {{begins, opens, "done detach_vf vm0 5"}, "record 3: vm0 did not begin it"},
      {{begins, opens, "detach_vf vm0 host0 5", "detach_vf vm0 host0 6"},
       "record 4: vm0 cannot begin it now"},
      {{begins, opens, "set_pre_migration vm0 host0 5"}, "record 3: this phase is a whole wave's"},
      {{begins, opens, "detach_vf vm0 host0 5 and more"}, "record 3: 'and more' is too much"},
      {{begins, opens, "round vm0 1 2 3 4"}, "record 3: vm0 is not migrating"},
      {{begins, opens, "migration vm0 host0 host3 5", "round vm0 1 2000000000000000 3 4"},
       "record 4: 2000000000000000 bytes are too many"},
      {{begins, opens, "rest vm0 5 completed host3"}, "record 3: it ends too early"},
      {{begins, opens, "rest vm0 5 happy host3 - "}, "record 3: it names no outcome"},
      {{begins, opens, "migration vm0 host0 host3 5", "rest vm0 5 completed host3 - "},
       "record 4: a phase of it has not ended"},
      {{begins, opens, "back vm0 host1 because"}, "record 3: it came from another host"},
  };
  for (const Case& c : cases) {
    const auto history = read_history(c.records, instance());
    ASSERT_FALSE(history.has_value()) << c.error;
    EXPECT_EQ(history.error(), c.error);
  }
}

/// Words exchanged, lost, doubled and changed: the reader says no, or understands something whose
/// parts are those of the instance. (Sanitizers see the rest.)
TEST(JournalHistory, any_garbage_is_an_error_or_makes_sense) {
  const std::vector<std::string> good = example();
  std::vector<std::string> words = {"",    " ",     "-",      ":",
                                    "vm0", "host3", "pair:9", "99999999999999999999"};
  for (const std::string& record : good) {
    for (std::size_t begin = 0; begin < record.size();) {
      const std::size_t end = std::min(record.find(' ', begin), record.size());
      words.push_back(record.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  RandomStream random(1, "garbage");
  const auto pick = [&random](const auto& list) { return list[random.next_below(list.size())]; };
  std::size_t accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::string> records = good;
    records.resize(1 + random.next_below(records.size()));
    for (std::uint64_t changes = 1 + random.next_below(3); changes > 0; --changes) {
      std::string& record = records[random.next_below(records.size())];
      switch (random.next_below(5)) {
        case 0: std::swap(record, records[random.next_below(records.size())]); break;
        case 1: record = pick(good); break;
        case 2: record.resize(random.next_below(record.size() + 1)); break;
        case 3: {
          const std::size_t space = record.find(' ', random.next_below(record.size() + 1));
          if (space != std::string::npos) {
            const std::size_t end = std::min(record.find(' ', space + 1), record.size());
            record.replace(space + 1, end - space - 1, pick(words));
          }
          break;
        }
        default:
          if (!record.empty()) {
            record[random.next_below(record.size())] = static_cast<char>(random.next_below(256));
          }
      }
    }
    const auto history = read_history(records, instance());
    if (!history) {
      ASSERT_TRUE(history.error().starts_with("record ")) << history.error();
      continue;
    }
    ++accepted;
    for (const WaveHistory& wave : history->waves) {
      for (const MoveHistory& move : wave.moves) {
        ASSERT_LT(move.move.move, instance().moves.size());
        ASSERT_EQ(instance().moves[move.move.move].vm, move.vm);
        ASSERT_LT(move.move.to.index, instance().hosts.size());
      }
    }
  }
  EXPECT_GT(accepted, 100U) << "nearly everything is refused: the changes are too coarse";
}

}  // namespace
}  // namespace ferry
