#include "hw_backend/agent/remote_rank.hpp"

#include <vector>

namespace ferry::agent {

RemoteRank::RemoteRank(Executor& executor, mpi::Board& board, RankId rank,
                       std::function<void()> poke)
    : board_(board), rank_(rank), poke_(std::move(poke)), mutex_(executor.make_mutex()) {}

void RemoteRank::take(const RankState& state) {
  if (given_up_) return;
  std::map<std::uint64_t, const EpochState*> there;
  std::vector<std::uint64_t> blocked;
  for (const EpochState& epoch : state.epochs) {
    there.emplace(epoch.epoch, &epoch);
    if (epoch.blocked) blocked.push_back(epoch.epoch);
    take_epoch(epoch, epochs_[epoch.epoch]);
  }
  if (state.stopped && !state.left && !blocked.empty()) board_.stopped(rank_, blocked);
  for (auto each = epochs_.begin(); each != epochs_.end();) {
    const auto found = there.find(each->first);
    // A rank forgets an epoch only after it has taken note of its end.
    const bool is_over = found == there.end() || found->second->noted_end;
    if (is_over && !each->second.noted_end) {
      each->second.noted_end = true;
      board_.took_note_of_end(rank_, each->first);
    }
    if (found != there.end()) {
      ++each;
      continue;
    }
    const Lock lock(*mutex_);
    changes_.erase(each->first);
    each = epochs_.erase(each);
  }
  if (!state.stopped && known_.stopped) board_.went_on(rank_);
  take_replies(state.replies);
  if (state.left && !known_.left) board_.leave(rank_);
  if (state.gone || state.ended) give_up();
  known_ = state;
}

void RemoteRank::take_epoch(const EpochState& state, EpochState& known) {
  {
    const Lock lock(*mutex_);
    changes_[state.epoch] = state.changes;  // before the board can ask for it
  }
  if (state.concerned && !known.concerned) board_.noticed(rank_, state.epoch, true);
  if (state.changes != known.changes) {
    if (known.drained) board_.drained(rank_, state.epoch, false);
    if (state.drained) board_.drained(rank_, state.epoch, true);
  }
  if (state.has_closed && !known.has_closed) {
    board_.close(rank_, state.epoch, [&] { return std::size_t{state.closed}; });
  }
  if (state.refused && !known.refused) board_.close_refused(rank_, state.epoch);
  const bool noted_end = known.noted_end;
  known = state;
  known.noted_end = noted_end;  // told last
}

void RemoteRank::take_replies(const std::vector<ReplyState>& replies) {
  for (const ReplyState& reply : replies) {
    if (!replied_.emplace(reply.generation, reply.context, reply.first).second) continue;
    board_.reply(rank_, {{reply.context, reply.first},
                         static_cast<mpi::Rank>(reply.rank),
                         static_cast<mpi::Rank>(reply.ranks),
                         reply.generation,
                         {reply.number, reply.agreed}});
  }
}

void RemoteRank::give_up() {
  if (given_up_.exchange(true)) return;
  {
    const Lock lock(*mutex_);
    asked_.clear();
    revoked_.clear();
  }
  board_.delist(rank_);
}

// --- Questions of the board. ---

void RemoteRank::confirm(std::uint64_t epoch, std::uint64_t round) {
  {
    const Lock lock(*mutex_);
    const auto known = changes_.find(epoch);
    asked_[epoch] = {round, known == changes_.end() ? 0U : known->second};
  }
  poke_();
}

void RemoteRank::take(const Confirmed& confirmed, const Confirmed::Rank& answer) {
  bool still_drained = false;
  {
    const Lock lock(*mutex_);
    const auto asked = asked_.find(confirmed.epoch);
    if (asked == asked_.end() || asked->second.round != confirmed.round) return;
    still_drained = answer.drained && answer.changes == asked->second.changes;
    asked_.erase(asked);
  }
  board_.confirmed(rank_, confirmed.epoch, confirmed.round, still_drained);
}

void RemoteRank::revoke_close(std::uint64_t epoch) {
  {
    const Lock lock(*mutex_);
    revoked_.insert(epoch);
  }
  poke_();
}

void RemoteRank::take(const Revoked& revoked, const Revoked::Rank& answer) {
  {
    const Lock lock(*mutex_);
    if (revoked_.erase(revoked.epoch) == 0) return;
  }
  if (answer.has_closed) {
    board_.close(rank_, revoked.epoch, [&] { return std::size_t{answer.closed}; });
  } else {
    board_.close_refused(rank_, revoked.epoch);
  }
}

std::map<std::uint64_t, std::uint64_t> RemoteRank::confirms() const {
  const Lock lock(*mutex_);
  std::map<std::uint64_t, std::uint64_t> all;
  for (const auto& [epoch, asked] : asked_) all.emplace(epoch, asked.round);
  return all;
}

std::set<std::uint64_t> RemoteRank::revocations() const {
  const Lock lock(*mutex_);
  return revoked_;
}

}  // namespace ferry::agent
