// Rank processes and their keepers. A keeper is a process that starts one rank, waits for it, and
// writes down how it ended: so that an agent that died and was started again still hears of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/ports/result.hpp"

namespace ferry::agent {

/// Who runs a program.
struct Account {
  unsigned user = 0;
  unsigned group = 0;
  std::vector<unsigned> groups;
  std::string home;
  bool changes = false;  ///< it is not who runs the agent
};
/// Empty: who runs the agent. The failure says that there is no such user, or that the agent may
/// not become it.
[[nodiscard]] Result<Account> find_account(const std::string& user);

struct RankCommand {
  std::filesystem::path folder;  ///< of the job
  std::uint32_t rank = 0;
  std::vector<std::string> arguments;
  std::vector<std::string> environment;
  Account account;
};

/// How a rank ended.
struct RankExit {
  std::int32_t signal = 0;
  std::int32_t status = 0;
  bool unknown = false;  ///< its keeper died as well
};

/// A rank's keeper, found by what lies in the job's folder.
struct Keeper {
  std::uint32_t process = 0;
  std::uint64_t started = 0;  ///< of the process, in the kernel's ticks
};

/// Starts the keeper, which starts the rank: standard output and error go to `out/output.RANK`, the
/// working folder is `out`. A rank that has a keeper stays as it is. What the rank itself fails at
/// (no such program) is its end, with exit status 127 and the reason in its output.
[[nodiscard]] Result<> start_rank(const RankCommand& command);
/// Whether the rank has, or had, a keeper in this folder.
[[nodiscard]] bool was_started(const std::filesystem::path& folder, std::uint32_t rank);
/// How a rank that was started has ended; none: it runs.
[[nodiscard]] std::optional<RankExit> look_for_end(const std::filesystem::path& folder,
                                                   std::uint32_t rank);
/// Kills the rank and what it has started; `look_for_end` then sees it, soon.
void kill_rank(const std::filesystem::path& folder, std::uint32_t rank);

}  // namespace ferry::agent
