#include "hw_backend/agent/agent_board.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "core/units/check.hpp"

namespace ferry::agent {
namespace {

/// Wakers may miss a task that is about to sleep: it looks again after so long.
constexpr Duration longest_sleep = Duration::milliseconds(100);

mpi::BoardOptions options_of(const StartJob& job) {
  mpi::BoardOptions options;
  options.job = job.name;
  for (const std::uint32_t vm : job.vms) {
    options.vms.push_back(vm == native ? std::nullopt : std::optional(VmId{vm}));
  }
  options.whole_job = job.whole_job;
  options.migration_thread = job.migration_thread;
  options.reconnect_eagerly = job.reconnect_eagerly;
  options.close_channel = Duration::nanoseconds(job.close_channel_nanoseconds);
  return options;
}

}  // namespace

Result<std::unique_ptr<AgentBoard>> AgentBoard::open(const std::filesystem::path& folder,
                                                     RankId rank, Executor& executor,
                                                     AgentBoardListener& listener) {
  Result<std::unique_ptr<RankAnswers>> answers = RankAnswers::open(folder, rank.index);
  if (!answers) return tl::unexpected(answers.error());
  return std::unique_ptr<AgentBoard>(
      new AgentBoard(std::move(*answers), folder, rank, executor, listener));
}

AgentBoard::AgentBoard(std::unique_ptr<RankAnswers> answers, std::filesystem::path folder,
                       RankId rank, Executor& executor, AgentBoardListener& listener)
    : RankBoard(options_of(answers->description()), answers->posted()),
      answers_(std::move(answers)),
      folder_(std::move(folder)),
      rank_(rank),
      executor_(executor),
      listener_(listener),
      mutex_(executor.make_mutex()),
      changed_(executor.make_condition()) {
  for (const std::uint32_t each : answers_->description().ranks) {
    ranks_here_.push_back(RankId{each});
  }
  task_ = executor_.spawn("board of rank " + std::to_string(rank.index), [this] { listen(); });
}

AgentBoard::~AgentBoard() {
  stopping_.store(true);
  answers_->wake_waiters();
  if (relay_ != nullptr) relay_->cancel();
  relay_.reset();
  task_.reset();
}

void AgentBoard::listen() {
  std::uint32_t bell = answers_->bell();
  std::uint64_t told = 0;
  bool over = false;
  while (!stopping_.load()) {
    if (const std::optional<std::string> why = answers_->verdict(); why && !over) {
      over = true;
      listener_.job_is_over(*why);
    }
    {
      const Lock lock(*mutex_);
      if (posted() != told && member_ != nullptr) {
        told = posted();
        if (options().migration_thread || has_left_) help();
        member_->wake();
      }
      changed_->notify_all();
    }
    bell = answers_->await_bell(bell, longest_sleep);
  }
}

void AgentBoard::help() {
  if (has_helper_ || posted() == 0) return;
  has_helper_ = true;
  member_->spawn_helper();
}

// --- The start of a job. ---

bool AgentBoard::publish(std::span<const std::byte> card) {
  const Lock lock(*mutex_);
  return answers_->publish(card);
}

Result<std::vector<Bytes8>> AgentBoard::await_cards(TimePoint deadline) {
  {
    const Lock lock(*mutex_);
    while (!answers_->has_cards()) {
      if (const auto why = answers_->verdict()) return failure(FailureKind::failed, *why);
      switch (changed_->wait_until(*mutex_, deadline)) {
        case Wake::ready: break;
        case Wake::cancelled: return failure(FailureKind::cancelled, "cancelled");
        case Wake::timed_out:
          return failure(FailureKind::timed_out,
                         "ranks of job " + options().job + " have not all started in time");
      }
    }
  }
  std::ifstream file(folder_ / "cards", std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  FieldReader reader(std::as_bytes(std::span(text)));
  std::vector<Bytes8> cards;
  reader(cards);
  if (!reader.done() || cards.size() != options().vms.size()) {
    return failure(FailureKind::failed, (folder_ / "cards").string() + " is malformed");
  }
  return cards;
}

// --- Its course. ---

void AgentBoard::relay(mpi::ComputeWatch& watch) {
  relay_ = executor_.spawn("watch of rank " + std::to_string(rank_.index), [this, &watch] {
    TimePoint least = TimePoint::start();
    while (const std::optional<TimePoint> until = watch.next(least)) {
      least = *until;
      const Lock lock(*mutex_);
      const RankAnswers::Change change(*answers_);
      answers_->slot().computes_until.store(until->since_start().count_nanoseconds());
      answers_->slot().computations.fetch_add(1);
    }
  });
}

void AgentBoard::condemn(const std::string& why) {
  const Lock lock(*mutex_);
  answers_->condemn(why);
}

std::string AgentBoard::verdict() const { return answers_->verdict().value_or(std::string()); }

bool AgentBoard::await_dismissal() {
  const Lock lock(*mutex_);
  while (!answers_->is_dismissed()) {
    if (answers_->verdict()) return false;
    if (changed_->wait_until(*mutex_, TimePoint::never()) == Wake::cancelled) return false;
  }
  return true;
}

Result<> AgentBoard::leave_result(const RankResult& result) const {
  const std::filesystem::path file = folder_ / "out" / ("result." + std::to_string(rank_.index));
  const std::filesystem::path fresh = file.string() + ".new";
  const Bytes8 bytes = encode_result(result);
  std::ofstream out(fresh, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out || std::rename(fresh.c_str(), file.c_str()) != 0) {
    return failure(FailureKind::failed, file.string() + " cannot be written");
  }
  return {};
}

// --- The board. ---

std::vector<mpi::Post> AgentBoard::posts_from(std::uint64_t first) const {
  std::vector<mpi::Post> posts;
  const Lock lock(*mutex_);
  const std::uint64_t end = posted();
  for (std::uint64_t number = first; number < end; ++number) {
    Result<PostOnBoard> read = decode_post(answers_->post(number));
    check(read.has_value(), "an agent posts what its rank can read: they are of one release");
    mpi::Post& post = read->post;
    if (post.kind == mpi::Post::Kind::ask) {
      asked_ = post.locality.generation;
      locality_ = std::move(read->locality);
    }
    if (post.kind == mpi::Post::Kind::request) {
      const std::optional<VmId> own = options().vms[rank_.index];
      const std::vector<VmId>& moving = *post.moving;
      if (own && std::find(moving.begin(), moving.end(), *own) != moving.end()) {
        leaving_.insert(post.epoch);
      }
    }
    if (post.kind == mpi::Post::Kind::reactivate) {
      leaving_.erase(post.epoch);
      ended_.insert(post.epoch);
      if (const Result<> there = listener_.vms_are_at(*post.sites); !there) {
        answers_->condemn(there.error().reason);
      }
    }
    posts.push_back(std::move(post));
  }
  const RankAnswers::Change change(*answers_);
  answers_->slot().seen.store(end);
  return posts;
}

void AgentBoard::enlist(RankId /*rank*/, mpi::BoardMember& member) {
  const Lock lock(*mutex_);
  check(member_ == nullptr, "a rank has one engine");
  member_ = &member;
}

void AgentBoard::delist(RankId /*rank*/) {
  const Lock lock(*mutex_);
  member_ = nullptr;
  changed_->notify_all();
  if (answers_->slot().gone.load() != 0) return;
  const RankAnswers::Change change(*answers_);
  answers_->slot().gone.store(1);
}

void AgentBoard::leave(RankId /*rank*/) {
  const Lock lock(*mutex_);
  has_left_ = true;
  {
    const RankAnswers::Change change(*answers_);
    answers_->slot().left.store(1);
    answers_->slot().stopped.store(1);
  }
  if (member_ != nullptr) help();
}

bool AgentBoard::await_post(RankId /*rank*/, std::uint64_t seen) {
  const Lock lock(*mutex_);
  while (seen == posted() && member_ != nullptr) {
    if (changed_->wait_until(*mutex_, TimePoint::never()) == Wake::cancelled) return false;
  }
  return member_ != nullptr;
}

std::shared_ptr<const mpi::JobLocality> AgentBoard::locality(mpi::Generation generation) const {
  const Lock lock(*mutex_);
  return generation == asked_ ? locality_ : nullptr;
}

void AgentBoard::reply(RankId /*rank*/, const mpi::LocalityReply& reply) {
  const auto low = [](mpi::Rank value) { return static_cast<std::uint64_t>(value); };
  const Lock lock(*mutex_);
  const RankAnswers::Change change(*answers_);
  RankSlot& slot = answers_->slot();
  const std::uint64_t turn = slot.replied.load();
  RankSlot::Reply& place = slot.replies[turn % most_replies];
  place.communicator.store(std::uint64_t{reply.of.context} << 32U | reply.of.first);
  place.place.store(low(reply.rank) << 32U | low(reply.ranks));
  place.generation.store(reply.generation);
  place.number.store(reply.answer.number << 1U | (reply.answer.agreed ? 1U : 0U));
  slot.replied.store(turn + 1);
}

RankSlot::Epoch& AgentBoard::place_of(std::uint64_t epoch) {
  RankSlot::Epoch* const place = answers_->place_of(epoch);
  check(place != nullptr, "at most 16 suspensions of a job are open at a time");
  return *place;
}

void AgentBoard::set_flag(std::uint64_t epoch, std::uint32_t flag, bool is) {
  std::atomic<std::uint32_t>& flags = place_of(epoch).flags;
  flags.store(is ? flags.load() | flag : flags.load() & ~flag);
}

void AgentBoard::noticed(RankId /*rank*/, std::uint64_t epoch, bool concerned) {
  const Lock lock(*mutex_);
  const RankAnswers::Change change(*answers_);
  set_flag(epoch, epoch_flags::concerned, concerned);
}

void AgentBoard::drained(RankId /*rank*/, std::uint64_t epoch, bool is) {
  const Lock lock(*mutex_);
  const RankAnswers::Change change(*answers_);
  set_flag(epoch, epoch_flags::drained, is);
  place_of(epoch).changes.fetch_add(1);
}

void AgentBoard::close(RankId /*rank*/, std::uint64_t epoch,
                       const std::function<std::size_t()>& close) {
  const Lock lock(*mutex_);
  RankSlot::Epoch* place = nullptr;
  {
    const RankAnswers::Change change(*answers_);
    place = &place_of(epoch);
    place->closing.store(static_cast<std::uint32_t>(Closing::closing));
  }
  const bool refused = ended_.count(epoch) != 0 || answers_->is_revoked(epoch);
  const std::size_t closed = refused ? 0 : close();
  if (!refused && leaving_.count(epoch) != 0) listener_.release_devices();
  const RankAnswers::Change change(*answers_);
  place->closed.store(static_cast<std::uint32_t>(closed));
  place->closing.store(static_cast<std::uint32_t>(refused ? Closing::refused : Closing::closed));
}

void AgentBoard::took_note_of_end(RankId /*rank*/, std::uint64_t epoch) {
  const Lock lock(*mutex_);
  ended_.erase(epoch);
  const RankAnswers::Change change(*answers_);
  set_flag(epoch, epoch_flags::noted_end, true);
}

void AgentBoard::stopped(RankId /*rank*/, const std::vector<std::uint64_t>& epochs) {
  const Lock lock(*mutex_);
  if (has_left_) return;
  const RankAnswers::Change change(*answers_);
  for (const std::uint64_t epoch : epochs) set_flag(epoch, epoch_flags::blocked, true);
  answers_->slot().stopped.store(1);
}

void AgentBoard::went_on(RankId /*rank*/) {
  const Lock lock(*mutex_);
  if (has_left_) return;
  const RankAnswers::Change change(*answers_);
  answers_->slot().stopped.store(0);
}

}  // namespace ferry::agent
