// What one rank does from its start to its end, whoever started it.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/mpi/process.hpp"
#include "core/mpi/workloads/run_workload.hpp"
#include "core/ports/recorder.hpp"
#include "core/scenario/document.hpp"
#include "core/scenario/instance.hpp"
#include "hw_backend/ranks/page_dirtier.hpp"
#include "hw_backend/ranks/rank_channels.hpp"
#include "hw_backend/ranks/start.hpp"

namespace ferry::ranks {

/// A job of a scenario, ready to run.
struct PreparedJob {
  LoadedScenario loaded;
  Instance instance;
  JobId id;
  mpi::WorkloadSpec program;
  [[nodiscard]] const JobSpec& spec() const { return instance.jobs[id.index]; }
};
/// Errors are for users, a line each: there is no such job, its ranks send no messages, what its
/// workload lacks.
[[nodiscard]] tl::expected<PreparedJob, std::vector<std::string>> prepare_job(LoadedScenario loaded,
                                                                              std::string_view job);

/// What a machine has of a trace that is elsewhere: at least the lines of `rank`.
struct HandedTrace {
  std::filesystem::path file;
  RankId rank;
};
/// The same for one rank. `trace`: blocks until it is there; not called for other workloads.
[[nodiscard]] tl::expected<PreparedJob, std::vector<std::string>> prepare_job(
    LoadedScenario loaded, std::string_view job, const std::function<Result<HandedTrace>()>& trace);

struct RankOptions {
  ChannelWishes channels;
  bool pages = false;  ///< the machine's memory becomes what the scenario says of its VM
};

/// How a rank ended that a launcher started.
struct RankOutcome {
  /// Why the job did not come to its end; it names the rank, its machine and what it was doing. The
  /// same text in all ranks that share memory.
  Result<> ended;
  bool interrupted = false;
  bool others_wait = false;  ///< ranks elsewhere do not know that it has ended: abort
  /// What made messages slower than they would be, for people; empty: nothing did.
  std::string remark;
  /// Of the whole job; only on rank 0.
  std::optional<JobRecord> record;
};

/// Blocks until the job has ended. Throws WorldError if the rank cannot take part: a system or a
/// launcher that refuses.
[[nodiscard]] RankOutcome run_rank_program(const PreparedJob& job, Start& start,
                                           const RankOptions& options);

/// The same for a rank that an agent has started, which stays until its agent lets it go. What it
/// came to is with the agent. The failure, if any, is why the job ended.
[[nodiscard]] Result<> run_rank_of_agent(const PreparedJob& job, RankId rank,
                                         const std::filesystem::path& folder,
                                         const RankOptions& options);

/// Ranks are their own addresses.
class RankDirectory final : public mpi::Directory {
 public:
  [[nodiscard]] EndpointAddress address_of(RankId rank) const override { return {rank.index}; }
};

/// What the engine is told of the job, and its routes.
[[nodiscard]] mpi::ProcessOptions process_options(const PreparedJob& job, const RankPlaces& places);

/// With `--pages`, of the first rank of a machine: its memory as the scenario says it is of the VM
/// that the rank is in. Else null.
[[nodiscard]] std::unique_ptr<PageDirtier> dirty_pages(const PreparedJob& job, RankId rank,
                                                       const RankChannels& channels,
                                                       const RankOptions& options);

/// The machine's steady clock, as that of all others is.
[[nodiscard]] ThreadClock steady_clock_of_machine();

}  // namespace ferry::ranks
