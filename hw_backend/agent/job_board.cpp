#include "hw_backend/agent/job_board.hpp"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>
#include <new>
#include <utility>

#include "core/units/check.hpp"

namespace ferry::agent {
namespace {

constexpr std::uint64_t board_magic = 0x6472'616f'6279'7266;    // "frybo..."
constexpr std::uint64_t answers_magic = 0x7277'736e'6179'7266;  // "fryan..."
constexpr std::uint32_t flag_whole_job = 1;
constexpr std::uint32_t flag_migration_thread = 2;
constexpr std::uint32_t flag_reconnect_eagerly = 4;
constexpr std::uint32_t most_ranks = 1U << 20U;

struct AnswersHeader {
  std::uint64_t magic = 0;
  std::uint32_t version = 0;
  std::uint32_t ranks_here = 0;
  alignas(64) std::byte end[64];
};

std::size_t numbers_at() { return sizeof(BoardHeader); }
std::size_t ring_at(std::uint64_t job_ranks, std::uint64_t ranks_here) {
  const std::size_t end = numbers_at() + 4 * static_cast<std::size_t>(job_ranks + ranks_here);
  return (end + 63) / 64 * 64;
}
std::size_t answers_size(std::uint64_t ranks_here) {
  return sizeof(AnswersHeader) + static_cast<std::size_t>(ranks_here) * sizeof(RankSlot);
}

tl::unexpected<Failure> unusable(const std::filesystem::path& file, const std::string& why) {
  return failure(FailureKind::failed, file.string() + " " + why);
}

tl::unexpected<Failure> system_failure(const std::filesystem::path& file, const char* what) {
  return unusable(file, std::string("cannot be ") + what + ": " + std::strerror(errno));
}

/// Whether the file is a board with all that its header says.
bool is_board(const SharedFile& file) {
  if (file.size() < sizeof(BoardHeader)) return false;
  const auto& header = *reinterpret_cast<const BoardHeader*>(file.data());
  return header.magic == board_magic && header.version == board_layout_version &&
         header.job_ranks <= most_ranks && header.ranks_here <= header.job_ranks &&
         file.size() == ring_at(header.job_ranks, header.ranks_here) + post_bytes;
}

bool are_answers(const SharedFile& file, std::uint32_t ranks_here) {
  if (file.size() != answers_size(ranks_here)) return false;
  const auto& header = *reinterpret_cast<const AnswersHeader*>(file.data());
  return header.magic == answers_magic && header.version == board_layout_version &&
         header.ranks_here == ranks_here;
}

const std::uint32_t* numbers_of(const SharedFile& board) {
  return reinterpret_cast<const std::uint32_t*>(board.data() + numbers_at());
}

std::byte* ring_of(const SharedFile& board) { return board.data() + board.size() - post_bytes; }

/// What lies in the ring; nothing if that makes no sense.
Bytes8 read_post(const SharedFile& board, std::uint64_t number) {
  const auto& header = *reinterpret_cast<const BoardHeader*>(board.data());
  const BoardHeader::Entry entry = header.entries[number % most_kept_posts];
  const std::size_t at = entry.begin % post_bytes;
  if (entry.size > post_bytes - at) return {};
  const std::byte* const begin = ring_of(board) + at;
  return {begin, begin + entry.size};
}

std::string text_of(std::span<const char> characters) {
  return {characters.data(), strnlen(characters.data(), characters.size() - 1)};
}

void set_text(std::span<char> into, const std::string& text) {
  const std::size_t size = std::min(text.size(), into.size() - 1);
  std::copy_n(text.begin(), size, into.begin());
  into[size] = '\0';
}

long futex(const std::atomic<std::uint32_t>& word, int operation, std::uint32_t value,
           const timespec* time) {
  return syscall(SYS_futex, &word, operation, value, time, nullptr, 0);
}

}  // namespace

// --- Files. ---

Result<SharedFile> SharedFile::create(const std::filesystem::path& file, std::size_t size) {
  const int opened = ::open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (opened < 0) return system_failure(file, "made");
  void* mapped = MAP_FAILED;
  // Allocated now: a page that is missing later would kill who touches it.
  if (posix_fallocate(opened, 0, static_cast<off_t>(size)) == 0) {
    mapped = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, opened, 0);
  }
  ::close(opened);
  if (mapped == MAP_FAILED) return system_failure(file, "given its size");
  return SharedFile(static_cast<std::byte*>(mapped), size);
}

