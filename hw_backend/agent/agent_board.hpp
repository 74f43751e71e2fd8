// The board of a job as a rank process sees it, through the agent of its VM.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/mpi/compute_watch.hpp"
#include "core/mpi/rank_board.hpp"
#include "core/ports/executor.hpp"
#include "core/ports/result.hpp"
#include "hw_backend/agent/agent_board_names.hpp"
#include "hw_backend/agent/job_board.hpp"
#include "hw_backend/agent/post_codec.hpp"

namespace ferry::agent {

/// Hears what concerns the whole process. Called by the board's own task, or by a rank that reads
/// the board; does not block but for `vms_are_at`.
class AgentBoardListener {
 public:
  virtual ~AgentBoardListener() = default;
  /// The rank's own VM is about to move: what it has open of the VM's devices (verbs, IVShmem) is
  /// closed when this returns, or they cannot be unplugged. The connections over them are closed
  /// already. May come again.
  virtual void release_devices() = 0;
  /// VMs, possibly the rank's own, are there and have these devices, from the reactivation on that
  /// is being read. Opens what was released, and may wait for it as long as the scenario allows.
  /// A failure says why the rank cannot go on: its job ends for this reason.
  [[nodiscard]] virtual Result<> vms_are_at(std::span<const mpi::VmSite> sites) = 0;
  /// Somebody has ended the job; once.
  virtual void job_is_over(const std::string& why) = 0;
};

/// One rank's. What it says is in shared memory before its calls return, and reaches the controller
/// when it can. It has a task that sleeps until there is something new.
class AgentBoard final : public mpi::RankBoard {
 public:
  /// `folder`: the job's (`folder_variable`). The failure says what is wrong with it.
  static Result<std::unique_ptr<AgentBoard>> open(const std::filesystem::path& folder, RankId rank,
                                                  Executor& executor, AgentBoardListener& listener);
  ~AgentBoard() override;

  [[nodiscard]] std::uint32_t job_ranks() const {
    return static_cast<std::uint32_t>(options().vms.size());
  }
  /// Of the ranks of this VM; ascending.
  [[nodiscard]] const std::vector<RankId>& ranks_here() const { return ranks_here_; }

  // --- The start of a job. ---
  /// What all ranks of the job will know of this one: addresses, for example. Once; at most
  /// `largest_card` bytes.
  [[nodiscard]] bool publish(std::span<const std::byte> card);
  /// By rank; blocks until every rank of the job has published, or the job is over.
  [[nodiscard]] Result<std::vector<Bytes8>> await_cards(TimePoint deadline);

  // --- Its course. ---
  /// Says from now on when `watch` says that the rank computes. It outlives the board, or has come
  /// to its end before.
  void relay(mpi::ComputeWatch& watch);
  /// The job cannot go on; all ranks will hear of it.
  void condemn(const std::string& why);
  /// Why it is over; empty: it is not.
  [[nodiscard]] std::string verdict() const;
  /// Blocks until all ranks of the job have come to their ends (`leave`): until then others may
  /// need this one's part in suspensions. False: the job is over otherwise, or the caller was
  /// cancelled.
  [[nodiscard]] bool await_dismissal();
  /// Leaves what the rank came to for the controller. Before the process ends.
  [[nodiscard]] Result<> leave_result(const RankResult& result) const;

  [[nodiscard]] std::vector<mpi::Post> posts_from(std::uint64_t first) const override;
  void enlist(RankId rank, mpi::BoardMember& member) override;
  void delist(RankId rank) override;
  void leave(RankId rank) override;
  [[nodiscard]] bool await_post(RankId rank, std::uint64_t seen) override;
  [[nodiscard]] std::shared_ptr<const mpi::JobLocality> locality(
      mpi::Generation generation) const override;
  void reply(RankId rank, const mpi::LocalityReply& reply) override;
  void noticed(RankId rank, std::uint64_t epoch, bool concerned) override;
  void drained(RankId rank, std::uint64_t epoch, bool is) override;
  void close(RankId rank, std::uint64_t epoch, const std::function<std::size_t()>& close) override;
  void took_note_of_end(RankId rank, std::uint64_t epoch) override;
  void stopped(RankId rank, const std::vector<std::uint64_t>& epochs) override;
  void went_on(RankId rank) override;

 private:
  AgentBoard(std::unique_ptr<RankAnswers> answers, std::filesystem::path folder, RankId rank,
             Executor& executor, AgentBoardListener& listener);
  void listen();
  void help();
  RankSlot::Epoch& place_of(std::uint64_t epoch);
  void set_flag(std::uint64_t epoch, std::uint32_t flag, bool is);

  std::unique_ptr<RankAnswers> answers_;
  std::filesystem::path folder_;
  RankId rank_;
  std::vector<RankId> ranks_here_;
  Executor& executor_;
  AgentBoardListener& listener_;
  std::unique_ptr<Mutex> mutex_;
  std::unique_ptr<Condition> changed_;
  mpi::BoardMember* member_ = nullptr;
  bool has_helper_ = false;
  bool has_left_ = false;
  mutable mpi::Generation asked_ = mpi::first_generation;  ///< last, of the posts that were read
  mutable std::shared_ptr<const mpi::JobLocality> locality_;
  mutable std::set<std::uint64_t> leaving_;  ///< epochs that are open and move this VM
  mutable std::set<std::uint64_t> ended_;    ///< whose end was read, and not yet noted
  std::atomic<bool> stopping_ = false;
  std::unique_ptr<Task> relay_;
  std::unique_ptr<Task> task_;  ///< last: it uses the rest
};

}  // namespace ferry::agent
