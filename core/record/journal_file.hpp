// The controller's write-ahead log. One line a record: its number from 1, the CRC-32 (IEEE 802.3)
// of number and text as eight hexadecimal digits, and the text:
//
//     17 5d1e9c02 vm3 detach_vf begin
//
// The number is under the checksum, so a record that was lost or doubled shows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "core/ports/journal.hpp"

namespace ferry {

/// CRC-32 as in IEEE 802.3 (polynomial 0xEDB88320, reflected).
std::uint32_t crc32(std::string_view text);

/// The line of one record, its line feed included.
std::string journal_line(std::uint64_t sequence, std::string_view record);

/// What a journal's text says.
struct JournalContents {
  std::vector<std::string> records;
  /// Length of the text up to the last good record: where a continued journal goes on.
  std::size_t good_bytes = 0;
  bool torn = false;  ///< the last record was cut off or garbled by a crash, and is left out
};

/// Reads any text. A broken last record counts as torn; one that is followed by a good record is
/// damage, and an error (a sentence with the line).
tl::expected<JournalContents, std::string> read_journal(std::string_view text);

/// The process that has a `JournalFile` on `file` now; 0: one that this process cannot name (of
/// another machine or container). None: nobody has, or there is no such file.
std::optional<int> journal_writer(const std::filesystem::path& file);
/// Blocks until no process has a `JournalFile` on `file`. False: a signal came first.
bool await_journal_writer(const std::filesystem::path& file);

/// A journal in a file, which no two processes have at once (an advisory lock of the file, which
/// ends with its process; within a process, closing the file by any other way gives it up too).
/// Records are handed to the kernel at once (they survive the controller's death); `sync` makes
/// them survive the machine's. If one of the two fails (a full disk), so does every later call: a
/// journal with a gap would be worth nothing. What was there before stays readable.
class JournalFile : public Journal {
 public:
  /// Creates the file, or goes on behind its last good record (a torn one is cut off). Throws
  /// std::runtime_error if it cannot be opened, is damaged, or another process has it.
  explicit JournalFile(const std::filesystem::path& file);
  ~JournalFile() override;
  JournalFile(const JournalFile&) = delete;
  JournalFile& operator=(const JournalFile&) = delete;

  void append(std::string_view record) override;
  void sync() override;
  /// The records that were there when it was opened.
  [[nodiscard]] const std::vector<std::string>& found() const { return found_; }

 private:
  void check_unbroken() const;
  /// Throws, now and from now on.
  void break_off(std::string_view what, int error);

  std::filesystem::path file_;
  std::vector<std::string> found_;
  int descriptor_ = -1;
  std::uint64_t next_ = 1;
  std::int64_t end_ = 0;               ///< of its last record, in bytes
  std::optional<std::string> broken_;  ///< what the call said that has failed
};

/// A journal in memory, for worlds that end with the process: the text is what the file would hold.
class MemoryJournal : public Journal {
 public:
  MemoryJournal() = default;
  /// Goes on behind the last good record of `text`. Throws std::runtime_error if it is damaged.
  explicit MemoryJournal(std::string text);
  void append(std::string_view record) override;
  void sync() override {}

  [[nodiscard]] std::string text() const;

 private:
  /// Of a mebibyte each: one text that grows would be copied again and again, and would need twice
  /// its room.
  std::vector<std::string> pieces_;
  std::uint64_t next_ = 1;
};

}  // namespace ferry
