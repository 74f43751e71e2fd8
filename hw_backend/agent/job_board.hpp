// What an agent and the rank processes of its VM share of one job, in the job's folder: the file
// `board`, which the agent writes and ranks only read, the file `answers`, where each rank has a
// slot of its own, and the pipe `bell`, by which ranks wake the agent. All of it outlives both.
//
// Nobody waits for anybody here. A rank that looks whether there is something new loads one word
// (`BoardHeader::posted`). Posts lie in a ring of bytes; the agent takes up a new one only if every
// rank that lives has read what it would write over. An answer is a state, not an event: whoever
// comes late, or anew, reads what holds now. A slot is sequence-locked; its reader gives up rather
// than wait for a rank that does not run.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/ports/result.hpp"
#include "core/units/units.hpp"
#include "hw_backend/agent/messages.hpp"

namespace ferry::agent {

inline constexpr std::uint32_t board_layout_version = 1;
inline constexpr std::size_t most_kept_posts = 1024;
inline constexpr std::size_t post_bytes = std::size_t{4} << 20U;
inline constexpr std::size_t most_epochs = 16;     ///< open at a time, in a slot
inline constexpr std::size_t most_replies = 1024;  ///< communicators of a rank
inline constexpr std::size_t most_revoked = 64;
inline constexpr std::size_t longest_verdict = 1000;
inline constexpr std::size_t largest_card = 4096;

static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

struct BoardHeader {
  std::uint64_t magic = 0;
  std::uint32_t version = 0;
  std::uint32_t job_ranks = 0;
  std::uint32_t ranks_here = 0;
  std::uint32_t flags = 0;  ///< of `BoardOptions`
  std::int64_t close_channel_nanoseconds = 0;
  std::array<char, 128> name = {};

  alignas(64) std::atomic<std::uint64_t> posted;  ///< what ranks look at
  alignas(64) std::atomic<std::uint32_t> bell;    ///< raised after every change; ranks sleep on it
  std::atomic<std::uint32_t> condemned;
  std::atomic<std::uint32_t> dismissed;
  std::atomic<std::uint32_t> has_cards;  ///< the file `cards` is complete
  std::atomic<std::uint64_t> kept_from;  ///< posts before it were written over
  std::atomic<std::uint64_t> ring_end;   ///< bytes ever put into the ring
  std::array<std::atomic<std::uint64_t>, most_revoked> revoked;  ///< epochs, in turn
  std::atomic<std::uint64_t> revocations;
  std::array<char, longest_verdict + 1> verdict = {};

  struct Entry {
    std::uint64_t begin = 0;  ///< in bytes ever put
    std::uint64_t size = 0;
  };
  std::array<Entry, most_kept_posts> entries;
  // Then `vms` by rank of the job, the numbers of the ranks here, and the ring.
};

struct RankSlot {
  std::atomic<std::uint32_t> sequence;  ///< odd: it is being written
  std::atomic<std::uint32_t> process;
  std::atomic<std::uint64_t> seen;
  std::atomic<std::uint32_t> gone, left, stopped, has_card, has_verdict;
  std::atomic<std::int64_t> computes_until;
  std::atomic<std::uint64_t> computations;

  struct Epoch {
    std::atomic<std::uint64_t> number;  ///< 0: free
    std::atomic<std::uint32_t> changes, closed, flags;
    std::atomic<std::uint32_t> closing;  ///< `Closing`; not under the sequence lock
  };
  std::array<Epoch, most_epochs> epochs;
  std::atomic<std::uint64_t> replied;  ///< replies ever put, the latest kept
  struct Reply {
    std::atomic<std::uint64_t> communicator, place, generation, number;
  };
  std::array<Reply, most_replies> replies;
  std::array<char, longest_verdict + 1> verdict = {};  ///< written once, before `has_verdict`
  std::uint32_t card_size = 0;                         ///< and these before `has_card`
  std::array<std::byte, largest_card> card = {};
};

/// How far a rank is with the closing of an epoch. It says `closing`, and then looks whether that
/// was revoked; the agent revokes, and then looks whether the rank says `closing` (all of it in one
/// order for both): so the rank refrains, or the agent waits for what it says next.
enum class Closing : std::uint32_t { no, closing, closed, refused };

/// A mapped file. Unmapped at the end.
class SharedFile {
 public:
  /// Of a new file of this size, all zero.
  static Result<SharedFile> create(const std::filesystem::path& file, std::size_t size);
  static Result<SharedFile> open(const std::filesystem::path& file, bool writable);
  SharedFile(SharedFile&& other) noexcept;
  SharedFile& operator=(SharedFile&& other) noexcept;
  ~SharedFile();
  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  SharedFile(std::byte* data, std::size_t size) : data_(data), size_(size) {}
  std::byte* data_;
  std::size_t size_;
};

/// The agent's side. Throws nothing; what cannot be opened says why.
class JobBoard {
 public:
  /// Makes both files and the bell in `folder`.
  static Result<std::unique_ptr<JobBoard>> create(const std::filesystem::path& folder,
                                                  const StartJob& job);
  /// Those that an earlier agent made.
  static Result<std::unique_ptr<JobBoard>> open(const std::filesystem::path& folder);

