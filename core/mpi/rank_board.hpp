// The ranks' side of a job's board: where they read which suspensions they have to take part in,
// and say how far they are.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/mpi/collectives/locality_agreement.hpp"
#include "core/ports/types.hpp"
#include "core/units/units.hpp"

namespace ferry::mpi {

struct JobLocality;

/// Where a VM is and what it has, from a reactivation on.
struct VmSite {
  VmId vm;
  HostId host;
  bool virtual_function = false;
  bool ivshmem = false;
  bool operator==(const VmSite&) const = default;
};

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
  /// Of `reactivate`: where the VMs that moved are now, for ranks that cannot see it otherwise.
  std::shared_ptr<const std::vector<VmSite>> sites = {};
};

struct BoardOptions {
  std::string job;                       ///< for people
  std::vector<std::optional<VmId>> vms;  ///< by rank; none: native, which never moves
  bool whole_job = false;                ///< `suspend: job`: every pair is held
  bool migration_thread = false;         ///< else the progress engine
  bool reconnect_eagerly = false;
  Duration close_channel;     ///< processor time of a rank for each connection that it closes
  Duration open_device = {};  ///< what a rank of a moved VM takes to open its device, where none is
};

/// Who stands for a rank at its board: the rank's `Suspension`, or, at the coordinator, somebody
/// who reaches a rank elsewhere. Called under the board's lock; never blocks.
class BoardMember {
 public:
  virtual ~BoardMember() = default;
  /// There are new posts.
  virtual void wake() = 0;
  /// The rank needs a task of its own that takes part in suspensions.
  virtual void spawn_helper() = 0;

  /// Whether the rank's word reaches the board late: the two calls below are made, and answered.
  [[nodiscard]] virtual bool is_remote() const { return false; }
  /// Has the rank stayed drained for this epoch since it last said so? `Board::confirmed`.
  virtual void confirm(std::uint64_t /*epoch*/, std::uint64_t /*round*/) {}
  /// From now on it must not close. `Board::close`, if it has; `Board::close_refused`.
  virtual void revoke_close(std::uint64_t /*epoch*/) {}
};

/// A `Board` where ranks share its process; else a mirror of one.
class RankBoard {
 public:
  virtual ~RankBoard() = default;
  RankBoard(const RankBoard&) = delete;
  RankBoard& operator=(const RankBoard&) = delete;

  [[nodiscard]] const BoardOptions& options() const { return options_; }
  /// How many posts there are: looked at in every call of a rank, so it is one load.
  [[nodiscard]] std::uint64_t posted() const { return posted_->load(std::memory_order_acquire); }

  /// All from the one that has `first` before it.
  [[nodiscard]] virtual std::vector<Post> posts_from(std::uint64_t first) const = 0;
  virtual void enlist(RankId rank, BoardMember& member) = 0;
  /// The rank is gone: nothing is expected of it any more.
  virtual void delist(RankId rank) = 0;
  /// The rank's program has ended: its part in suspensions is done for it.
  virtual void leave(RankId rank) = 0;
  /// The helper of a rank has nothing to do: blocks until there is a post beyond the first `seen`.
  /// False: it has to end.
  [[nodiscard]] virtual bool await_post(RankId rank, std::uint64_t seen) = 0;

  /// Of the last `ask`; null if that is a later one than `generation`.
  [[nodiscard]] virtual std::shared_ptr<const JobLocality> locality(
      Generation generation) const = 0;
  /// The answer of a rank, once for each communicator and generation. Ranks that have ended answer
  /// too: others may be behind them.
  virtual void reply(RankId rank, const LocalityReply& reply) = 0;

  virtual void noticed(RankId rank, std::uint64_t epoch, bool concerned) = 0;
  virtual void drained(RankId rank, std::uint64_t epoch, bool is) = 0;
  /// Runs `close`, which does not block and returns how many connections it closed, unless the
  /// epoch is being reactivated.
  virtual void close(RankId rank, std::uint64_t epoch,
                     const std::function<std::size_t()>& close) = 0;
  virtual void took_note_of_end(RankId rank, std::uint64_t epoch) = 0;
  /// The rank cannot go on because of these epochs.
  virtual void stopped(RankId rank, const std::vector<std::uint64_t>& epochs) = 0;
  /// The rank goes on. Only after `stopped`.
  virtual void went_on(RankId rank) = 0;

 protected:
  /// `posted` outlives the board.
  RankBoard(BoardOptions options, const std::atomic<std::uint64_t>& posted)
      : options_(std::move(options)), posted_(&posted) {}

 private:
  BoardOptions options_;
  const std::atomic<std::uint64_t>* posted_;
};

}  // namespace ferry::mpi
