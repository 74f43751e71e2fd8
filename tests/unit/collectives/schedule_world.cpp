#include "tests/unit/collectives/schedule_world.hpp"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <random>
#include <span>

namespace ferry::mpi {
namespace {

bool is_transfer(const Step& step) {
  return step.kind == Step::Kind::send || step.kind == Step::Kind::receive;
}

/// A posted send or receive at one end of an ordered pair of ranks.
struct Posted {
  Piece piece;
  std::uint32_t number = 0;  ///< of a send, in its schedule
  bool eager = false;
  ByteVector bytes;  ///< of an eager send
};

struct Pair {
  std::deque<Posted> sends;
  std::deque<Posted> receives;
};

struct RankState {
  std::size_t round = 0;
  bool started = false;
  std::uint32_t receives_open = 0;
  std::uint32_t sends = 0;
  std::vector<bool> ended;  ///< by number of send
  ByteVector scratch;
};

class World {
 public:
  World(const std::vector<Schedule>& schedules, std::vector<RankMemory>& memory,
        const WorldOptions& options)
      : schedules_(schedules), memory_(memory), options_(options), random_(options.seed) {
    ranks_.resize(schedules.size());
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
      ranks_[rank].scratch.resize(schedules[rank].scratch);
      for (std::byte& byte : ranks_[rank].scratch) byte = static_cast<std::byte>(random_());
      events_.push_back({static_cast<Rank>(rank), -1});
    }
  }

  std::string run() {
    while (!events_.empty() && error_.empty()) {
      const std::size_t at = random_() % events_.size();
      const Event event = events_[at];
      events_[at] = events_.back();
      events_.pop_back();
      if (event.to < 0)
        advance(event.from);
      else
        transfer(event.from, event.to);
    }
    if (!error_.empty()) return error_;
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank)
      if (!done(rank))
        return "rank " + std::to_string(rank) + " waits for ever in round " +
               std::to_string(ranks_[rank].round);
    for (const auto& [ends, pair] : pairs_)
      if (!pair.sends.empty() || !pair.receives.empty())
        return "something is left between " + std::to_string(ends.first) + " and " +
               std::to_string(ends.second);
    return "";
  }

 private:
  /// A rank goes on (`to` negative), or the oldest message of a pair arrives.
  struct Event {
    Rank from = 0;
    Rank to = -1;
  };

  std::byte* at(Rank rank, const Piece& piece) {
    const auto index = static_cast<std::size_t>(rank);
    switch (piece.region) {
      case Region::input: return memory_[index].input.data() + piece.offset;
      case Region::output: return memory_[index].output.data() + piece.offset;
      default: return ranks_[index].scratch.data() + piece.offset;
    }
  }

  bool done(std::size_t rank) const {
    const RankState& state = ranks_[rank];
    return state.round == schedules_[rank].rounds.size() &&
           std::all_of(state.ended.begin(), state.ended.end(), [](bool ended) { return ended; });
  }

  static bool first_ended(const RankState& state, std::uint32_t count) {
    return count <= state.ended.size() &&
           std::all_of(state.ended.begin(), state.ended.begin() + count,
                       [](bool ended) { return ended; });
  }

  void post_send(Rank rank, const Step& step) {
    RankState& state = ranks_[static_cast<std::size_t>(rank)];
    Posted posted{step.from, state.sends++, false, {}};
    posted.eager = static_cast<int>(random_() % 100) < options_.eager_percent;
    if (posted.eager) {
      const std::byte* const data = at(rank, step.from);
      posted.bytes.assign(data, data + step.from.size);
    }
    state.ended.push_back(posted.eager);
    pairs_[{rank, step.peer}].sends.push_back(std::move(posted));
    events_.push_back({rank, step.peer});
  }

  void start_round(Rank rank) {
    const Schedule& schedule = schedules_[static_cast<std::size_t>(rank)];
    RankState& state = ranks_[static_cast<std::size_t>(rank)];
    const Round& round = schedule.rounds[state.round];
    state.started = true;
    for (const Step& step : std::span(&schedule.steps[round.first], round.count)) {
      if (step.kind == Step::Kind::send) post_send(rank, step);
      if (step.kind != Step::Kind::receive) continue;
      ++state.receives_open;
      pairs_[{step.peer, rank}].receives.push_back({step.into, 0, false, {}});
      events_.push_back({step.peer, rank});
    }
  }