  [[nodiscard]] const std::vector<std::uint32_t>& ranks() const { return ranks_; }
  [[nodiscard]] std::uint32_t job_ranks() const { return header().job_ranks; }
  [[nodiscard]] std::uint64_t posted() const { return header().posted.load(); }
  [[nodiscard]] std::uint64_t kept_from() const { return header().kept_from.load(); }
  /// Takes up post number `posted()`. False: not yet, as ranks that live have not read what it
  /// would write over, or never, as it is too large.
  bool append(std::span<const std::byte> post, const std::vector<bool>& lives);
  /// Post `number`, which is kept.
  [[nodiscard]] Bytes8 post(std::uint64_t number) const;
  void revoke(std::uint64_t epoch);
  /// The first word counts.
  void condemn(const std::string& why);
  void announce_cards();
  void dismiss();
  [[nodiscard]] bool is_dismissed() const { return header().dismissed.load() != 0; }

  /// How far a rank is with the closing of an epoch; after `revoke`, anything but `closing` stays.
  [[nodiscard]] Closing closing_of(std::size_t index, std::uint64_t epoch,
                                   std::uint32_t* connections) const;
  /// What the rank's slot says now, `index` in `ranks()`. None: it is being written.
  [[nodiscard]] std::optional<RankState> look(std::size_t index) const;

 private:
  JobBoard(SharedFile board, SharedFile answers);
  [[nodiscard]] BoardHeader& header() const {
    return *reinterpret_cast<BoardHeader*>(board_.data());
  }
  [[nodiscard]] RankSlot& slot(std::size_t index) const;
  void ring_bell();

  SharedFile board_;
  SharedFile answers_;
  std::vector<std::uint32_t> ranks_;
};

/// A rank's side: reads the board, writes its slot. Calls that write are for one thread at a time.
class RankAnswers {
 public:
  static Result<std::unique_ptr<RankAnswers>> open(const std::filesystem::path& folder,
                                                   std::uint32_t rank);
  ~RankAnswers();
  RankAnswers(const RankAnswers&) = delete;
  RankAnswers& operator=(const RankAnswers&) = delete;

  /// What `StartJob` said of the board; its keys and arguments are empty.
  [[nodiscard]] StartJob description() const;
  [[nodiscard]] const std::atomic<std::uint64_t>& posted() const { return header().posted; }
  /// Post `number`, which this rank has not said to have seen; a copy.
  [[nodiscard]] Bytes8 post(std::uint64_t number) const;
  [[nodiscard]] bool is_revoked(std::uint64_t epoch) const;
  [[nodiscard]] bool is_dismissed() const { return header().dismissed.load() != 0; }
  [[nodiscard]] bool has_cards() const { return header().has_cards.load() != 0; }
  [[nodiscard]] std::optional<std::string> verdict() const;
  /// Blocks the thread until the board's bell is not `seen`, at most `limit`; the bell.
  std::uint32_t await_bell(std::uint32_t seen, Duration limit) const;
  [[nodiscard]] std::uint32_t bell() const { return header().bell.load(); }
  /// Ends such waits in this process, soon.
  void wake_waiters() const;

  /// Scope of a change to the slot; wakes the agent at its end.
  class Change {
   public:
    explicit Change(RankAnswers& answers);
    ~Change();
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;

   private:
    RankAnswers& answers_;
  };
  [[nodiscard]] RankSlot& slot() const { return *slot_; }
  /// The slot's place of an epoch; a new one if need be. Null: more are open than there are places.
  [[nodiscard]] RankSlot::Epoch* place_of(std::uint64_t epoch);
  [[nodiscard]] RankSlot::Epoch* find(std::uint64_t epoch) const;
  /// The rank, or its job, ends for this reason.
  void condemn(const std::string& why);
  /// Once: what all ranks of the job will read. At most `largest_card`.
  bool publish(std::span<const std::byte> card);

 private:
  RankAnswers(SharedFile board, SharedFile answers, int bell, std::size_t index);
  [[nodiscard]] const BoardHeader& header() const {
    return *reinterpret_cast<const BoardHeader*>(board_.data());
  }
  void ring_agent() const;

  SharedFile board_;
  SharedFile answers_;
  int bell_;
  RankSlot* slot_;
};

/// Flags of an epoch in a slot.
namespace epoch_flags {
inline constexpr std::uint32_t concerned = 1;
inline constexpr std::uint32_t drained = 2;
inline constexpr std::uint32_t noted_end = 4;
inline constexpr std::uint32_t blocked = 8;
}  // namespace epoch_flags

}  // namespace ferry::agent
