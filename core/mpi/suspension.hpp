// One rank's part in the suspensions of its job: which pairs it holds, what it drains and closes,
// and how they come back. `MIGRATION.md` tells it in order.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/mpi/engine.hpp"
#include "core/mpi/rank_board.hpp"
#include "core/ports/executor.hpp"

namespace ferry::mpi {

/// Belongs to an engine, and is used under its lock but for `wake` and `spawn_helper`.
///
/// A *hold* is the time in which at least one open epoch concerns a pair of ranks; it is named by
/// the number of the post that began it, which is the same on both ranks. In it a connection goes
///
///   open -> draining -> held (our flush has left) -> closed -> open
///
/// and is drained when it is held, the flush of the same hold has come from the other side, and so
/// have all fragments that were sent before it. A flush leaves when no answer waits, no stream is
/// in its middle, and no read of the other's memory is under way: so who has it withdraws what the
/// other could have read. A rank that was never spoken with has nothing to flush.
class Suspension final : public BoardMember {
 public:
  Suspension(Engine& engine, RankBoard& board, Executor& executor);
  /// Joins the helper.
  ~Suspension() override;
  Suspension(const Suspension&) = delete;
  Suspension& operator=(const Suspension&) = delete;

  /// Whether there is something to do before the rank goes on; looked at in each of its calls.
  [[nodiscard]] bool stirred() const { return board_.posted() != seen_ || restless_; }
  /// Neither that, nor an epoch that is not over.
  [[nodiscard]] bool is_quiet() const { return !stirred() && actives_.empty(); }
  /// Reads the board, and drains as far as it goes now. Whether anything has changed.
  bool step();
  /// Whether the progress engine keeps the program in its call.
  [[nodiscard]] bool keeps_program() const {
    return !board_.options().migration_thread && concerned_ != 0;
  }
  /// How often epochs have come to concern this rank, and have ceased to.
  [[nodiscard]] std::uint64_t turns() const { return turns_; }
  /// The program is about to wait in a call.
  void program_waits();
  /// It does so no more.
  void program_goes_on();
  /// Its program has ended; if the job is aborted, its part in suspensions as well.
  void leave();

  // --- What the engine tells. ---
  /// A first word with a rank is at hand.
  void meet(Peer& peer);
  /// A packet has come from a rank whose connection is not open.
  void heard(Peer& peer);
  void take_flush(Peer& peer, const PacketHeader& header);

  // --- Of the board, under its lock. ---
  void wake() override { engine_.ports_.wait_set.notify(); }
  void spawn_helper() override;

 private:
  /// A post and its place on the board, from 1.
  struct Numbered {
    std::uint64_t number = 0;
    Post post;
  };
  /// An epoch that this rank knows of and that is not over.
  struct Active {
    Post request;
    bool concerned = false;
    bool drained = false;
  };

  [[nodiscard]] bool leaves_vm(const Peer& peer) const;
  [[nodiscard]] bool moves(const Post& post, RankId rank) const;
  [[nodiscard]] bool holds(const Post& post, const Peer& peer) const;
  void apply(const Numbered& numbered, Peer& peer) const;
  void take_note();
  void take_place(Post::Kind kind, const LocalityAgreement& said);
  void begin(const Post& request);
  void close(const Post& post);
  void open_device(const Post& post);
  /// As `Processor::occupy` of the rank's own VM, if it has one.
  bool occupy(Duration cost);
  void end(const Post& post);
  void settle();
  void concern(Active& active);

  void begin_drain(Peer& peer);
  void try_flush(Peer& peer);
  [[nodiscard]] static bool is_drained(const Peer& peer);
  void withdraw(const Peer& peer);
  void reopen(Peer& peer);
  void resume();
  void disconnect(const Peer& peer);
  void connect(const Peer& peer);
  void report();
  [[nodiscard]] bool waits_for_held() const;
  void help();
  std::uint64_t help_once();
  /// The job is aborted: what the others would wait for does not come.
  [[nodiscard]] bool is_hopeless() const { return engine_.aborted_.load() != nullptr; }

  Engine& engine_;
  RankBoard& board_;
  Executor& executor_;
  std::uint64_t seen_ = 0;  ///< posts of the board
  bool restless_ = false;   ///< a connection is not drained
  std::vector<Active> actives_;
  std::vector<Numbered> history_;  ///< since none was active: for ranks that are met meanwhile
  std::size_t concerned_ = 0;      ///< active epochs that concern this rank
  std::uint64_t turns_ = 0;        ///< of `concerned_`, up or down
  std::vector<Peer*> held_;        ///< whose hold is on
  bool reopened_ = false;          ///< connections, whose transfers have to go on
  bool waiting_ = false;           ///< the program is, in a call
  bool stopped_ = false;
  std::atomic<bool> ending_ = false;
  std::unique_ptr<Task> helper_;
};

}  // namespace ferry::mpi
