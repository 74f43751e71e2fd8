// How the ranks of a job find each other when they start, whoever has started them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/ports/result.hpp"
#include "core/ports/types.hpp"

namespace ferry::ranks {

/// One rank's part of it. Calls block; failures are `lost` (the launcher is gone) or `failed` (it
/// refuses), with what was asked.
class Start {
 public:
  virtual ~Start() = default;
  [[nodiscard]] virtual RankId rank() const = 0;
  [[nodiscard]] virtual std::uint32_t size() const = 0;
  /// The same for all ranks of the job, and of no other one that runs.
  [[nodiscard]] virtual const std::string& job_id() const = 0;
  /// Who started it, for people: "PMI".
  [[nodiscard]] virtual std::string_view launcher() const = 0;

  /// Seen by all ranks after the next `barrier`. Keys of letters and digits, at most 32; values of
  /// at most 300 bytes, any.
  virtual Result<> put(std::string_view key, std::string_view value) = 0;
  virtual Result<std::string> get(std::string_view key) = 0;
  virtual Result<> barrier() = 0;
  /// The last call of a rank that has come to its end, well or not: others go on.
  virtual Result<> finish() = 0;
  /// Ends all ranks of the job, at once and without a word. Never fails; returns nevertheless.
  virtual void abort(int exit_status) = 0;
};

/// A rank that is alone: nobody has started it.
[[nodiscard]] std::unique_ptr<Start> start_alone();

/// By the environment that PMI's launchers give (PMI_FD, or PMI_PORT and PMI_ID); null: there is
/// none.
[[nodiscard]] Result<std::unique_ptr<Start>> start_by_pmi();

}  // namespace ferry::ranks
