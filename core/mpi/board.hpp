// The coordinator of a job's suspensions: what it posts, what ranks have answered, and what that
// comes to.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/mpi/collectives/locality_agreement.hpp"
#include "core/mpi/rank_board.hpp"
#include "core/ports/clock.hpp"
#include "core/ports/executor.hpp"
#include "core/ports/job_runtime.hpp"
#include "core/ports/recorder.hpp"
#include "core/ports/result.hpp"
#include "core/ports/types.hpp"
#include "core/units/units.hpp"

namespace ferry::mpi {

/// Who is told that a rank of a VM does nothing because of a suspension. Never blocks.
class RankActivity {
 public:
  virtual ~RankActivity() = default;
  virtual void rank_stopped(VmId vm) = 0;
  virtual void rank_went_on(VmId vm) = 0;
};

/// One job's. Any number of epochs may be open at once. A rank holds the pairs that an open epoch
/// concerns, empties them towards each other, and says that it has drained; it takes that back when
/// it first hears of a rank that it did not know. Once all have drained at one instant nothing is
/// under way between them, and they are told to close their connections.
///
/// Its ranks are in its process, or all elsewhere (`BoardMember::is_remote`). Then "at one instant"
/// takes a question, and they are told of an end only when none can close any more: MIGRATION.md.
class Board final : public RankBoard {
 public:
  Board(Executor& executor, const Clock& clock, BoardOptions options,
        RankActivity* activity = nullptr);
  ~Board() override;

  // --- The coordinator's side. ---
  /// Blocks until all ranks have drained and closed. After any failure `reactivate` undoes it.
  Result<> suspend(std::uint64_t epoch, std::vector<VmId> moving, TimePoint deadline);
  /// Whether an epoch is to be ended: it is open, and nobody ends it yet. If it has not come yet it
  /// is refused from now on. If somebody else ends it, blocks until that is done.
  Result<bool> begin_reactivation(std::uint64_t epoch, TimePoint deadline);
  /// After `begin_reactivation`. Blocks until every rank that held pairs for it has taken note.
  /// Returns what ranks did. `sites`: of the VMs that moved.
  std::vector<RankRecord> reactivate(std::uint64_t epoch, JobId job,
                                     std::vector<VmSite> sites = {});
  /// Ranks are in these places from now on, unless a later generation was heard of: each
  /// communicator goes by it as soon as its ranks have agreed from which collective on. They read
  /// it together with the next `reactivate`.
  void relocate(Generation generation, std::shared_ptr<const JobLocality> locality);
  /// Connections that the rank that closed most has closed.
  [[nodiscard]] std::size_t closed_most(std::uint64_t epoch) const;
  [[nodiscard]] std::size_t open_epochs() const;

  // --- Of those who stand for remote ranks. ---
  /// The answer to `BoardMember::confirm`.
  void confirmed(RankId rank, std::uint64_t epoch, std::uint64_t round, bool still_drained);
  /// The answer to `BoardMember::revoke_close`: the rank has not closed and will not.
  void close_refused(RankId rank, std::uint64_t epoch);
  /// What an earlier coordinator posted, all of it or its end, which the board goes on from: before
  /// anybody enlists and anything is posted here. `before`: posts that came before these.
  /// `locality`: of the last `ask`.
  void restore(std::uint64_t before, std::vector<Post> posts,
               std::shared_ptr<const JobLocality> locality);

  // --- The ranks' side. ---
  [[nodiscard]] std::vector<Post> posts_from(std::uint64_t first) const override;
  void enlist(RankId rank, BoardMember& member) override;
  void delist(RankId rank) override;
  void leave(RankId rank) override;
  [[nodiscard]] bool await_post(RankId rank, std::uint64_t seen) override;
  [[nodiscard]] std::shared_ptr<const JobLocality> locality(Generation generation) const override;
  void reply(RankId rank, const LocalityReply& reply) override;
  void noticed(RankId rank, std::uint64_t epoch, bool concerned) override;
  void drained(RankId rank, std::uint64_t epoch, bool is) override;
  void close(RankId rank, std::uint64_t epoch, const std::function<std::size_t()>& close) override;
  void took_note_of_end(RankId rank, std::uint64_t epoch) override;
  void stopped(RankId rank, const std::vector<std::uint64_t>& epochs) override;
  void went_on(RankId rank) override;

 private:
  struct Epoch;
  struct Member;
  struct Vote {
    LocalityVote votes;
    std::vector<RankId> ranks;  ///< that have answered
  };
  Epoch* find(std::uint64_t epoch);
  bool takes_note(std::uint64_t epoch);
  /// Under the lock. Ranks have to be woken afterwards.
  void post(Post post);
  void wake_ranks();
  void help(Member& member);
  Result<> await(Epoch& epoch, std::size_t Epoch::*count, TimePoint deadline);
  Result<> await_drained(Epoch& epoch, std::uint64_t number, TimePoint deadline);
  void revoke_closes(Epoch& epoch, std::uint64_t number);
  void settle_close(Epoch& epoch, RankId rank);
  void count_up(Epoch& epoch, std::size_t Epoch::*count);

  const Clock& clock_;
  RankActivity* activity_;
  std::unique_ptr<Mutex> mutex_;
  std::unique_ptr<Condition> changed_;    ///< of epochs, for coordinators
  std::unique_ptr<Condition> requested_;  ///< for helpers without work
  std::atomic<std::uint64_t> posted_ = 0;
  std::uint64_t first_ = 0;  ///< posts before those that are kept
  std::vector<Post> posts_;
  std::vector<Member> members_;  ///< by rank
  std::map<std::uint64_t, std::unique_ptr<Epoch>> epochs_;
  Generation asked_ = first_generation;  ///< last
  std::shared_ptr<const JobLocality> locality_;
  std::map<CommunicatorName, Vote> votes_;  ///< about `asked_`, and not over
  std::uint64_t latest_ = 0;
  std::set<std::uint64_t> overtaken_;  ///< below `latest_`, and not seen yet
};

}  // namespace ferry::mpi
