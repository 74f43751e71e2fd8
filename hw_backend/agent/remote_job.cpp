#include "hw_backend/agent/remote_job.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "core/ports/control.hpp"
#include "core/ports/world_error.hpp"
#include "core/units/check.hpp"

namespace ferry::agent {
namespace {

constexpr Duration repeat_after = Duration::milliseconds(300);
constexpr Duration forget_patience = Duration::milliseconds(10'000);
/// Of what lies in one message, so that it stays below the largest.
constexpr std::size_t room = largest_control_message / 2;
/// Each is answered before the next one is said: so small that a slow channel (some MB/s in an
/// emulated guest) has carried it before it would be repeated.
constexpr std::size_t trace_piece = std::size_t{128} * 1024;

}  // namespace

RemoteJob::RemoteJob(Executor& executor, Clock& clock, const mpi::HostedJobRequest& request,
                     RemoteJobOptions options, std::map<VmId, std::string> names,
                     std::function<void(VmId)> poke)
    : clock_(clock),
      board_(request.board),
      name_(request.spec.name),
      options_(std::move(options)),
      names_(std::move(names)),
      poke_(std::move(poke)),
      mutex_(executor.make_mutex()),
      changed_(executor.make_condition()) {
  if (board_ != nullptr) board_options_ = board_->options();
  const JobSpec& spec = request.spec;
  ranks_.resize(spec.ranks());
  for (std::uint32_t rank = 0; rank < ranks_.size(); ++rank) {
    const VmId vm = spec.vms[rank / spec.ranks_per_vm];
    vms_.push_back(vm.index);
    parts_[vm].ranks.push_back(rank);
    RankEntry& entry = ranks_[rank];
    entry.vm = vm;
    const auto watch = request.watches.find(vm);
    if (watch != request.watches.end() && rank % spec.ranks_per_vm == 0) {
      entry.watch = watch->second;
    }
    if (board_ == nullptr) continue;
    entry.stand_in =
        std::make_unique<RemoteRank>(executor, *board_, RankId{rank}, [this, vm] { poke_(vm); });
  }
  if (!options_.taken_over) stage_ = Stage::starting;
}

RemoteJob::~RemoteJob() {
  for (RankEntry& rank : ranks_) {
    if (rank.stand_in != nullptr && enlisted_) rank.stand_in->give_up();
  }
}

// --- What is said. ---

bool RemoteJob::due(Part& part, const std::string& what) {
  if (part.said.size() > 1000) part.said.clear();  // of questions that are long over
  Said& said = part.said[what];
  const TimePoint now = clock_.now();
  if (said.ever && now - said.at < repeat_after) return false;
  said = {now, true};
  return true;
}

StartJob RemoteJob::start_message(VmId /*vm*/, const Part& part) const {
  StartJob start;
  start.key = options_.key;
  start.name = name_;
  start.vms = vms_;
  start.whole_job = board_options_.whole_job;
  start.migration_thread = board_options_.migration_thread;
  start.reconnect_eagerly = board_options_.reconnect_eagerly;
  start.close_channel_nanoseconds = board_options_.close_channel.count_nanoseconds();
  start.ranks = part.ranks;
  for (const std::uint32_t rank : part.ranks) {
    if (ranks_[rank].watch != nullptr) start.watched.push_back(rank);
  }
  start.arguments = options_.arguments;
  start.environment = options_.environment;
  start.user = options_.user;
  start.description = options_.description;
  return start;
}

std::vector<Message> RemoteJob::to_say(VmId vm) {
  std::vector<Message> messages;
  std::optional<std::uint64_t> posts_from;
  {
    const Lock lock(*mutex_);
    Part& part = parts_.at(vm);
    if (part.lost || !begun_ || part.forgotten) return messages;
    const std::string& key = options_.key;
    if (verdict_ && part.has_job && due(part, "condemn")) {
      messages.emplace_back(Condemn{key, *verdict_});
    }
    if (verdict_ && part.has_job && clock_.now() - condemned_at_ > options_.grace &&
        due(part, "end")) {
      messages.emplace_back(EndJob{key, false});
    }
    // Where its start was asked for, or may have been, it is not to begin any more either.
    if (forgetting_ || (verdict_ && !part.has_job)) {
      if (due(part, "forget")) messages.emplace_back(EndJob{key, true});
      return messages;
    }
    if (stage_ == Stage::restoring && source_ == vm && due(part, "fetch posts")) {
      messages.emplace_back(FetchPosts{key, restore_from_ + restored_.size()});
    }
    if (stage_ == Stage::starting && !part.has_job && !verdict_ && due(part, "start")) {
      messages.emplace_back(start_message(vm, part));
    }
    if (!part.has_job || (stage_ != Stage::running && stage_ != Stage::starting)) return messages;
    say_trace(vm, part, messages);
    say_cards(part, messages);
    if (have_all_left() && !part.dismissed && due(part, "dismiss")) {
      messages.emplace_back(Dismiss{key});
    }
    say_fetches(part, messages);
    if (board_ != nullptr && part.posted < board_->posted()) {
      const bool is_new = part.said_posts != board_->posted();
      if (due(part, "posts") || is_new) posts_from = part.posted;
      part.said_posts = board_->posted();
    }
  }
  // The board's lock is taken by these, and its calls take ours.
  if (posts_from) say_posts(vm, *posts_from, messages);
  std::map<std::uint64_t, std::uint64_t> confirms;
  std::set<std::uint64_t> revocations;
  for (const std::uint32_t rank : parts_.at(vm).ranks) {
    if (ranks_[rank].stand_in == nullptr) continue;
    for (const auto& [epoch, round] : ranks_[rank].stand_in->confirms()) confirms[epoch] = round;
    revocations.merge(ranks_[rank].stand_in->revocations());
  }
  const Lock lock(*mutex_);
  Part& part = parts_.at(vm);
  for (const auto& [epoch, round] : confirms) {
    if (due(part, "confirm " + std::to_string(epoch) + " " + std::to_string(round))) {
      messages.emplace_back(Confirm{options_.key, epoch, round});
    }
  }
  for (const std::uint64_t epoch : revocations) {
    if (due(part, "revoke " + std::to_string(epoch))) {
      messages.emplace_back(Revoke{options_.key, epoch});
    }
  }
  return messages;
}

void RemoteJob::say_posts(VmId /*vm*/, std::uint64_t from, std::vector<Message>& messages) {
  PostBatch batch{options_.key, from, {}};
  std::size_t size = 0;
  for (const mpi::Post& post : board_->posts_from(from)) {
    std::shared_ptr<const mpi::JobLocality> locality;
    if (post.kind == mpi::Post::Kind::ask) locality = board_->locality(post.locality.generation);
    batch.posts.push_back(encode_post({post, std::move(locality)}));
    size += batch.posts.back().size();
    if (size > room) break;
  }
  messages.emplace_back(std::move(batch));
}

bool RemoteJob::have_all_left() const {
  return std::all_of(ranks_.begin(), ranks_.end(),
                     [](const RankEntry& rank) { return rank.left || rank.ended; });
}

bool RemoteJob::has_all_cards() const { return cards_ == ranks_.size(); }

void RemoteJob::say_cards(Part& part, std::vector<Message>& messages) {
  if (!has_all_cards() || part.cards == ranks_.size() || !due(part, "cards")) return;
  Cards cards{options_.key, 0, {}};
  std::size_t size = 0;
  for (std::uint32_t rank = 0; rank < ranks_.size(); ++rank) {
    cards.cards.push_back(*ranks_[rank].card);
    size += cards.cards.back().size() + 4;
    if (size < room && rank + 1 != ranks_.size()) continue;
    messages.emplace_back(cards);
    cards = {options_.key, rank + 1, {}};
    size = 0;
  }
}

void RemoteJob::say_fetches(Part& part, std::vector<Message>& messages) {
  for (const std::uint32_t rank : part.ranks) {
    RankEntry& entry = ranks_[rank];
    if (!entry.went_well || entry.came_to) continue;
    const std::string what =
        "fetch " + std::to_string(rank) + " " + std::to_string(entry.result.size());
    if (due(part, what)) {
      messages.emplace_back(Fetch{options_.key, rank, entry.result.size()});
    }
  }
}

void RemoteJob::say_trace(VmId vm, Part& part, std::vector<Message>& messages) {
  const auto found = options_.traces.find(vm);
  if (found == options_.traces.end() || verdict_ || !due(part, "trace")) return;
  const std::string& trace = found->second;
  HandTrace piece{options_.key, part.trace_held.value_or(0), trace.size(), {}};
  if (part.trace_held && piece.offset < trace.size()) {
    const auto bytes = std::as_bytes(std::span(trace)).subspan(piece.offset);
    const auto next = bytes.first(std::min(bytes.size(), trace_piece));
    piece.bytes.assign(next.begin(), next.end());
  }
  messages.emplace_back(std::move(piece));
}

void RemoteJob::poke_all() {
  for (auto& [vm, part] : parts_) poke_(vm);
}

// --- What has come. ---

void RemoteJob::welcome(VmId vm, const std::vector<std::string>& jobs) {
  {
    const Lock lock(*mutex_);
    Part& part = parts_.at(vm);
    part.said.clear();
    if (std::find(jobs.begin(), jobs.end(), options_.key) != jobs.end())
      return;  // a report follows
  }
  JobReport none;
  none.key = options_.key;
  none.why_not = "the agent has no such job";
  take(vm, none);
}

void RemoteJob::take(VmId vm, const JobReport& report) {
  std::string failed;
  bool never_began = false;
  {
    const Lock lock(*mutex_);
    Part& part = parts_.at(vm);
    const bool had_job = part.has_job;
    part.heard = true;
    const bool there = !report.ranks.empty();
    part.has_job = there && report.why_not.empty();
    part.posted = report.posted;
    part.kept_from = report.kept_from;
    part.cards = report.cards;
    part.dismissed = report.dismissed;
    if (!there && (forgetting_ || (verdict_ && !had_job))) {
      part.forgotten = true;
      never_began = !had_job;
    } else if (!there && had_job) {
      failed = "the agent of " + names_[vm] +
               " does not know the job any more; its guest was started anew";
      part.lost = true;
    } else if (!part.has_job && begun_ && part.said["start"].ever && !verdict_) {
      failed = "ranks of " + name_ + " cannot be started in " + names_[vm] + ": " + report.why_not;
      // The agent has no such job yet when it answers to what was said before.
      if (!there && report.why_not == "the agent has no such job") failed.clear();
    }
    if (stage_ == Stage::asking) decide();
    const bool all = std::all_of(parts_.begin(), parts_.end(), [](const auto& each) {
      return each.second.has_job || each.second.lost;
    });
    if (stage_ == Stage::starting && all) go_on(Stage::running);
    // What it lacks is said at once, and not when it would be said again.
    if (board_ != nullptr && part.posted < board_->posted()) poke_(vm);
    changed_->notify_all();
  }
  if (!failed.empty() || never_began) give_up(vm, failed);
}

/// Once every agent has answered: whether there is something to go on from. Under the lock.
void RemoteJob::decide() {
  const auto known = [](const auto& each) { return each.second.heard || each.second.lost; };
  if (!std::all_of(parts_.begin(), parts_.end(), known)) return;
  for (const auto& [vm, part] : parts_) {
    if (!part.has_job) continue;
    if (!source_ || part.posted > parts_.at(*source_).posted) source_ = vm;
  }
  if (!source_ || board_ == nullptr || parts_.at(*source_).posted == 0) {
    go_on(Stage::starting);
    return;
  }
  restore_from_ = parts_.at(*source_).kept_from;
  go_on(Stage::restoring);
}

void RemoteJob::go_on(Stage stage) {
  stage_ = stage;
  changed_->notify_all();
  poke_all();
}

void RemoteJob::take(VmId vm, const PostBatch& batch) {
  std::vector<Bytes8> whole;
  {
    const Lock lock(*mutex_);
    if (stage_ != Stage::restoring || source_ != vm) return;
    if (batch.first != restore_from_ + restored_.size()) return;
    restored_.insert(restored_.end(), batch.posts.begin(), batch.posts.end());
    Part& part = parts_.at(vm);
    part.said.erase("fetch posts");
    if (restore_from_ + restored_.size() < part.posted) return poke_(vm);
    whole = restored_;
  }
  std::vector<mpi::Post> posts;
  std::shared_ptr<const mpi::JobLocality> locality;
  for (const Bytes8& bytes : whole) {
    Result<PostOnBoard> read = decode_post(bytes);
    if (!read) return fail(read.error().reason);
    if (read->post.kind == mpi::Post::Kind::ask) locality = read->locality;
    posts.push_back(std::move(read->post));
  }
  board_->restore(restore_from_, std::move(posts), std::move(locality));
  std::vector<VmId> gone;
  {
    const Lock lock(*mutex_);
    for (const auto& [each, part] : parts_) {
      if (!part.has_job && !part.lost) gone.push_back(each);
    }
    go_on(gone.empty() ? Stage::running : Stage::starting);
  }
  for (const VmId each : gone) {
    give_up(each, "the agent of " + names_[each] +
                      " does not know the job any more; its guest was started anew");
  }
}

bool RemoteJob::take(VmId vm, const RankReport& report, const ClockMap& clock) {
  {
    const Lock lock(*mutex_);
    if (!enlisted_ || report.rank >= ranks_.size() || ranks_[report.rank].vm != vm) return false;
  }
  RankEntry& rank = ranks_[report.rank];
  const RankState& state = report.state;
  if (rank.watch != nullptr && state.computations != rank.computations && !clock.knows_nothing()) {
    rank.computations = state.computations;
    rank.watch->begins(clock.to_controller(Duration::nanoseconds(state.computes_until)));
  }
  if (rank.watch != nullptr && (state.left || state.ended)) rank.watch->ends();
  if (rank.stand_in != nullptr) rank.stand_in->take(state);
  if (!state.verdict.empty()) fail(state.verdict);
  std::string failed;
  {
    const Lock lock(*mutex_);
    if (state.has_card && !rank.card) {
      rank.card = state.card;
      ++cards_;
      if (has_all_cards()) poke_all();
    }
    if (state.left && !rank.left) {
      rank.left = true;
      if (have_all_left()) poke_all();
    }
    if (state.ended && !rank.ended) {
      rank.ended = true;
      rank.went_well = state.signal == 0 && state.exit_status == 0 && !state.end_unknown;
      if (!rank.went_well) failed = describe_end(report.rank, state);
      poke_(vm);
    }
    changed_->notify_all();
  }
  if (!failed.empty()) fail(failed);
  return true;
}

std::string RemoteJob::describe_end(std::uint32_t rank, const RankState& state) const {
  const std::string who =
      "rank " + std::to_string(rank) + " of " + name_ + " in " + names_.at(ranks_[rank].vm);
  if (state.end_unknown) return who + " is gone, and so is who watched it";
  if (state.signal != 0) {
    return who + " was killed by signal " + std::to_string(state.signal) + " (" +
           strsignal(state.signal) + ")";
  }
  return who + " exited with status " + std::to_string(state.exit_status);
}

void RemoteJob::take(VmId /*vm*/, const Confirmed& confirmed) {
  for (const Confirmed::Rank& answer : confirmed.ranks) {
    if (answer.rank >= ranks_.size() || ranks_[answer.rank].stand_in == nullptr) continue;
    ranks_[answer.rank].stand_in->take(confirmed, answer);
  }
}

void RemoteJob::take(VmId /*vm*/, const Revoked& revoked) {
  for (const Revoked::Rank& answer : revoked.ranks) {
    if (answer.rank >= ranks_.size() || ranks_[answer.rank].stand_in == nullptr) continue;
    ranks_[answer.rank].stand_in->take(revoked, answer);
  }
}

void RemoteJob::take(VmId vm, const Chunk& chunk) {
  std::string failed;
  {
    const Lock lock(*mutex_);
    if (chunk.rank >= ranks_.size() || ranks_[chunk.rank].vm != vm) return;
    RankEntry& rank = ranks_[chunk.rank];
    if (!rank.went_well || rank.came_to || chunk.offset != rank.result.size()) return;
    rank.result.insert(rank.result.end(), chunk.bytes.begin(), chunk.bytes.end());
    if (chunk.total != 0 && rank.result.size() < chunk.total) return poke_(vm);
    Result<RankResult> read = decode_result(rank.result);
    rank.result.clear();
    if (read) {
      rank.came_to = std::move(*read);
    } else {
      rank.went_well = false;
      failed = "rank " + std::to_string(chunk.rank) + " of " + name_ +
               (chunk.total == 0 ? " has left no result" : ": " + read.error().reason);
    }
    changed_->notify_all();
  }
  if (!failed.empty()) fail(failed);
}

void RemoteJob::take(VmId vm, const TraceReport& report) {
  std::string failed;
  {
    const Lock lock(*mutex_);
    Part& part = parts_.at(vm);
    if (report.whole) {
      options_.traces.erase(vm);
    } else if (!report.why_not.empty()) {
      failed = "the trace of " + name_ + " cannot be kept in " + names_[vm] + ": " + report.why_not;
    } else if (part.trace_held != report.held) {
      part.trace_held = report.held;
      part.said.erase("trace");
      poke_(vm);
    }
    changed_->notify_all();
  }
  if (!failed.empty()) fail(failed);
}

void RemoteJob::fail(const std::string& why) {
  const Lock lock(*mutex_);
  if (verdict_) return;
  verdict_ = why;
  condemned_at_ = clock_.now();
  changed_->notify_all();
  poke_all();
}

void RemoteJob::give_up(VmId vm, const std::string& why) {
  std::vector<RemoteRank*> gone;
  {
    const Lock lock(*mutex_);
    Part& part = parts_.at(vm);
    part.lost = true;
    for (const std::uint32_t rank : part.ranks) {
      if (ranks_[rank].stand_in != nullptr && enlisted_) {
        gone.push_back(ranks_[rank].stand_in.get());
      }
      if (!ranks_[rank].ended) {
        ranks_[rank].ended = true;
        if (ranks_[rank].watch != nullptr) ranks_[rank].watch->ends();
      }
    }
    if (stage_ == Stage::asking) decide();
    changed_->notify_all();
  }
  for (RemoteRank* const rank : gone) rank->give_up();
  fail(why);
}

void RemoteJob::give_up_started(VmId vm, const std::string& why) {
  {
    const Lock lock(*mutex_);
    if (!started_) return;
  }
  give_up(vm, why);
}

void RemoteJob::give_up_all(const std::string& why) {
  for (const auto& [vm, part] : parts_) give_up(vm, why);
}

// --- The course of the job. ---

void RemoteJob::enlist() {
  for (std::uint32_t rank = 0; rank < ranks_.size(); ++rank) {
    if (ranks_[rank].stand_in != nullptr) board_->enlist(RankId{rank}, *ranks_[rank].stand_in);
  }
  // Those that were given up before they were on the board are off it again at once: a suspension
  // would wait for them without end.
  std::vector<RemoteRank*> gone;
  {
    const Lock lock(*mutex_);
    enlisted_ = true;
    for (const RankEntry& rank : ranks_) {
      if (rank.stand_in != nullptr && parts_.at(rank.vm).lost) gone.push_back(rank.stand_in.get());
    }
  }
  for (RemoteRank* const rank : gone) rank->give_up();
}

void RemoteJob::start() {
  const TimePoint deadline = clock_.now() + options_.patience;
  {
    const Lock lock(*mutex_);
    begun_ = true;
    if (stage_ == Stage::asking) decide();
  }
  poke_all();
  const Lock lock(*mutex_);
  // A board is restored before anybody enlists.
  const auto await = [&](const auto& reached) {
    while (!reached() && !verdict_) {
      if (changed_->wait_until(*mutex_, deadline) == Wake::ready) continue;
      if (reached() || verdict_) break;
      std::string silent;
      for (const auto& [vm, part] : parts_) {
        if (part.has_job || part.lost) continue;
        const std::string trouble = trouble_of_ ? trouble_of_(vm) : std::string();
        silent += (silent.empty() ? "" : ", ") + names_[vm];
        if (!trouble.empty()) silent += " (" + trouble + ")";
      }
      throw WorldError("the agents of " + silent + " have not answered for job " + name_ +
                       "; see whether ferry-agent runs there, and whether the domain has the "
                       "channel that the cluster file names");
    }
  };
  await([&] { return stage_ == Stage::starting || stage_ == Stage::running; });
  mutex_->unlock();
  enlist();
  mutex_->lock();
  poke_all();
  await([&] { return stage_ == Stage::running; });
  await_traces();
  started_ = true;
}

void RemoteJob::await_traces() {
  const auto waiting = [this] {
    std::string names;
    std::uint64_t held = 0;
    for (const auto& [vm, trace] : options_.traces) {
      if (parts_.at(vm).lost) continue;
      names += (names.empty() ? "" : ", ") + names_[vm];
      held += parts_.at(vm).trace_held.value_or(0);
    }
    return std::pair(names, held);
  };
  auto last = waiting();
  TimePoint deadline = clock_.now() + options_.patience;
  while (!last.first.empty() && !verdict_) {
    const Wake wake = changed_->wait_until(*mutex_, deadline);
    auto now = waiting();
    if (now != last) {
      last = std::move(now);
      deadline = clock_.now() + options_.patience;
    } else if (wake != Wake::ready) {
      throw WorldError("the agents of " + last.first + " have " + std::to_string(last.second) +
                       " bytes of the trace of job " + name_ + ", and take no more");
    }
  }
}

bool RemoteJob::is_settled(const RankEntry& rank) const {
  if (!rank.ended) return parts_.at(rank.vm).lost || parts_.at(rank.vm).forgotten;
  return verdict_ || rank.came_to || !rank.went_well;
}

mpi::RankLog RemoteJob::translated(const mpi::RankLog& log, VmId vm) const {
  mpi::RankLog here = log;
  const ClockMap clock = clock_of_ ? clock_of_(vm) : ClockMap();
  if (clock.knows_nothing()) return here;
  // What is known of clocks is not exact, and no time lies before the world's beginning.
  const auto translate = [&](TimePoint& time) {
    time = std::max(clock.to_controller(time.since_start()), TimePoint::start());
  };
  translate(here.began);
  translate(here.ended);
  for (mpi::Sample& sample : here.samples) translate(sample.began);
  return here;
}

Result<> RemoteJob::join(mpi::WorkloadLog& log, std::vector<std::string>& complaints) {
  const auto await = [&](TimePoint deadline, const auto& reached) {
    while (!reached()) {
      const Wake wake = changed_->wait_until(*mutex_, deadline);
      if (wake == Wake::cancelled || (wake == Wake::timed_out && deadline <= clock_.now())) return;
    }
  };
  const Lock lock(*mutex_);
  if (!begun_) return {};
  await(TimePoint::never(), [&] {
    return std::all_of(ranks_.begin(), ranks_.end(),
                       [this](const RankEntry& rank) { return is_settled(rank); });
  });
  for (std::uint32_t rank = 0; rank < ranks_.size(); ++rank) {
    if (!ranks_[rank].came_to) continue;
    log.of(rank) = translated(ranks_[rank].came_to->log, ranks_[rank].vm);
    const std::vector<std::string>& more = ranks_[rank].came_to->complaints;
    complaints.insert(complaints.end(), more.begin(), more.end());
  }
  forgetting_ = true;
  for (auto& [vm, part] : parts_) part.said.erase("forget");
  poke_all();
  await(clock_.now() + forget_patience, [&] {
    return std::all_of(parts_.begin(), parts_.end(), [](const auto& each) {
      return each.second.forgotten || each.second.lost || !each.second.has_job;
    });
  });
  if (verdict_) return failure(FailureKind::failed, *verdict_);
  return {};
}

}  // namespace ferry::agent
