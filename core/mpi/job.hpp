// All ranks of a job, as tasks of one world.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/mpi/process.hpp"
#include "core/ports/result.hpp"

namespace ferry::mpi {

/// What a world gives to a job. All outlive it.
struct JobPorts {
  Executor& executor;
  Processor& processor;
  Fabric& fabric;
};

struct JobOptions {
  std::string name = "job";       ///< for people
  std::vector<RankPlace> places;  ///< one for each rank
  ProcessOptions process;
  /// Where suspensions are posted; says whether there is a migration thread. Outlives the job.
  /// Null: it is never suspended.
  RankBoard* board = nullptr;
};

class Job final : private Directory, private JobWatch, private StandstillListener {
 public:
  /// What a rank does. A `JobAborted` may leave it; anything else that does aborts the job and is
  /// thrown by `join`.
  using Body = std::function<void(Process&)>;

  /// Opens the endpoints; no rank runs. `chooser` outlives the job.
  Job(const JobPorts& ports, const ChannelChooser& chooser, JobOptions options);
  /// Joins.
  ~Job() override;
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  /// Starts all ranks, once.
  void start(Body body);
  /// Blocks until all ranks have ended. An error: why the job was aborted; where the world notices
  /// that ranks wait for each other, that is one, and says who waits for whom.
  Result<void> join();
  /// Ends the job from outside: its ranks leave their calls. From any task; never blocks.
  void abort(std::string why) override;

  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(ranks_.size()); }
  [[nodiscard]] Process& process(RankId rank);
  /// Which rank waits for which other one, for which tag and communicator; a line each, in the
  /// order of ranks. From any task, while no task of the job runs.
  [[nodiscard]] std::string describe_waits() const;
  /// Errors that did not end the job: truncated messages, each with ranks and sizes. By rank, then
  /// as they were noticed. After `join`.
  [[nodiscard]] std::vector<std::string> complaints() const;

 private:
  struct Member;
  class Ending;  ///< notices a rank that ends by an exception

  [[nodiscard]] EndpointAddress address_of(RankId rank) const override;
  void complain(RankId rank, std::string what) override;
  void stands_still() override;

  JobPorts ports_;
  JobOptions options_;
  std::vector<std::unique_ptr<Member>> ranks_;
  // No lock: ranks say it while they unwind, where nothing may wait.
  std::atomic<const std::string*> aborted_ = nullptr;  ///< why; owned
};

}  // namespace ferry::mpi
