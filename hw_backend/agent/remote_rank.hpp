// Who stands for a rank in a guest at its job's board.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <tuple>

#include "core/mpi/board.hpp"
#include "core/mpi/compute_watch.hpp"
#include "core/ports/executor.hpp"
#include "hw_backend/agent/messages.hpp"

namespace ferry::agent {

/// Turns what an agent reports of the rank into calls of the board, as if the rank were here.
class RemoteRank final : public mpi::BoardMember {
 public:
  /// `poke`: there is something to say to the agent; never blocks, takes no lock of a board.
  RemoteRank(Executor& executor, mpi::Board& board, RankId rank, std::function<void()> poke);

  /// The latest state. Called by one task.
  void take(const RankState& state);
  /// The rank is gone, whatever it said last. From any task.
  void give_up();
  /// The agent's answers. `answer` null: it knows nothing of the rank.
  void take(const Confirmed& confirmed, const Confirmed::Rank& answer);
  void take(const Revoked& revoked, const Revoked::Rank& answer);

  /// What is to be asked: epochs and their latest rounds; epochs.
  [[nodiscard]] std::map<std::uint64_t, std::uint64_t> confirms() const;
  [[nodiscard]] std::set<std::uint64_t> revocations() const;

  void wake() override { poke_(); }
  /// The rank's own board sees to that.
  void spawn_helper() override {}
  [[nodiscard]] bool is_remote() const override { return true; }
  void confirm(std::uint64_t epoch, std::uint64_t round) override;
  void revoke_close(std::uint64_t epoch) override;

 private:
  struct Asked {
    std::uint64_t round = 0;
    std::uint32_t changes = 0;  ///< of the rank's word that is to be confirmed
  };
  void take_epoch(const EpochState& state, EpochState& known);
  void take_replies(const std::vector<ReplyState>& replies);

  mpi::Board& board_;
  RankId rank_;
  std::function<void()> poke_;
  RankState known_;
  std::map<std::uint64_t, EpochState> epochs_;  ///< as the board knows them
  std::set<std::tuple<std::uint64_t, std::uint32_t, std::uint32_t>> replied_;
  std::atomic<bool> given_up_ = false;
  std::unique_ptr<Mutex> mutex_;                    ///< of what follows; nothing is called under it
  std::map<std::uint64_t, std::uint32_t> changes_;  ///< by epoch
  std::map<std::uint64_t, Asked> asked_;
  std::set<std::uint64_t> revoked_;
};

}  // namespace ferry::agent
