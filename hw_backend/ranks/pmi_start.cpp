// A rank that a launcher with PMI-1 has started: Hydra's mpiexec, or srun --mpi=pmi2, whose plug-in
// also speaks it.
#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "core/units/check.hpp"
#include "hw_backend/ranks/pmi_connection.hpp"
#include "hw_backend/ranks/start.hpp"

namespace ferry::ranks {
namespace {

/// A launcher that is told to abort ends everything, without a look at what it has still to pass
/// on: so it gets time for the reason, until it has taken it and a moment longer; 1.2 s at most.
void await_taken_errors() {
  using std::chrono::milliseconds;
  struct stat kind = {};
  if (fstat(STDERR_FILENO, &kind) != 0 || !S_ISFIFO(kind.st_mode)) return;
  int left = 1;
  for (int looks = 0; looks < 200 && left > 0; ++looks) {
    std::this_thread::sleep_for(milliseconds(5));
    if (ioctl(STDERR_FILENO, FIONREAD, &left) != 0) return;
  }
  std::this_thread::sleep_for(milliseconds(200));
}

/// What others do to themselves is known to themselves: no launcher at all.
class AloneStart final : public Start {
 public:
  [[nodiscard]] RankId rank() const override { return RankId{0}; }
  [[nodiscard]] std::uint32_t size() const override { return 1; }
  [[nodiscard]] const std::string& job_id() const override { return id_; }
  [[nodiscard]] std::string_view launcher() const override { return "no launcher"; }
  Result<> put(std::string_view key, std::string_view value) override {
    values_.insert_or_assign(std::string(key), std::string(value));
    return {};
  }
  Result<std::string> get(std::string_view key) override {
    const auto found = values_.find(key);
    if (found == values_.end()) {
      return failure(FailureKind::failed, fmt::format("nobody has put {}", key));
    }
    return found->second;
  }
  Result<> barrier() override { return {}; }
  Result<> finish() override { return {}; }
  void abort(int /*exit_status*/) override {}

 private:
  std::string id_ = fmt::format("alone-{}", getpid());
  std::map<std::string, std::string, std::less<>> values_;
};

class PmiStart final : public Start {
 public:
  PmiStart(PmiConnection connection, RankId rank, std::uint32_t size, std::string space)
      : connection_(std::move(connection)), rank_(rank), size_(size), space_(std::move(space)) {}
  [[nodiscard]] RankId rank() const override { return rank_; }
  [[nodiscard]] std::uint32_t size() const override { return size_; }
  [[nodiscard]] const std::string& job_id() const override { return space_; }
  [[nodiscard]] std::string_view launcher() const override { return "PMI"; }

  Result<> put(std::string_view key, std::string_view value) override {
    const auto answer = connection_.ask(
        {"put", {{"kvsname", space_}, {"key", std::string(key)}, {"value", to_pmi_value(value)}}},
        "put_result");
    if (!answer) return tl::unexpected<Failure>(answer.error());
    return {};
  }
  Result<std::string> get(std::string_view key) override {
    const auto answer =
        connection_.ask({"get", {{"kvsname", space_}, {"key", std::string(key)}}}, "get_result");
    if (!answer) return tl::unexpected<Failure>(answer.error());
    const auto value = answer->find("value");
    auto text = value ? from_pmi_value(*value) : std::nullopt;
    if (!text) {
      return failure(FailureKind::failed,
                     fmt::format("PMI: what {} has is no value of ferry-rank's", key));
    }
    return std::move(*text);
  }
  Result<> barrier() override {
    const auto answer = connection_.ask({"barrier_in", {}}, "barrier_out");
    if (!answer) return tl::unexpected<Failure>(answer.error());
    return {};
  }
  Result<> finish() override {
    const auto answer = connection_.ask({"finalize", {}}, "finalize_ack");
    if (!answer) return tl::unexpected<Failure>(answer.error());
    return {};
  }
  void abort(int exit_status) override {
    await_taken_errors();
    static_cast<void>(connection_.tell({"abort", {{"exitcode", fmt::to_string(exit_status)}}}));
  }

 private:
  PmiConnection connection_;
  RankId rank_;
  std::uint32_t size_;
  std::string space_;
};

std::optional<int> number_in_environment(const char* name) {
  const char* const text = std::getenv(name);
  if (text == nullptr) return std::nullopt;
  int number = 0;
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), number);
  if (error != std::errc() || *end != '\0' || number < 0) return std::nullopt;
  return number;
}

}  // namespace

std::unique_ptr<Start> start_alone() { return std::make_unique<AloneStart>(); }

Result<std::unique_ptr<Start>> start_by_pmi() {
  std::optional<int> rank = number_in_environment("PMI_RANK");
  std::optional<int> size = number_in_environment("PMI_SIZE");
  std::optional<PmiConnection> connection;
  if (const std::optional<int> file = number_in_environment("PMI_FD")) {
    connection.emplace(*file);
  } else if (const char* const port = std::getenv("PMI_PORT")) {
    const std::optional<int> id = number_in_environment("PMI_ID");
    if (!id) return failure(FailureKind::failed, "PMI: PMI_PORT is there, and PMI_ID is not");
    Result<PmiConnection> connected = connect_to_pmi(port, *id, rank, size);
    if (!connected) return tl::unexpected<Failure>(connected.error());
    connection.emplace(std::move(*connected));
  } else {
    return nullptr;
  }
  const auto greeting = connection->ask({"init", {{"pmi_version", "1"}, {"pmi_subversion", "1"}}},
                                        "response_to_init");
  if (!greeting) return tl::unexpected<Failure>(greeting.error());
  const auto space = connection->ask({"get_my_kvsname", {}}, "my_kvsname");
  if (!space) return tl::unexpected<Failure>(space.error());
  const auto name = space->find("kvsname");
  if (!name || name->empty()) {
    return failure(FailureKind::failed, "PMI: the launcher gave the job no name");
  }
  if (!rank || !size || *rank >= *size) {
    return failure(FailureKind::failed,
                   "PMI: the launcher did not say which rank this is, and of how many (PMI_RANK, "
                   "PMI_SIZE)");
  }
  return std::make_unique<PmiStart>(std::move(*connection),
                                    RankId{static_cast<std::uint32_t>(*rank)},
                                    static_cast<std::uint32_t>(*size), std::string(*name));
}

}  // namespace ferry::ranks
