// A job whose ranks run behind agents: what has to be said to each of them, and what they have
// said.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/mpi/workloads/hosted_job.hpp"
#include "core/ports/clock.hpp"
#include "core/ports/executor.hpp"
#include "hw_backend/agent/clock_map.hpp"
#include "hw_backend/agent/messages.hpp"
#include "hw_backend/agent/post_codec.hpp"
#include "hw_backend/agent/remote_rank.hpp"

namespace ferry::agent {

struct RemoteJobOptions {
  std::string key;
  std::vector<std::string> arguments;  ///< of every rank; the program first
  std::vector<std::string> environment;
  std::string user;
  Bytes8 description;
  /// Of a job that replays a trace: by VM what its ranks need of it.
  std::map<VmId, std::string> traces;
  /// Of a run that is taken over: its ranks may run already.
  bool taken_over = false;
  /// How long ranks may take to start, and agents to answer for them.
  Duration patience = Duration::seconds(120);
  /// How long ranks may take to end by themselves when their job is over; then they are killed.
  Duration grace = Duration::seconds(10);
};

/// Repeats what it has to say until the agents' reports show that it was heard. Links call the
/// first group of functions, one task for each VM; a call of them may not hold a lock of a board.
class RemoteJob final : public mpi::HostedJob {
 public:
  /// `names` of VMs are for people; `poke` wakes the link of a VM.
  RemoteJob(Executor& executor, Clock& clock, const mpi::HostedJobRequest& request,
            RemoteJobOptions options, std::map<VmId, std::string> names,
            std::function<void(VmId)> poke);
  ~RemoteJob() override;
  RemoteJob(const RemoteJob&) = delete;
  RemoteJob& operator=(const RemoteJob&) = delete;

  // --- Of the links. ---
  [[nodiscard]] const std::string& key() const { return options_.key; }
  [[nodiscard]] bool runs_in(VmId vm) const { return parts_.count(vm) != 0; }
  /// What is to be said now; what was said a short while ago is not said again.
  [[nodiscard]] std::vector<Message> to_say(VmId vm);
  /// The link was opened anew, and these jobs are there.
  void welcome(VmId vm, const std::vector<std::string>& jobs);
  void take(VmId vm, const JobReport& report);
  void take(VmId vm, const PostBatch& batch);
  /// Whether it was taken; else it has to come again.
  [[nodiscard]] bool take(VmId vm, const RankReport& report, const ClockMap& clock);
  void take(VmId vm, const Confirmed& confirmed);
  void take(VmId vm, const Revoked& revoked);
  void take(VmId vm, const Chunk& chunk);
  void take(VmId vm, const TraceReport& report);
  /// Nothing more will come from there.
  void give_up(VmId vm, const std::string& why);
  /// The same of a job that has been started; as long as `start` waits it has its own patience.
  void give_up_started(VmId vm, const std::string& why);
  /// Another controller has the job now, or the agents cannot be spoken with: nothing more is said.
  void give_up_all(const std::string& why);

  // --- Of who runs the job. ---
  void start() override;
  Result<> join(mpi::WorkloadLog& log, std::vector<std::string>& complaints) override;
  void abort(const std::string& why) override { fail(why); }
  /// By VM, how guests' clocks are translated when the job has ended.
  void set_clocks(std::function<ClockMap(VmId)> clock_of) { clock_of_ = std::move(clock_of); }
  /// By VM, what is wrong with the way to its agent; empty: nothing that is known.
  void set_troubles(std::function<std::string(VmId)> trouble_of) {
    trouble_of_ = std::move(trouble_of);
  }

 private:
  /// Something that is said again and again.
  struct Said {
    TimePoint at;
    bool ever = false;
  };
  struct Part {
    std::vector<std::uint32_t> ranks;
    bool heard = false;    ///< whether the job is there is known
    bool has_job = false;  ///< it is, with all its ranks started
    std::uint64_t posted = 0;
    std::uint64_t kept_from = 0;
    std::uint64_t said_posts = 0;  ///< how many there were when they were said last
    std::uint32_t cards = 0;
    bool dismissed = false;
    /// Bytes of the trace that the agent has; none: not known yet.
    std::optional<std::uint64_t> trace_held;
    bool lost = false;       ///< nothing comes from there any more
    bool forgotten = false;  ///< the agent has deleted what it had
    std::map<std::string, Said> said;
  };
  struct RankEntry {
    VmId vm;
    std::unique_ptr<RemoteRank> stand_in;  ///< null: the job has no board
    mpi::ComputeWatch* watch = nullptr;    ///< null: nobody asks
    std::uint64_t computations = 0;
    std::optional<Bytes8> card;
    bool left = false;  ///< its program has ended
    bool ended = false;
    bool went_well = false;
    Bytes8 result;
    std::uint64_t result_size = 0;  ///< zero: not known yet
    std::optional<RankResult> came_to;
  };
  enum class Stage { asking, restoring, starting, running, over };

  [[nodiscard]] bool due(Part& part, const std::string& what);
  [[nodiscard]] StartJob start_message(VmId vm, const Part& part) const;
  void say_posts(VmId vm, std::uint64_t from, std::vector<Message>& messages);
  void say_cards(Part& part, std::vector<Message>& messages);
  void say_fetches(Part& part, std::vector<Message>& messages);
  void say_trace(VmId vm, Part& part, std::vector<Message>& messages);
  /// With `mutex_` held, until every guest has what its ranks need of the trace.
  void await_traces();
  void decide();
  void enlist();
  void go_on(Stage stage);
  void fail(const std::string& why);
  void poke_all();
  void end_rank(std::uint32_t rank, const RankState& state);
  [[nodiscard]] std::string describe_end(std::uint32_t rank, const RankState& state) const;
  [[nodiscard]] bool has_all_cards() const;
  [[nodiscard]] bool have_all_left() const;
  [[nodiscard]] bool is_settled(const RankEntry& rank) const;
  [[nodiscard]] mpi::RankLog translated(const mpi::RankLog& log, VmId vm) const;

  Clock& clock_;
  mpi::Board* board_;
  std::string name_;
  std::vector<std::uint32_t> vms_;  ///< by rank
  mpi::BoardOptions board_options_;
  RemoteJobOptions options_;
  std::map<VmId, std::string> names_;
  std::function<void(VmId)> poke_;
  std::function<ClockMap(VmId)> clock_of_;
  std::function<std::string(VmId)> trouble_of_;
  std::unique_ptr<Mutex> mutex_;
  std::unique_ptr<Condition> changed_;
  Stage stage_ = Stage::asking;
  bool begun_ = false;  ///< `start` was called
  bool enlisted_ = false;
  bool started_ = false;  ///< `start` has returned
  bool ended_by_us_ = false;
  std::map<VmId, Part> parts_;
  std::vector<RankEntry> ranks_;
  std::uint32_t cards_ = 0;
  std::optional<VmId> source_;  ///< whose posts the board is restored from
  std::uint64_t restore_from_ = 0;
  std::vector<Bytes8> restored_;
  std::optional<std::string> verdict_;
  TimePoint condemned_at_;
  bool forgetting_ = false;
};

}  // namespace ferry::agent