  void advance(Rank rank) {
    const Schedule& schedule = schedules_[static_cast<std::size_t>(rank)];
    RankState& state = ranks_[static_cast<std::size_t>(rank)];
    if (state.round == schedule.rounds.size()) return;
    const Round& round = schedule.rounds[state.round];
    if (!state.started) {
      if (!first_ended(state, round.sends_ended_before)) return;
      start_round(rank);
    } else {
      if (state.receives_open > 0 || !first_ended(state, round.sends_ended_between)) return;
      for (const Step& step : std::span(&schedule.steps[round.first], round.count))
        carry_out(rank, step);
      ++state.round;
      state.started = false;
    }
    events_.push_back({rank, -1});
  }

  void carry_out(Rank rank, const Step& step) {
    if (step.kind == Step::Kind::copy)
      std::memmove(at(rank, step.into), at(rank, step.from), step.from.size);
    if (step.kind == Step::Kind::reduce)
      reduce_into(options_.op, options_.type, {at(rank, step.from), step.from.size},
                  {at(rank, step.into), step.into.size});
  }

  void transfer(Rank from, Rank to) {
    Pair& pair = pairs_[{from, to}];
    if (pair.sends.empty() || pair.receives.empty()) return;
    const Posted sent = std::move(pair.sends.front());
    const Posted received = std::move(pair.receives.front());
    pair.sends.pop_front();
    pair.receives.pop_front();
    if (sent.piece.size != received.piece.size) {
      error_ = "rank " + std::to_string(from) + " sends " + std::to_string(sent.piece.size) +
               " bytes to rank " + std::to_string(to) + ", which receives " +
               std::to_string(received.piece.size);
      return;
    }
    const std::byte* const data = sent.eager ? sent.bytes.data() : at(from, sent.piece);
    if (sent.piece.size > 0) std::memcpy(at(to, received.piece), data, sent.piece.size);
    ranks_[static_cast<std::size_t>(from)].ended[sent.number] = true;
    --ranks_[static_cast<std::size_t>(to)].receives_open;
    events_.push_back({from, -1});
    events_.push_back({to, -1});
    events_.push_back({from, to});
  }

  const std::vector<Schedule>& schedules_;
  std::vector<RankMemory>& memory_;
  const WorldOptions options_;
  std::mt19937_64 random_;
  std::vector<RankState> ranks_;
  std::map<std::pair<Rank, Rank>, Pair> pairs_;
  std::vector<Event> events_;
  std::string error_;
};

bool overlap(const Piece& a, const Piece& b) {
  return a.region == b.region && a.offset < b.offset + b.size && b.offset < a.offset + a.size;
}

/// The rules, round by round.
class Rules {
 public:
  Rules(const Schedule& schedule, std::size_t input, std::size_t output, Rank rank, Rank ranks)
      : schedule_(schedule), sizes_{input, output, schedule.scratch}, rank_(rank), ranks_(ranks) {}

  std::string judge() {
    std::size_t next = 0;
    for (const Round& round : schedule_.rounds) {
      if (round.first != next || round.count == 0) return say("rounds are not consecutive");
      next += round.count;
      if (next > schedule_.steps.size()) return say("a round has steps that do not exist");
      judge_round(round);
      if (!error_.empty()) return error_;
      ++number_;
    }
    return next == schedule_.steps.size() ? "" : say("steps are in no round");
  }

 private:
  std::string say(const std::string& what) {
    if (error_.empty())
      error_ = "rank " + std::to_string(rank_) + ", round " + std::to_string(number_) + ": " + what;
    return error_;
  }

  void inside(const Piece& piece) {
    if (piece.offset + piece.size > sizes_[static_cast<std::size_t>(piece.region)])
      say("a piece is not inside its region");
  }

  void judge_step(const Step& step) {
    if (is_transfer(step) && (step.peer < 0 || step.peer >= ranks_ || step.peer == rank_))
      say("the peer is not another rank");
    if (step.kind != Step::Kind::receive) inside(step.from);
    if (step.kind == Step::Kind::send) return;
    inside(step.into);
    if (step.into.region == Region::input) say("the input is written");
    if (step.kind == Step::Kind::receive) return;
    if (step.from.size != step.into.size) say("a local step has two sizes");
    if (overlap(step.from, step.into)) say("a local step reads what it writes");
  }

