// One job on an agent: its folder, its board, and its ranks of this VM.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hw_backend/agent/job_board.hpp"
#include "hw_backend/agent/messages.hpp"

namespace ferry::agent {

class AgentJob {
 public:
  /// Makes the folder `jobs/KEY` with all that is in it; ranks are not started.
  static Result<std::unique_ptr<AgentJob>> create(const std::filesystem::path& jobs,
                                                  const StartJob& start);
  /// Of an earlier agent.
  static Result<std::unique_ptr<AgentJob>> open(const std::filesystem::path& folder);
  ~AgentJob();
  AgentJob(const AgentJob&) = delete;
  AgentJob& operator=(const AgentJob&) = delete;

  /// Starts the ranks that were not started yet.
  [[nodiscard]] Result<> start_ranks();
  [[nodiscard]] JobReport report() const;
  /// For `poll`.
  [[nodiscard]] int bell() const { return bell_; }
  void answer_bell();

  void take(const PostBatch& batch);
  /// As many posts from `first` on as fit into a message.
  [[nodiscard]] PostBatch posts_from(std::uint64_t first) const;
  /// None: a rank is in the midst of a change; ask again soon.
  [[nodiscard]] std::optional<Confirmed> confirm(const Confirm& question) const;
  [[nodiscard]] std::optional<Revoked> revoke(const Revoke& order);
  void take(const Cards& cards);
  [[nodiscard]] TraceReport take(const HandTrace& piece) const;
  void condemn(const std::string& why) { board_->condemn(why); }
  void dismiss() { board_->dismiss(); }
  void kill_ranks() const;
  [[nodiscard]] Chunk result(const Fetch& fetch) const;
  void acknowledge(std::uint32_t rank, std::uint64_t version);
  /// Everything is to be reported again.
  void forget_acknowledged();

  /// Looks at the ranks; gives those to be reported to `tell`: what is new, and what nobody has
  /// acknowledged for a while.
  void look(const std::function<void(RankReport)>& tell);
  /// Whether something waits to be acknowledged.
  [[nodiscard]] bool has_unacknowledged() const;
  [[nodiscard]] bool has_running() const;

 private:
  using Time = std::chrono::steady_clock::time_point;
  struct RankEntry {
    std::uint32_t rank = 0;
    bool started = false;
    RankState state;
    Bytes8 told;  ///< the state as it was last reported, as bytes
    std::uint64_t version = 0;
    std::uint64_t acknowledged = 0;
    Time told_at;
  };
  AgentJob(std::filesystem::path folder, StartJob start, std::unique_ptr<JobBoard> board);
  [[nodiscard]] std::vector<bool> living() const;

  std::filesystem::path folder_;
  StartJob start_;
  std::unique_ptr<JobBoard> board_;
  int bell_ = -1;
  std::vector<RankEntry> ranks_;
  std::vector<std::optional<Bytes8>> cards_;  ///< by rank of the job
  std::uint32_t known_cards_ = 0;
  bool has_cards_ = false;
  std::string why_not_;
};

}  // namespace ferry::agent
