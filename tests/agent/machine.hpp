// Agents of several VMs, all on this machine, each with a socket in place of a channel.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "controller/communicating_jobs.hpp"
#include "controller/plan.hpp"
#include "core/ports/control.hpp"
#include "core/ports/world.hpp"
#include "core/record/run_records.hpp"
#include "core/scenario/document.hpp"
#include "tests/scratch_folder.hpp"

namespace ferry::agent {

/// Its folder, agents and ranks end with it.
class Machine {
 public:
  Machine();
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  /// Another for each: tests run beside each other, and ranks name their memory by it.
  [[nodiscard]] std::string name() const { return folder_.filename(); }
  /// Starts the VM's agent, which must not run.
  void start_agent(VmId vm);
  /// SIGKILL.
  void kill_agent(VmId vm);
  [[nodiscard]] bool has_agent(VmId vm) const { return agents_.count(vm) != 0; }
  [[nodiscard]] std::unique_ptr<Control> control(VmId vm, Executor& executor) const;
  [[nodiscard]] std::filesystem::path state(VmId vm) const;
  /// Folders of jobs that are there now.
  [[nodiscard]] std::vector<std::filesystem::path> jobs(VmId vm) const;
  /// Of ranks that run, by what lies in the folders.
  [[nodiscard]] std::vector<pid_t> rank_processes(VmId vm) const;

 private:
  ScratchFolder scratch_;
  const std::filesystem::path folder_ = scratch_.path();
  std::map<VmId, pid_t> agents_;
};

/// A scenario with an agent for each VM, as a controller runs it.
struct AgentRun {
  explicit AgentRun(const std::string& scenario);
  LoadedScenario loaded;
  Instance instance;
  Plan plan;
  JobPrograms programs;
  std::string program = FERRY_AGENT_RANK;
  std::string fault;                             ///< of `agent_rank`
  std::vector<std::string> rank_arguments = {};  ///< of another program in its place
  std::string run_name = {};                     ///< empty: the machine's
  std::uint64_t controller = 1;
  double speed = 4;
  std::string journal;  ///< of earlier controllers, and then of this one too
  RunRecords records;
  std::size_t suspensions = 0;  ///< that were never ended
  std::string broken;           ///< what the world threw
  /// Runs beside the session, in a task.
  std::function<void(World&)> beside;
  Duration patience = Duration::seconds(240);
  std::filesystem::path journal_file;  ///< empty: kept in memory
  /// In place of the machine's own.
  std::function<std::unique_ptr<Control>(VmId, std::unique_ptr<Control>)> link;

  /// Called when links have ended.
  std::function<void()> after;

  void run(Machine& machine);
  [[nodiscard]] const JobRecord& job() const;
};

/// Of seven messages on the run's links one is lost and one comes twice; each seed begins
/// elsewhere.
void lose_messages(AgentRun& run, std::uint32_t seed);

}  // namespace ferry::agent