  /// Number of the last of `sends_` that reads `piece`, plus one.
  std::uint32_t last_reader(const Piece& piece) const {
    for (std::size_t i = sends_.size(); i > 0; --i)
      if (overlap(sends_[i - 1], piece)) return static_cast<std::uint32_t>(i);
    return 0;
  }

  void judge_round(const Round& round) {
    const std::span steps(&schedule_.steps[round.first], round.count);
    bool local = false;
    std::vector<Piece> received;
    const std::size_t sends_before = sends_.size();
    for (const Step& step : steps) {
      judge_step(step);
      if (!is_transfer(step)) local = true;
      if (is_transfer(step) && local) say("a message comes after a local step");
      if (step.kind == Step::Kind::send) sends_.push_back(step.from);
      if (step.kind == Step::Kind::receive) received.push_back(step.into);
    }
    for (std::size_t i = 0; i < received.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j)
        if (overlap(received[i], received[j])) say("two receives of a round overlap");
      const std::uint32_t reader = last_reader(received[i]);
      if (reader > sends_before) say("a round receives where it sends from");
      needed_ = std::max(needed_, reader);
    }
    if (round.sends_ended_before != needed_) say("the sends to be ended before are wrong");
    for (const Step& step : steps)
      if (!is_transfer(step)) needed_ = std::max(needed_, last_reader(step.into));
    if (round.sends_ended_between != needed_) say("the sends to be ended between are wrong");
  }

  const Schedule& schedule_;
  const std::size_t sizes_[3];
  const Rank rank_;
  const Rank ranks_;
  std::size_t number_ = 0;
  std::vector<Piece> sends_;
  std::uint32_t needed_ = 0;
  std::string error_;
};

}  // namespace

std::string run_schedules(const std::vector<Schedule>& schedules, std::vector<RankMemory>& memory,
                          const WorldOptions& options) {
  return World(schedules, memory, options).run();
}

std::string broken_rules(const Schedule& schedule, std::size_t input_size, std::size_t output_size,
                         Rank rank, Rank ranks) {
  return Rules(schedule, input_size, output_size, rank, ranks).judge();
}

std::size_t message_count(const std::vector<Schedule>& schedules) {
  std::size_t count = 0;
  for (const Schedule& schedule : schedules)
    for (const Step& step : schedule.steps)
      if (step.kind == Step::Kind::send) ++count;
  return count;
}

std::size_t critical_path(const std::vector<Schedule>& schedules) {
  // All messages take one unit of time, everything else none.
  struct State {
    std::size_t round = 0;
    bool started = false;
  };
  std::vector<State> states(schedules.size());
  std::map<std::pair<Rank, Rank>, std::deque<std::size_t>> under_way;  // times of arrival
  std::size_t last = 0;
  for (std::size_t now = 0, idle = 0; idle < 2; ++now) {
    bool moved = false;
    for (std::size_t i = 0; i < states.size(); ++i) {
      State& state = states[i];
      const auto rank = static_cast<Rank>(i);
      while (state.round < schedules[i].rounds.size()) {
        const Round& round = schedules[i].rounds[state.round];
        const std::span steps(&schedules[i].steps[round.first], round.count);
        if (!state.started)
          for (const Step& step : steps)
            if (step.kind == Step::Kind::send) under_way[{rank, step.peer}].push_back(now + 1);
        moved |= !state.started;
        state.started = true;
        const bool ready = std::all_of(steps.begin(), steps.end(), [&](const Step& step) {
          if (step.kind != Step::Kind::receive) return true;
          const auto& arrivals = under_way[{step.peer, rank}];
          const auto needed =
              static_cast<std::size_t>(std::count_if(steps.data(), &step, [&](const Step& other) {
                return other.kind == Step::Kind::receive && other.peer == step.peer;
              }));
          return arrivals.size() > needed && arrivals[needed] <= now;
        });
        if (!ready) break;
        for (const Step& step : steps) {
          if (step.kind != Step::Kind::receive) continue;
          under_way[{step.peer, rank}].pop_front();
          last = now;
        }
        ++state.round;
        state.started = false;
        moved = true;
      }
    }
    idle = moved ? 0 : idle + 1;
  }
  return last;
}

}  // namespace ferry::mpi
