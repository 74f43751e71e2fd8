// One rank of a job: what it is given, and where its program's calls begin.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "core/channel/choice.hpp"
#include "core/mpi/collectives/choose.hpp"
#include "core/mpi/communicator.hpp"
#include "core/ports/executor.hpp"
#include "core/ports/fabric.hpp"
#include "core/ports/processor.hpp"
#include "core/ports/runtime_costs.hpp"

namespace ferry::mpi {

class Engine;
class RankBoard;

/// The job is over before its ranks have ended; thrown by blocking calls, and unwinds the rank.
class JobAborted : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
/// Why, of a rank whose waits end as `cancelled`.
inline constexpr std::string_view rank_was_cancelled =
    "it was stopped, or the VM that it ran in is lost";

/// Where the ranks of a job are reached.
class Directory {
 public:
  virtual ~Directory() = default;
  /// Asked when a rank first talks to another, and after that has moved. Never blocks.
  [[nodiscard]] virtual EndpointAddress address_of(RankId rank) const = 0;
};

/// Who hears of what goes wrong in a job. From any of its tasks; never blocks.
class JobWatch {
 public:
  virtual ~JobWatch() = default;
  /// An error that a status also says: a truncated message.
  virtual void complain(RankId rank, std::string what) = 0;
  /// The job cannot go on: its ranks leave their calls with `JobAborted`, at once or later.
  virtual void abort(std::string why) = 0;
};

/// What a world and a job give to a rank. All outlive it.
struct ProcessPorts {
  Executor& executor;
  Processor& processor;
  WaitSet& wait_set;
  Endpoint& endpoint;
  const Directory& directory;
  const ChannelChooser& chooser;
  JobWatch& watch;
  RankBoard* board = nullptr;  ///< null: the job is never suspended
};

struct ProcessOptions {
  /// Whether packets are checked: what they say, and bodies of real bytes. The same in all ranks of
  /// a job. Where memory carries them, a check costs as much as the rest of a short message.
  bool check_packets = true;
  bool check_bodies = true;  ///< only if packets are
  /// What a peer may have in this rank's buffers: one for each packet, one more for each 256 B of
  /// its body. From 64 to 32,767; the same in all ranks of a job. What a message cannot get at once
  /// makes it a rendezvous.
  std::uint32_t credits = 1024;
  RuntimeCosts costs;
  /// Algorithms of collectives; null: by size alone. The same in all ranks of a job, as are groups.
  std::shared_ptr<const CollectiveSettings> collectives;
  std::shared_ptr<const JobLocality> locality;  ///< null: nothing is known
  /// Whether a migration thread shares the rank's state: each call then takes a lock.
  bool migration_thread = false;
};

class Process {
 public:
  Process(const ProcessPorts& ports, RankId rank, std::uint32_t job_size,
          const ProcessOptions& options);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  [[nodiscard]] RankId rank() const;
  [[nodiscard]] std::uint32_t job_size() const;
  /// Of all ranks of the job.
  [[nodiscard]] Communicator world();
  /// How often suspensions that concern this rank have begun and ended: before and after what none
  /// of them held up, the same.
  [[nodiscard]] std::uint64_t suspension_turns() const;
  /// Posts what could not be posted before. The last call of a rank; blocks.
  void finish();
  /// What each of its blocked calls waits for, a line each; empty if none is blocked. From any
  /// task, while no task of the rank runs.
  [[nodiscard]] std::string describe_waits() const;
  /// For the engine's own parts.
  [[nodiscard]] Engine& engine() { return *engine_; }

 private:
  std::unique_ptr<Engine> engine_;
};

}  // namespace ferry::mpi