Result<SharedFile> SharedFile::open(const std::filesystem::path& file, bool writable) {
  const int opened = ::open(file.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW);
  if (opened < 0) return system_failure(file, "opened");
  struct stat status {};
  if (fstat(opened, &status) != 0 || status.st_size <= 0) {
    ::close(opened);
    return unusable(file, "is empty");
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  void* const mapped =
      mmap(nullptr, size, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, opened, 0);
  ::close(opened);
  if (mapped == MAP_FAILED) return system_failure(file, "mapped");
  return SharedFile(static_cast<std::byte*>(mapped), size);
}

SharedFile::SharedFile(SharedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

SharedFile& SharedFile::operator=(SharedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

SharedFile::~SharedFile() {
  if (data_ != nullptr) munmap(data_, size_);
}

// --- The agent's side. ---

JobBoard::JobBoard(SharedFile board, SharedFile answers)
    : board_(std::move(board)), answers_(std::move(answers)) {
  const std::uint32_t* const here = numbers_of(board_) + header().job_ranks;
  ranks_.assign(here, here + header().ranks_here);
}

Result<std::unique_ptr<JobBoard>> JobBoard::create(const std::filesystem::path& folder,
                                                   const StartJob& job) {
  const std::size_t job_ranks = job.vms.size();
  const std::size_t here = job.ranks.size();
  if (job_ranks > most_ranks || here > job_ranks) {
    return failure(FailureKind::refused, "a job has at most 1048576 ranks");
  }
  Result<SharedFile> board =
      SharedFile::create(folder / "board", ring_at(job_ranks, here) + post_bytes);
  if (!board) return tl::unexpected(board.error());
  Result<SharedFile> answers = SharedFile::create(folder / "answers", answers_size(here));
  if (!answers) return tl::unexpected(answers.error());
  const std::filesystem::path bell = folder / "bell";
  if (mkfifo(bell.c_str(), 0600) != 0) return system_failure(bell, "made");

  // Zero bytes are these structs' first state; what is more than that follows.
  auto& header = *new (board->data()) BoardHeader;
  header.version = board_layout_version;
  header.job_ranks = static_cast<std::uint32_t>(job_ranks);
  header.ranks_here = static_cast<std::uint32_t>(here);
  header.flags = (job.whole_job ? flag_whole_job : 0U) |
                 (job.migration_thread ? flag_migration_thread : 0U) |
                 (job.reconnect_eagerly ? flag_reconnect_eagerly : 0U);
  header.close_channel_nanoseconds = job.close_channel_nanoseconds;
  set_text(header.name, job.name);
  auto* const numbers = reinterpret_cast<std::uint32_t*>(board->data() + numbers_at());
  std::copy(job.vms.begin(), job.vms.end(), numbers);
  std::copy(job.ranks.begin(), job.ranks.end(), numbers + job_ranks);
  header.magic = board_magic;

  auto& said = *new (answers->data()) AnswersHeader;
  said.version = board_layout_version;
  said.ranks_here = header.ranks_here;
  for (std::size_t i = 0; i < here; ++i) {
    new (answers->data() + sizeof(AnswersHeader) + i * sizeof(RankSlot)) RankSlot;
  }
  said.magic = answers_magic;
  return std::unique_ptr<JobBoard>(new JobBoard(std::move(*board), std::move(*answers)));
}

Result<std::unique_ptr<JobBoard>> JobBoard::open(const std::filesystem::path& folder) {
  Result<SharedFile> board = SharedFile::open(folder / "board", true);
  if (!board) return tl::unexpected(board.error());
  if (!is_board(*board)) return unusable(folder / "board", "is no board of this release");
  Result<SharedFile> answers = SharedFile::open(folder / "answers", true);
  if (!answers) return tl::unexpected(answers.error());
  const auto& header = *reinterpret_cast<const BoardHeader*>(board->data());
  if (!are_answers(*answers, header.ranks_here)) {
    return unusable(folder / "answers", "does not belong to the board beside it");
  }
  return std::unique_ptr<JobBoard>(new JobBoard(std::move(*board), std::move(*answers)));
}

RankSlot& JobBoard::slot(std::size_t index) const {
  return *reinterpret_cast<RankSlot*>(answers_.data() + sizeof(AnswersHeader) +
                                      index * sizeof(RankSlot));
}

bool JobBoard::append(std::span<const std::byte> post, const std::vector<bool>& lives) {
  BoardHeader& head = header();
  const std::uint64_t number = head.posted.load();
  if (post.size() > post_bytes / 4) return false;
  std::uint64_t begin = head.ring_end.load();
  if (begin % post_bytes + post.size() > post_bytes) begin += post_bytes - begin % post_bytes;
  const std::uint64_t end = begin + post.size();

  std::uint64_t kept = head.kept_from.load();
  const auto is_in_the_way = [&](std::uint64_t old) {
    return old + most_kept_posts <= number ||
           head.entries[old % most_kept_posts].begin + post_bytes < end;
  };
  while (kept < number && is_in_the_way(kept)) ++kept;
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    if (lives[i] && slot(i).seen.load() < kept) return false;
  }
  head.kept_from.store(kept);
  std::copy(post.begin(), post.end(), ring_of(board_) + begin % post_bytes);
  head.entries[number % most_kept_posts] = {begin, post.size()};
  head.ring_end.store(end);
  head.posted.store(number + 1, std::memory_order_release);
  ring_bell();
  return true;
}

Bytes8 JobBoard::post(std::uint64_t number) const { return read_post(board_, number); }

void JobBoard::ring_bell() {
  header().bell.fetch_add(1);
  futex(header().bell, FUTEX_WAKE, INT_MAX, nullptr);
}

void JobBoard::revoke(std::uint64_t epoch) {
  for (const auto& revoked : header().revoked) {
    if (revoked.load() == epoch) return;
  }
  const std::uint64_t turn = header().revocations.fetch_add(1);
  header().revoked[turn % most_revoked].store(epoch);  // in one order with what ranks say
}

void JobBoard::condemn(const std::string& why) {
  if (header().condemned.load() != 0) return;
  set_text(header().verdict, why);
  header().condemned.store(1);
  ring_bell();
}

void JobBoard::announce_cards() {
  header().has_cards.store(1);
  ring_bell();
}

Closing JobBoard::closing_of(std::size_t index, std::uint64_t epoch,
                             std::uint32_t* connections) const {
  for (const RankSlot::Epoch& each : slot(index).epochs) {
    if (each.number.load() != epoch) continue;
    const auto closing = static_cast<Closing>(each.closing.load());
    *connections = each.closed.load();
    return closing;
  }
  return Closing::no;
}

void JobBoard::dismiss() {
  header().dismissed.store(1);
  ring_bell();
}

std::optional<RankState> JobBoard::look(std::size_t index) const {
  const RankSlot& from = slot(index);
  for (int tries = 0; tries < 100; ++tries) {
    const std::uint32_t before = from.sequence.load(std::memory_order_acquire);
    if (before % 2 != 0) continue;
    RankState state;
    state.process = from.process.load();
    state.gone = from.gone.load() != 0;
    state.left = from.left.load() != 0;
    state.stopped = from.stopped.load() != 0;
    state.seen = from.seen.load();
    state.computes_until = from.computes_until.load();
    state.computations = from.computations.load();
    for (const RankSlot::Epoch& epoch : from.epochs) {
      const std::uint64_t number = epoch.number.load();
      if (number == 0) continue;
      const std::uint32_t flags = epoch.flags.load();
      EpochState& of = state.epochs.emplace_back();
      of.epoch = number;
      of.changes = epoch.changes.load();
      of.concerned = (flags & epoch_flags::concerned) != 0;
      of.drained = (flags & epoch_flags::drained) != 0;
      of.noted_end = (flags & epoch_flags::noted_end) != 0;
      of.blocked = (flags & epoch_flags::blocked) != 0;
      const auto closing = static_cast<Closing>(epoch.closing.load());
      of.has_closed = closing == Closing::closed;
      of.refused = closing == Closing::refused;
      of.closed = epoch.closed.load();
    }
    const std::uint64_t replied = from.replied.load();
    const std::uint64_t kept = std::min<std::uint64_t>(replied, most_replies);
    for (std::uint64_t i = replied - kept; i < replied; ++i) {
      const RankSlot::Reply& reply = from.replies[i % most_replies];
      const std::uint64_t communicator = reply.communicator.load();
      const std::uint64_t place = reply.place.load();
      const std::uint64_t number = reply.number.load();
      state.replies.push_back({static_cast<std::uint32_t>(communicator >> 32U),
                               static_cast<std::uint32_t>(communicator),
                               static_cast<std::uint32_t>(place >> 32U),
                               static_cast<std::uint32_t>(place), reply.generation.load(),
                               number >> 1U, (number & 1U) != 0});
    }
    const bool has_verdict = from.has_verdict.load() != 0;
    state.has_card = from.has_card.load() != 0;
    std::atomic_thread_fence(std::memory_order_acquire);
    if (from.sequence.load(std::memory_order_relaxed) != before) continue;
    if (has_verdict) state.verdict = text_of(from.verdict);
    if (state.has_card) {
      const std::size_t size = std::min<std::size_t>(from.card_size, largest_card);
      state.card.assign(from.card.begin(), from.card.begin() + static_cast<std::ptrdiff_t>(size));
    }
    return state;
  }
  return std::nullopt;
}

// --- A rank's side. ---

RankAnswers::RankAnswers(SharedFile board, SharedFile answers, int bell, std::size_t index)
    : board_(std::move(board)),
      answers_(std::move(answers)),
      bell_(bell),
      slot_(reinterpret_cast<RankSlot*>(answers_.data() + sizeof(AnswersHeader) +
                                        index * sizeof(RankSlot))) {}

Result<std::unique_ptr<RankAnswers>> RankAnswers::open(const std::filesystem::path& folder,
                                                       std::uint32_t rank) {
  Result<SharedFile> board = SharedFile::open(folder / "board", false);
  if (!board) return tl::unexpected(board.error());
  if (!is_board(*board)) return unusable(folder / "board", "is no board of this release");
  const auto& header = *reinterpret_cast<const BoardHeader*>(board->data());
  const std::uint32_t* const here = numbers_of(*board) + header.job_ranks;
  const std::uint32_t* const found = std::find(here, here + header.ranks_here, rank);
  if (found == here + header.ranks_here) {
    return unusable(folder / "board", "knows no rank " + std::to_string(rank) + " of this VM");
  }
  Result<SharedFile> answers = SharedFile::open(folder / "answers", true);
  if (!answers) return tl::unexpected(answers.error());
  if (!are_answers(*answers, header.ranks_here)) {
    return unusable(folder / "answers", "does not belong to the board beside it");
  }
  const std::filesystem::path bell = folder / "bell";
  // For both ways: then it breaks for nobody when the agent is away.
  const int opened = ::open(bell.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (opened < 0) return system_failure(bell, "opened");
  std::unique_ptr<RankAnswers> made(new RankAnswers(std::move(*board), std::move(*answers), opened,
                                                    static_cast<std::size_t>(found - here)));
  {
    const Change change(*made);
    made->slot().process.store(static_cast<std::uint32_t>(getpid()));
  }
  return made;
}

RankAnswers::~RankAnswers() { ::close(bell_); }

StartJob RankAnswers::description() const {
  StartJob job;
  job.name = text_of(header().name);
  const std::uint32_t* const numbers = numbers_of(board_);
  job.vms.assign(numbers, numbers + header().job_ranks);
  job.ranks.assign(numbers + header().job_ranks,
                   numbers + header().job_ranks + header().ranks_here);
  job.whole_job = (header().flags & flag_whole_job) != 0;
  job.migration_thread = (header().flags & flag_migration_thread) != 0;
  job.reconnect_eagerly = (header().flags & flag_reconnect_eagerly) != 0;
  job.close_channel_nanoseconds = header().close_channel_nanoseconds;
  return job;
}

Bytes8 RankAnswers::post(std::uint64_t number) const { return read_post(board_, number); }

bool RankAnswers::is_revoked(std::uint64_t epoch) const {
  for (const auto& revoked : header().revoked) {
    if (revoked.load() == epoch) return true;
  }
  return false;
}

std::optional<std::string> RankAnswers::verdict() const {
  if (header().condemned.load() == 0) return std::nullopt;
  return text_of(header().verdict);
}

std::uint32_t RankAnswers::await_bell(std::uint32_t seen, Duration limit) const {
  timespec time{};
  time.tv_sec = static_cast<time_t>(limit.count_nanoseconds() / 1'000'000'000);
  time.tv_nsec = static_cast<long>(limit.count_nanoseconds() % 1'000'000'000);
  futex(header().bell, FUTEX_WAIT, seen, &time);
  return header().bell.load();
}

void RankAnswers::wake_waiters() const { futex(header().bell, FUTEX_WAKE, INT_MAX, nullptr); }

void RankAnswers::ring_agent() const {
  const char one = 1;
  // A full pipe wakes the agent as well.
  [[maybe_unused]] const ssize_t written = write(bell_, &one, 1);
}

RankAnswers::Change::Change(RankAnswers& answers) : answers_(answers) {
  answers_.slot_->sequence.fetch_add(1);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

RankAnswers::Change::~Change() {
  answers_.slot_->sequence.fetch_add(1);
  answers_.ring_agent();
}

RankSlot::Epoch* RankAnswers::find(std::uint64_t epoch) const {
  for (RankSlot::Epoch& each : slot_->epochs) {
    if (each.number.load() == epoch) return &each;
  }
  return nullptr;
}

RankSlot::Epoch* RankAnswers::place_of(std::uint64_t epoch) {
  if (RankSlot::Epoch* const found = find(epoch)) return found;
  // A free place, or that of the oldest epoch whose end was noted.
  RankSlot::Epoch* chosen = nullptr;
  for (RankSlot::Epoch& each : slot_->epochs) {
    const std::uint64_t number = each.number.load();
    const bool over = number == 0 || (each.flags.load() & epoch_flags::noted_end) != 0;
    if (over && (chosen == nullptr || number < chosen->number.load())) chosen = &each;
  }
  if (chosen == nullptr) return nullptr;
  chosen->changes.store(0);
  chosen->closed.store(0);
  chosen->flags.store(0);
  chosen->closing.store(static_cast<std::uint32_t>(Closing::no));
  chosen->number.store(epoch);
  return chosen;
}

void RankAnswers::condemn(const std::string& why) {
  if (slot_->has_verdict.load() != 0) return;
  const Change change(*this);
  set_text(slot_->verdict, why);
  slot_->has_verdict.store(1);
}

bool RankAnswers::publish(std::span<const std::byte> card) {
  if (card.size() > largest_card) return false;
  const Change change(*this);
  std::copy(card.begin(), card.end(), slot_->card.begin());
  slot_->card_size = static_cast<std::uint32_t>(card.size());
  slot_->has_card.store(1);
  return true;
}

}  // namespace ferry::agent
