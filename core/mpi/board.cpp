#include "core/mpi/board.hpp"

#include <algorithm>

#include "core/mpi/collectives/groups.hpp"
#include "core/units/check.hpp"

namespace ferry::mpi {

struct Board::Member {
  BoardMember* rank = nullptr;  ///< null: not there yet, or not any more
  bool left = false;            ///< its program has ended
  bool helper = false;          ///< a task of its own takes part in suspensions
  bool stopped = false;
  [[nodiscard]] bool is_remote() const { return rank != nullptr && rank->is_remote(); }
};

struct Board::Epoch {
  struct Part {
    RankRecord record;
    bool concerned = false;
    bool drained = false;
    bool is_closed = false;
    bool noted_end = false;
    bool blocked = false;
    bool ready_known = false;
    bool confirmed = false;      ///< in this round: it stays drained
    bool close_settled = false;  ///< it has closed, or will not
  };
  std::shared_ptr<const std::vector<VmId>> moving;
  TimePoint requested;
  std::vector<Part> parts;  ///< by rank
  std::size_t drained_parts = 0;
  std::size_t closed_parts = 0;
  std::size_t closed_most = 0;
  std::size_t ending_parts = 0;  ///< that have taken note of the end, or need not
  std::uint64_t round = 0;       ///< of confirmations
  std::size_t unconfirmed = 0;   ///< whose answer in this round is to come
  bool round_failed = false;     ///< somebody was not drained any more
  bool close_posted = false;
  std::size_t unsettled_closes = 0;  ///< that may still close, and were told not to
  bool ending = false;
  bool ended = false;  ///< it says so on the board
};

Board::Board(Executor& executor, const Clock& clock, BoardOptions options, RankActivity* activity)
    : RankBoard(std::move(options), posted_),
      clock_(clock),
      activity_(activity),
      mutex_(executor.make_mutex()),
      changed_(executor.make_condition()),
      requested_(executor.make_condition()),
      members_(this->options().vms.size()) {}

Board::~Board() = default;

Board::Epoch* Board::find(std::uint64_t epoch) {
  const auto found = epochs_.find(epoch);
  return found == epochs_.end() ? nullptr : found->second.get();
}

/// Whether this is the first that is seen of the epoch. Two waves of one job may open together, and
/// the later's request come first; every other older one is refused.
bool Board::takes_note(std::uint64_t epoch) {
  for (std::uint64_t skipped = latest_ + 1; skipped < epoch; ++skipped) overtaken_.insert(skipped);
  const bool comes_late = overtaken_.erase(epoch) > 0;
  if (epoch <= latest_ && !comes_late) return false;
  latest_ = std::max(latest_, epoch);
  return true;
}

void Board::post(Post post) {
  posts_.push_back(std::move(post));
  posted_.store(first_ + posts_.size(), std::memory_order_release);
}

void Board::wake_ranks() {
  const Lock lock(*mutex_);
  for (Member& member : members_) {
    if (member.rank == nullptr) continue;
    if (options().migration_thread || member.left) help(member);
    member.rank->wake();
  }
  requested_->notify_all();
}

void Board::help(Member& member) {
  if (member.helper || epochs_.empty()) return;
  member.helper = true;
  member.rank->spawn_helper();
}

void Board::count_up(Epoch& epoch, std::size_t Epoch::*count) {
  if (++(epoch.*count) == members_.size()) changed_->notify_all();
}

Result<> Board::await(Epoch& epoch, std::size_t Epoch::*count, TimePoint deadline) {
  while (epoch.*count != members_.size()) {
    switch (changed_->wait_until(*mutex_, deadline)) {
      case Wake::ready: break;
      case Wake::cancelled: return failure(FailureKind::cancelled, "cancelled");
      case Wake::timed_out:
        if (epoch.*count == members_.size()) break;
        return failure(FailureKind::timed_out,
                       "ranks of job " + options().job + " were not ready in time");
    }
  }
  return {};
}

/// Until all have drained at one instant. Of remote ranks it is known late: each was drained when
/// it said so, before the question, and stayed so until it answered, after it.
Result<> Board::await_drained(Epoch& epoch, std::uint64_t number, TimePoint deadline) {
  for (;;) {
    if (Result<> drained = await(epoch, &Epoch::drained_parts, deadline); !drained) return drained;
    ++epoch.round;
    epoch.round_failed = false;
    epoch.unconfirmed = 0;
    for (std::size_t i = 0; i < members_.size(); ++i) {
      epoch.parts[i].confirmed = !members_[i].is_remote();
      if (!epoch.parts[i].confirmed) ++epoch.unconfirmed;
    }
    if (epoch.unconfirmed == 0) return {};
    for (Member& member : members_) {
      if (member.is_remote()) member.rank->confirm(number, epoch.round);
    }
    while (epoch.unconfirmed != 0) {
      switch (changed_->wait_until(*mutex_, deadline)) {
        case Wake::ready: break;
        case Wake::cancelled: return failure(FailureKind::cancelled, "cancelled");
        case Wake::timed_out:
          if (epoch.unconfirmed == 0) break;
          return failure(FailureKind::timed_out,
                         "ranks of job " + options().job + " were not ready in time");
      }
    }
    if (!epoch.round_failed && epoch.drained_parts == members_.size()) return {};
  }
}

void Board::confirmed(RankId rank, std::uint64_t number, std::uint64_t round, bool still_drained) {
  const Lock lock(*mutex_);
  Epoch* epoch = find(number);
  if (epoch == nullptr || epoch->round != round || epoch->parts[rank.index].confirmed) return;
  epoch->parts[rank.index].confirmed = true;
  epoch->round_failed = epoch->round_failed || !still_drained;
  if (--epoch->unconfirmed == 0) changed_->notify_all();
}

Result<> Board::suspend(std::uint64_t number, std::vector<VmId> moving, TimePoint deadline) {
  std::sort(moving.begin(), moving.end());
  {
    const Lock lock(*mutex_);
    if (!takes_note(number)) {
      return failure(FailureKind::refused,
                     "job " + options().job + " has seen a later request than this one");
    }
    auto made = std::make_unique<Epoch>();
    made->moving = std::make_shared<const std::vector<VmId>>(std::move(moving));
    made->requested = clock_.now();
    made->parts.resize(members_.size());
    for (std::size_t i = 0; i < members_.size(); ++i) {
      made->parts[i].drained = made->parts[i].is_closed = members_[i].rank == nullptr;
      if (!made->parts[i].drained) continue;
      made->parts[i].record.drained = made->parts[i].record.ready = made->requested;
      made->parts[i].ready_known = true;
      ++made->drained_parts;
      ++made->closed_parts;
    }
    post({Post::Kind::request, number, made->moving});
    epochs_.emplace(number, std::move(made));
  }
  wake_ranks();
  {
    const Lock lock(*mutex_);
    Epoch& epoch = *find(number);
    if (Result<> drained = await_drained(epoch, number, deadline); !drained) return drained;
    epoch.close_posted = true;
    post({Post::Kind::close, number, epoch.moving});
  }
  wake_ranks();
  const Lock lock(*mutex_);
  return await(*find(number), &Epoch::closed_parts, deadline);
}

Result<bool> Board::begin_reactivation(std::uint64_t number, TimePoint deadline) {
  const Lock lock(*mutex_);
  Epoch* epoch = find(number);
  if (epoch == nullptr) {
    // Its request has not come, or was refused. Should it still come, nobody would end it: a
    // controller that went down may have sent it, and the next one closes the epoch.
    takes_note(number);
    return false;
  }
  if (!epoch->ending) {
    epoch->ending = true;
    return true;
  }
  while (find(number) != nullptr) {  // an earlier controller asked, and did not hear the answer
    if (changed_->wait_until(*mutex_, deadline) == Wake::timed_out && find(number) != nullptr) {
      return failure(FailureKind::timed_out, "job " + options().job + " is not reactivated yet");
    }
  }
  return false;
}

/// No rank may close when others have heard of the end: they send by then what it would drop. Those
/// in this process are refused by `close`; of the others each says what it has done.
void Board::revoke_closes(Epoch& epoch, std::uint64_t number) {
  if (!epoch.close_posted) return;
  for (std::size_t i = 0; i < members_.size(); ++i) {
    Epoch::Part& part = epoch.parts[i];
    part.close_settled = part.is_closed || !members_[i].is_remote();
    if (part.close_settled) continue;
    ++epoch.unsettled_closes;
    members_[i].rank->revoke_close(number);
  }
  while (epoch.unsettled_closes != 0) changed_->wait_until(*mutex_, TimePoint::never());
}

void Board::close_refused(RankId rank, std::uint64_t number) {
  const Lock lock(*mutex_);
  Epoch* epoch = find(number);
  if (epoch != nullptr) settle_close(*epoch, rank);
}

void Board::settle_close(Epoch& epoch, RankId rank) {
  if (epoch.unsettled_closes == 0 || epoch.parts[rank.index].close_settled) return;
  epoch.parts[rank.index].close_settled = true;
  if (--epoch.unsettled_closes == 0) changed_->notify_all();
}

std::vector<RankRecord> Board::reactivate(std::uint64_t number, JobId job,
                                          std::vector<VmSite> sites) {
  {
    const Lock lock(*mutex_);
    Epoch& epoch = *find(number);
    revoke_closes(epoch, number);
    epoch.ended = true;
    for (Epoch::Part& part : epoch.parts) {
      part.noted_end = !part.concerned;
      if (part.noted_end) ++epoch.ending_parts;
    }
    post({Post::Kind::reactivate,
          number,
          epoch.moving,
          {},
          std::make_shared<const std::vector<VmSite>>(std::move(sites))});
  }
  wake_ranks();
  const Lock lock(*mutex_);
  Epoch& epoch = *find(number);
  while (epoch.ending_parts != members_.size()) {
    changed_->wait_until(*mutex_, TimePoint::never());
  }
  const TimePoint now = clock_.now();
  std::vector<RankRecord> records;
  for (std::size_t i = 0; i < epoch.parts.size(); ++i) {
    Epoch::Part& part = epoch.parts[i];
    RankRecord record = part.record;
    record.job = job;
    record.rank = RankId{static_cast<std::uint32_t>(i)};
    record.requested = epoch.requested;
    if (!part.drained) record.drained = now;
    if (!part.ready_known) record.ready = part.drained ? record.drained : now;
    if (!part.blocked) record.blocked_from = record.blocked_to = now;
    records.push_back(record);
  }
  epochs_.erase(number);
  changed_->notify_all();
  return records;
}

// --- New places. ---

void Board::relocate(Generation generation, std::shared_ptr<const JobLocality> locality) {
  const Lock lock(*mutex_);
  if (generation <= asked_) return;
  asked_ = generation;
  locality_ = std::move(locality);
  votes_.clear();  // no rank hears of what was not agreed before this question
  post({Post::Kind::ask, 0, nullptr, {{}, generation, 0}});
}

std::shared_ptr<const JobLocality> Board::locality(Generation generation) const {
  const Lock lock(*mutex_);
  return generation == asked_ ? locality_ : nullptr;
}

void Board::reply(RankId rank, const LocalityReply& reply) {
  const Lock lock(*mutex_);
  if (reply.generation != asked_) return;
  Vote& vote = votes_.try_emplace(reply.of, Vote{LocalityVote(reply.generation, reply.ranks), {}})
                   .first->second;
  vote.votes.answer(reply.rank, reply.generation, reply.answer);
  vote.ranks.push_back(rank);
  const std::optional<CollectiveNumber> from = vote.votes.agreed();
  if (!from) return;
  post({Post::Kind::agree, 0, nullptr, {reply.of, reply.generation, *from}});
  for (const RankId each : vote.ranks) {
    const Member& member = members_[each.index];
    if (member.rank != nullptr) member.rank->wake();
  }
  requested_->notify_all();
  votes_.erase(reply.of);
}

std::size_t Board::closed_most(std::uint64_t number) const {
  const Lock lock(*mutex_);
  const auto found = epochs_.find(number);
  return found == epochs_.end() ? 0 : found->second->closed_most;
}

std::size_t Board::open_epochs() const {
  const Lock lock(*mutex_);
  return epochs_.size();
}

std::vector<Post> Board::posts_from(std::uint64_t first) const {
  const Lock lock(*mutex_);
  check(first >= first_, "who reads a board goes on where it was");
  return {posts_.begin() + static_cast<std::ptrdiff_t>(first - first_), posts_.end()};
}

void Board::restore(std::uint64_t before, std::vector<Post> posts,
                    std::shared_ptr<const JobLocality> locality) {
  const Lock lock(*mutex_);
  check(posts_.empty() && first_ == 0, "a board is restored before it is used");
  first_ = before;
  for (Post& each : posts) {
    switch (each.kind) {
      case Post::Kind::request: {
        takes_note(each.epoch);
        auto made = std::make_unique<Epoch>();
        made->moving = each.moving;
        made->requested = clock_.now();
        made->parts.resize(members_.size());
        for (Epoch::Part& part : made->parts) {
          part.record.drained = part.record.ready = made->requested;
          part.drained = part.is_closed = part.ready_known = true;
        }
        made->drained_parts = made->closed_parts = members_.size();
        epochs_.emplace(each.epoch, std::move(made));
        break;
      }
      case Post::Kind::close:
        if (Epoch* epoch = find(each.epoch)) epoch->close_posted = true;
        break;
      case Post::Kind::reactivate:
        takes_note(each.epoch);
        epochs_.erase(each.epoch);
        break;
      case Post::Kind::ask: asked_ = each.locality.generation; break;
      case Post::Kind::agree: break;
    }
    post(std::move(each));
  }
  locality_ = std::move(locality);
}

void Board::enlist(RankId rank, BoardMember& of_rank) {
  const Lock lock(*mutex_);
  Member& member = members_.at(rank.index);
  check(member.rank == nullptr, "a rank has one engine");
  member.rank = &of_rank;
  for (auto& [number, epoch] : epochs_) {
    Epoch::Part& part = epoch->parts[rank.index];
    if (epoch->ended || !part.drained) continue;
    part.drained = part.ready_known = false;
    --epoch->drained_parts;
    part.is_closed = false;
    --epoch->closed_parts;
  }
}

void Board::delist(RankId rank) {
  const Lock lock(*mutex_);
  Member& member = members_[rank.index];
  member.rank = nullptr;
  requested_->notify_all();
  for (auto& [number, epoch] : epochs_) {
    Epoch::Part& part = epoch->parts[rank.index];
    if (!part.drained) part.record.drained = clock_.now();
    if (!part.ready_known) part.record.ready = clock_.now();
    if (!part.drained) count_up(*epoch, &Epoch::drained_parts);
    if (!part.is_closed) count_up(*epoch, &Epoch::closed_parts);
    part.drained = part.is_closed = part.ready_known = true;
    if (epoch->ended && !part.noted_end) count_up(*epoch, &Epoch::ending_parts);
    part.noted_end = true;
    part.concerned = false;
    settle_close(*epoch, rank);
    if (!part.confirmed && epoch->unconfirmed != 0 && --epoch->unconfirmed == 0) {
      changed_->notify_all();
    }
    part.confirmed = true;
  }
}

void Board::leave(RankId rank) {
  const Lock lock(*mutex_);
  Member& member = members_[rank.index];
  member.left = true;
  if (!member.stopped && activity_ != nullptr && options().vms[rank.index]) {
    activity_->rank_stopped(*options().vms[rank.index]);
  }
  member.stopped = true;
  if (member.rank != nullptr) help(member);
}

bool Board::await_post(RankId rank, std::uint64_t seen) {
  const Lock lock(*mutex_);
  while (seen == posted() && members_[rank.index].rank != nullptr) {
    if (requested_->wait_until(*mutex_, TimePoint::never()) == Wake::cancelled) return false;
  }
  return members_[rank.index].rank != nullptr;
}

void Board::noticed(RankId rank, std::uint64_t number, bool concerned) {
  const Lock lock(*mutex_);
  Epoch* epoch = find(number);
  if (epoch == nullptr || epoch->ended || members_[rank.index].rank == nullptr) return;
  epoch->parts[rank.index].concerned = concerned;
}

void Board::drained(RankId rank, std::uint64_t number, bool is) {
  const Lock lock(*mutex_);
  Epoch* epoch = find(number);
  if (epoch == nullptr || epoch->ended || members_[rank.index].rank == nullptr) return;
  Epoch::Part& part = epoch->parts[rank.index];
  if (part.drained == is) return;
  part.drained = is;
  if (is) {
    part.record.drained = clock_.now();
    count_up(*epoch, &Epoch::drained_parts);
  } else {
    --epoch->drained_parts;
  }
}

void Board::close(RankId rank, std::uint64_t number, const std::function<std::size_t()>& close) {
  const Lock lock(*mutex_);
  Epoch* epoch = find(number);
  if (epoch == nullptr || epoch->ended) return;
  Epoch::Part& part = epoch->parts[rank.index];
  epoch->closed_most = std::max(epoch->closed_most, close());
  part.record.ready = clock_.now();
  part.ready_known = true;
  if (!part.is_closed) {
    part.is_closed = true;
    count_up(*epoch, &Epoch::closed_parts);
  }
  settle_close(*epoch, rank);
}

void Board::took_note_of_end(RankId rank, std::uint64_t number) {
  const Lock lock(*mutex_);
  Epoch* epoch = find(number);
  if (epoch == nullptr) return;
  Epoch::Part& part = epoch->parts[rank.index];
  if (part.blocked && members_[rank.index].stopped) part.record.blocked_to = clock_.now();
  if (part.noted_end) return;
  part.noted_end = true;
  count_up(*epoch, &Epoch::ending_parts);
}

void Board::stopped(RankId rank, const std::vector<std::uint64_t>& numbers) {
  const Lock lock(*mutex_);
  Member& member = members_[rank.index];
  if (member.left) return;
  for (const std::uint64_t number : numbers) {
    Epoch* epoch = find(number);
    if (epoch == nullptr) continue;
    Epoch::Part& part = epoch->parts[rank.index];
    if (part.blocked) continue;
    part.blocked = true;
    part.record.blocked_from = part.record.blocked_to = clock_.now();
  }
  if (!member.stopped && activity_ != nullptr && options().vms[rank.index]) {
    activity_->rank_stopped(*options().vms[rank.index]);
  }
  member.stopped = true;
}

void Board::went_on(RankId rank) {
  const Lock lock(*mutex_);
  Member& member = members_[rank.index];
  if (member.left || !member.stopped) return;
  member.stopped = false;
  for (auto& [number, epoch] : epochs_) {
    Epoch::Part& part = epoch->parts[rank.index];
    if (part.blocked) part.record.blocked_to = clock_.now();
  }
  if (activity_ != nullptr && options().vms[rank.index]) {
    activity_->rank_went_on(*options().vms[rank.index]);
  }
}

}  // namespace ferry::mpi
