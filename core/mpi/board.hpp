// Where a job's ranks read which suspensions they have to take part in, and say how far they are.
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
#include "core/ports/clock.hpp"
#include "core/ports/executor.hpp"
#include "core/ports/job_runtime.hpp"
#include "core/ports/recorder.hpp"
#include "core/ports/result.hpp"
#include "core/ports/types.hpp"
#include "core/units/units.hpp"

namespace ferry::mpi {

class Suspension;
struct JobLocality;

/// What a board says. Every rank of a job reads the same posts in the same order.
struct Post {
  enum class Kind : std::uint8_t {
    request,     ///< `moving` are about to move: drain what leads there
    close,       ///< all ranks have drained: nothing is under way any more, close it
    reactivate,  ///< the epoch is over, however it went
    ask,         ///< ranks are in new places: from which collective on could each go by them?
    agree,       ///< all ranks of a communicator have answered
  };
  Kind kind = Kind::request;
  std::uint64_t epoch = 0;
  std::shared_ptr<const std::vector<VmId>> moving;  ///< ascending; of the first three kinds
  /// What was agreed; of `ask` the generation alone.
  LocalityAgreement locality = {};
};

struct BoardOptions {
  std::string job;                       ///< for people
  std::vector<std::optional<VmId>> vms;  ///< by rank; none: native, which never moves
  bool whole_job = false;                ///< `suspend: job`: every pair is held
  bool migration_thread = false;         ///< else the progress engine
  bool reconnect_eagerly = false;
  Duration close_channel;  ///< processor time of a rank for each connection that it closes
};

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
class Board {
 public:
  Board(Executor& executor, const Clock& clock, BoardOptions options,
        RankActivity* activity = nullptr);
  ~Board();

  // --- The coordinator's side. ---
  /// Blocks until all ranks have drained and closed. After any failure `reactivate` undoes it.
  Result<> suspend(std::uint64_t epoch, std::vector<VmId> moving, TimePoint deadline);
  /// Whether an epoch is to be ended: it is open, and nobody ends it yet. If it has not come yet it
  /// is refused from now on. If somebody else ends it, blocks until that is done.
  Result<bool> begin_reactivation(std::uint64_t epoch, TimePoint deadline);
  /// After `begin_reactivation`. Blocks until every rank that held pairs for it has taken note.
  /// Returns what ranks did.
  std::vector<RankRecord> reactivate(std::uint64_t epoch, JobId job);
  /// Ranks are in these places from now on, unless a later generation was heard of: each
  /// communicator goes by it as soon as its ranks have agreed from which collective on. They read
  /// it together with the next `reactivate`.
  void relocate(Generation generation, std::shared_ptr<const JobLocality> locality);
  /// Connections that the rank that closed most has closed.
  [[nodiscard]] std::size_t closed_most(std::uint64_t epoch) const;
  [[nodiscard]] std::size_t open_epochs() const;

  // --- The ranks' side. ---
  [[nodiscard]] const BoardOptions& options() const { return options_; }
  [[nodiscard]] std::size_t posted() const { return posted_.load(std::memory_order_acquire); }
  [[nodiscard]] std::vector<Post> posts_from(std::size_t first) const;
  void enlist(RankId rank, Suspension& suspension);
  /// The rank is gone: nothing is expected of it any more.
  void delist(RankId rank);
  /// The rank's program has ended: its part in suspensions is done for it.
  void leave(RankId rank);
  /// The helper of a rank has nothing to do: blocks until there is a post beyond the first `seen`.
  /// False: it has to end.
  [[nodiscard]] bool await_post(RankId rank, std::size_t seen);

  /// Of the last `ask`; null if that is a later one than `generation`.
  [[nodiscard]] std::shared_ptr<const JobLocality> locality(Generation generation) const;
  /// The answer of a rank, once for each communicator and generation. Ranks that have ended answer
  /// too: others may be behind them.
  void reply(RankId rank, const LocalityReply& reply);

  void noticed(RankId rank, std::uint64_t epoch, bool concerned);
  void drained(RankId rank, std::uint64_t epoch, bool is);
  /// Runs `close`, which does not block and returns how many connections it closed, unless the
  /// epoch is being reactivated.
  void close(RankId rank, std::uint64_t epoch, const std::function<std::size_t()>& close);
  void took_note_of_end(RankId rank, std::uint64_t epoch);
  /// The rank cannot go on because of these epochs.
  void stopped(RankId rank, const std::vector<std::uint64_t>& epochs);
  /// The rank goes on. Only after `stopped`.
  void went_on(RankId rank);

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
  void count_up(Epoch& epoch, std::size_t Epoch::*count);

  const Clock& clock_;
  BoardOptions options_;
  RankActivity* activity_;
  std::unique_ptr<Mutex> mutex_;
  std::unique_ptr<Condition> changed_;    ///< of epochs, for coordinators
  std::unique_ptr<Condition> requested_;  ///< for helpers without work
  std::atomic<std::size_t> posted_ = 0;
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
