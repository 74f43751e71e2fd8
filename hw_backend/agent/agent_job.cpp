#include "hw_backend/agent/agent_job.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "core/ports/control.hpp"
#include "hw_backend/agent/agent_board_names.hpp"
#include "hw_backend/agent/handed_trace.hpp"
#include "hw_backend/agent/rank_keeper.hpp"

namespace ferry::agent {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

constexpr std::chrono::milliseconds repeat_after{500};
/// Of what lies in one message, so that it stays below the largest.
constexpr std::size_t room = largest_control_message / 2;

bool write_whole(const fs::path& file, std::span<const std::byte> bytes) {
  const fs::path fresh = file.string() + ".new";
  std::ofstream out(fresh, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  out.close();
  std::error_code error;
  if (out) fs::rename(fresh, file, error);
  return out && !error;
}

Bytes8 read_whole(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

tl::unexpected<Failure> cannot_make(const fs::path& what, const std::string& why) {
  return failure(FailureKind::failed, what.string() + " cannot be made in the guest: " + why);
}

Bytes8 bytes_of(const RankState& state) { return encode({0, RankReport{{}, 0, 0, state}}); }

}  // namespace

AgentJob::AgentJob(fs::path folder, StartJob start, std::unique_ptr<JobBoard> board)
    : folder_(std::move(folder)), start_(std::move(start)), board_(std::move(board)) {
  bell_ = ::open((folder_ / "bell").c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  for (const std::uint32_t rank : board_->ranks()) {
    RankEntry& entry = ranks_.emplace_back();
    entry.rank = rank;
    entry.started = was_started(folder_, rank);
  }
  cards_.resize(board_->job_ranks());
  std::error_code error;
  has_cards_ = fs::exists(folder_ / "cards", error);
  if (!has_cards_) return;
  known_cards_ = board_->job_ranks();
  board_->announce_cards();  // the agent before this one may have died before it did
}

AgentJob::~AgentJob() {
  if (bell_ >= 0) ::close(bell_);
}

Result<std::unique_ptr<AgentJob>> AgentJob::create(const fs::path& jobs, const StartJob& start) {
  const Result<Account> account = find_account(start.user);
  if (!account) return tl::unexpected(account.error());
  if (start.arguments.empty() || start.arguments.front().empty()) {
    return failure(FailureKind::refused, "a job's ranks need a program");
  }
  const fs::path folder = jobs / start.key;
  const fs::path fresh = jobs / (".new-" + start.key);
  std::error_code error;
  fs::remove_all(fresh, error);
  fs::create_directories(fresh / "out", error);
  if (error) return cannot_make(fresh, error.message());
  fs::permissions(fresh, fs::perms{0755}, error);
  Result<std::unique_ptr<JobBoard>> board = JobBoard::create(fresh, start);
  if (!board) return tl::unexpected(board.error());
  if (!write_whole(fresh / "description", start.description) ||
      !write_whole(fresh / "start", encode({0, start}))) {
    return cannot_make(fresh / "start", std::strerror(errno));
  }
  if (account->changes) {
    for (const char* const name : {"answers", "bell", "out"}) {
      if (chown((fresh / name).c_str(), account->user, account->group) != 0) {
        return cannot_make(fresh / name, std::strerror(errno));
      }
    }
  }
  fs::permissions(fresh / "start", fs::perms{0600}, error);
  fs::permissions(fresh / "answers", fs::perms{0600}, error);
  fs::rename(fresh, folder, error);
  if (error) return cannot_make(folder, error.message());
  return std::unique_ptr<AgentJob>(new AgentJob(folder, start, std::move(*board)));
}

Result<std::unique_ptr<AgentJob>> AgentJob::open(const fs::path& folder) {
  Result<Envelope> read = decode(read_whole(folder / "start"));
  if (!read) return tl::unexpected(read.error());
  auto* const start = std::get_if<StartJob>(&read->message);
  if (start == nullptr)
    return failure(FailureKind::failed, "there is no job in " + folder.string());
  Result<std::unique_ptr<JobBoard>> board = JobBoard::open(folder);
  if (!board) return tl::unexpected(board.error());
  return std::unique_ptr<AgentJob>(new AgentJob(folder, std::move(*start), std::move(*board)));
}

Result<> AgentJob::start_ranks() {
  const Result<Account> account = find_account(start_.user);
  if (!account) return tl::unexpected(account.error());
  for (RankEntry& entry : ranks_) {
    if (entry.started) continue;
    RankCommand command{folder_, entry.rank, start_.arguments, start_.environment, *account};
    const auto add = [&](const char* name, const std::string& value) {
      command.environment.push_back(std::string(name) + "=" + value);
    };
    const auto has = [&](const std::string& name) {
      return std::any_of(command.environment.begin(), command.environment.end(),
                         [&](const std::string& each) { return each.rfind(name + "=", 0) == 0; });
    };
    if (!has("PATH")) add("PATH", "/usr/local/bin:/usr/bin:/bin");
    if (!has("HOME") && !account->home.empty()) add("HOME", account->home);
    add(folder_variable, folder_.string());
    add(rank_variable, std::to_string(entry.rank));
    add(ranks_variable, std::to_string(board_->job_ranks()));
    const bool watched =
        std::find(start_.watched.begin(), start_.watched.end(), entry.rank) != start_.watched.end();
    add(watched_variable, watched ? "1" : "0");
    if (Result<> started = start_rank(command); !started) {
      why_not_ = started.error().reason;
      return started;
    }
    entry.started = true;
  }
  return {};
}

JobReport AgentJob::report() const {
  JobReport report;
  report.key = start_.key;
  report.why_not = why_not_;
  report.posted = board_->posted();
  report.kept_from = board_->kept_from();
  report.cards = known_cards_;
  report.dismissed = board_->is_dismissed();
  report.ranks = board_->ranks();
  return report;
}

void AgentJob::answer_bell() {
  std::array<char, 4096> rung;
  while (read(bell_, rung.data(), rung.size()) > 0) {
  }
}

std::vector<bool> AgentJob::living() const {
  std::vector<bool> lives;
  lives.reserve(ranks_.size());
  for (const RankEntry& entry : ranks_) lives.push_back(!entry.state.ended && !entry.state.gone);
  return lives;
}

void AgentJob::take(const PostBatch& batch) {
  const std::uint64_t posted = board_->posted();
  if (batch.first > posted) return;  // some before it are missing: the report says so
  for (std::uint64_t i = posted - batch.first; i < batch.posts.size(); ++i) {
    if (!board_->append(batch.posts[i], living())) return;
  }
}

PostBatch AgentJob::posts_from(std::uint64_t first) const {
  PostBatch batch{start_.key, std::max(first, board_->kept_from()), {}};
  std::size_t size = 0;
  for (std::uint64_t number = batch.first; number < board_->posted(); ++number) {
    batch.posts.push_back(board_->post(number));
    size += batch.posts.back().size() + 4;
    if (size > room && batch.posts.size() > 1) {
      batch.posts.pop_back();
      break;
    }
  }
  return batch;
}

std::optional<Confirmed> AgentJob::confirm(const Confirm& question) const {
  Confirmed answer{start_.key, question.epoch, question.round, {}};
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    if (ranks_[i].state.ended || ranks_[i].state.gone) continue;  // its report says so
    const std::optional<RankState> state = board_->look(i);
    if (!state) return std::nullopt;
    if (state->gone) continue;
    Confirmed::Rank& rank = answer.ranks.emplace_back();
    rank.rank = ranks_[i].rank;
    for (const EpochState& epoch : state->epochs) {
      if (epoch.epoch != question.epoch) continue;
      rank.drained = epoch.drained;
      rank.changes = epoch.changes;
    }
  }
  return answer;
}

std::optional<Revoked> AgentJob::revoke(const Revoke& order) {
  board_->revoke(order.epoch);
  Revoked answer{start_.key, order.epoch, {}};
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    Revoked::Rank& rank = answer.ranks.emplace_back();
    rank.rank = ranks_[i].rank;
    const Closing closing = board_->closing_of(i, order.epoch, &rank.closed);
    if (closing == Closing::closing && !ranks_[i].state.ended) return std::nullopt;
    rank.has_closed = closing == Closing::closed;
  }
  return answer;
}

void AgentJob::take(const Cards& cards) {
  if (has_cards_ || cards.first > cards_.size()) return;
  const std::size_t count = std::min(cards.cards.size(), cards_.size() - cards.first);
  for (std::size_t i = 0; i < count; ++i) {
    std::optional<Bytes8>& card = cards_[cards.first + i];
    if (!card) ++known_cards_;
    card = cards.cards[i];
  }
  if (known_cards_ != cards_.size()) return;
  std::vector<Bytes8> all;
  for (std::optional<Bytes8>& card : cards_) all.push_back(std::move(*card));
  FieldWriter writer;
  writer(all);
  if (!write_whole(folder_ / "cards", writer.take())) {
    why_not_ = "there is no room in the guest for " + (folder_ / "cards").string();
    return;
  }
  has_cards_ = true;
  board_->announce_cards();
}

TraceReport AgentJob::take(const HandTrace& piece) const { return take_trace(folder_, piece); }

void AgentJob::kill_ranks() const {
  for (const RankEntry& entry : ranks_) {
    if (entry.started && !entry.state.ended) kill_rank(folder_, entry.rank);
  }
}

Chunk AgentJob::result(const Fetch& fetch) const {
  Chunk chunk{start_.key, fetch.rank, fetch.offset, 0, {}};
  const fs::path path = folder_ / "out" / ("result." + std::to_string(fetch.rank));
  const int file = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return chunk;
  struct stat status {};
  if (fstat(file, &status) == 0 && S_ISREG(status.st_mode)) {
    chunk.total = static_cast<std::uint64_t>(status.st_size);
    if (fetch.offset < chunk.total) {
      chunk.bytes.resize(std::min<std::uint64_t>(chunk.total - fetch.offset, room));
      const ssize_t count =
          pread(file, chunk.bytes.data(), chunk.bytes.size(), static_cast<off_t>(fetch.offset));
      chunk.bytes.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
    }
  }
  ::close(file);
  return chunk;
}

void AgentJob::acknowledge(std::uint32_t rank, std::uint64_t version) {
  for (RankEntry& entry : ranks_) {
    if (entry.rank == rank) entry.acknowledged = std::max(entry.acknowledged, version);
  }
}

void AgentJob::forget_acknowledged() {
  for (RankEntry& entry : ranks_) {
    entry.acknowledged = 0;
    ++entry.version;
    entry.told.clear();
  }
}

void AgentJob::look(const std::function<void(RankReport)>& tell) {
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    RankEntry& entry = ranks_[i];
    if (!entry.started) continue;
    if (!entry.state.ended) {
      // First whether it has ended: what it said before that is then all there.
      const std::optional<RankExit> end = look_for_end(folder_, entry.rank);
      if (std::optional<RankState> state = board_->look(i)) entry.state = std::move(*state);
      if (end) {
        entry.state.ended = true;
        entry.state.signal = end->signal;
        entry.state.exit_status = end->status;
        entry.state.end_unknown = end->unknown;
      }
    }
    Bytes8 now = bytes_of(entry.state);
    if (now != entry.told) {
      entry.told = std::move(now);
      ++entry.version;
    } else if (entry.acknowledged >= entry.version ||
               steady_clock::now() - entry.told_at < repeat_after) {
      continue;
    }
    entry.told_at = steady_clock::now();
    tell(RankReport{start_.key, entry.rank, entry.version, entry.state});
  }
}

bool AgentJob::has_unacknowledged() const {
  return std::any_of(ranks_.begin(), ranks_.end(),
                     [](const RankEntry& entry) { return entry.acknowledged < entry.version; });
}

bool AgentJob::has_running() const {
  return std::any_of(ranks_.begin(), ranks_.end(),
                     [](const RankEntry& entry) { return entry.started && !entry.state.ended; });
}

}  // namespace ferry::agent
