#include "core/record/journal_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <stdexcept>

#include "core/units/check.hpp"

namespace ferry {
namespace {

/// Table k: the effect of a byte that is followed by k bytes of zero (slicing by eight: Kounavis
/// and Berry, "A systematic approach to building high performance software-based CRC generators",
/// 2005).
using CrcTables = std::array<std::array<std::uint32_t, 256>, 8>;

constexpr CrcTables make_crc_tables() {
  CrcTables tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) {
      value = (value >> 1U) ^ ((value & 1U) != 0 ? 0xEDB88320U : 0U);
    }
    tables[0][i] = value;
  }
  for (std::size_t k = 1; k < tables.size(); ++k) {
    for (std::size_t i = 0; i < 256; ++i) {
      const std::uint32_t before = tables[k - 1][i];
      tables[k][i] = (before >> 8U) ^ tables[0][before & 0xFFU];
    }
  }
  return tables;
}

/// Goes on with the sum of what came before `text`; begins and ends with all bits set, inverted.
std::uint32_t crc_goes_on(std::uint32_t value, std::string_view text) {
  static constexpr CrcTables tables = make_crc_tables();
  const auto byte = [&text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  while (text.size() >= 8) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      sum ^= tables[7 - i][((value >> (8U * i)) & 0xFFU) ^ byte(i)] ^ tables[3 - i][byte(4 + i)];
    }
    value = sum;
    text.remove_prefix(8);
  }
  for (std::size_t i = 0; i < text.size(); ++i) {
    value = (value >> 8U) ^ tables[0][(value ^ byte(i)) & 0xFFU];
  }
  return value;
}

void append_line(std::string& text, std::uint64_t sequence, std::string_view record) {
  std::array<char, 24> number;
  char* end = std::to_chars(number.data(), number.data() + 20, sequence).ptr;
  *end++ = ' ';
  const std::string_view head(number.data(), static_cast<std::size_t>(end - number.data()));
  std::uint32_t sum = ~crc_goes_on(crc_goes_on(0xFFFFFFFFU, head), record);
  std::array<char, 9> word;
  word[8] = ' ';
  for (std::size_t i = 8; i-- > 0; sum >>= 4U) word[i] = "0123456789abcdef"[sum & 0xFU];
  text += head;
  text.append(word.data(), word.size());
  text += record;
  text += '\n';
}

[[noreturn]] void fail(const std::filesystem::path& file, std::string_view what, int error) {
  throw std::runtime_error(fmt::format("{}: {}: {}", file.string(), what, std::strerror(error)));
}

struct flock whole_file(int type) {
  struct flock lock {};
  lock.l_type = static_cast<short>(type);
  lock.l_whence = SEEK_SET;
  return lock;
}

/// False: `errno` says why, and part of it may have been written.
bool write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

struct NumberedRecord {
  std::uint64_t sequence = 0;
  std::string_view record;
};

/// What one line (without line feed) holds, if its checksum is right.
std::optional<NumberedRecord> parse_line(std::string_view line) {
  NumberedRecord parsed;
  const auto [end, error] =
      std::from_chars(line.data(), line.data() + line.size(), parsed.sequence);
  const auto digits = static_cast<std::size_t>(end - line.data());
  if (error != std::errc{} || line.size() < digits + 10) return std::nullopt;
  parsed.record = line.substr(digits + 10);
  const std::string expected = journal_line(parsed.sequence, parsed.record);
  if (std::string_view(expected).substr(0, expected.size() - 1) != line) return std::nullopt;
  return parsed;
}

}  // namespace

std::uint32_t crc32(std::string_view text) { return ~crc_goes_on(0xFFFFFFFFU, text); }

std::string journal_line(std::uint64_t sequence, std::string_view record) {
  std::string line;
  line.reserve(record.size() + 32);
  append_line(line, sequence, record);
  return line;
}

tl::expected<JournalContents, std::string> read_journal(std::string_view text) {
  JournalContents contents;
  std::size_t position = 0;
  std::size_t line = 0;
  std::size_t broken_line = 0;
  while (position < text.size()) {
    ++line;
    const std::size_t end = text.find('\n', position);
    const bool whole = end != std::string_view::npos;
    const auto parsed = whole ? parse_line(text.substr(position, end - position)) : std::nullopt;
    position = whole ? end + 1 : text.size();
    if (!parsed) {
      // A crash garbles the end of a file, perhaps several lines of it.
      if (!contents.torn) broken_line = line;
      contents.torn = true;
      continue;
    }
    if (contents.torn || parsed->sequence != contents.records.size() + 1) {
      return tl::unexpected(
          fmt::format("line {}: record {} is damaged or missing, but later ones are there",
                      contents.torn ? broken_line : line, contents.records.size() + 1));
    }
    contents.records.emplace_back(parsed->record);
    contents.good_bytes = position;
  }
  return contents;
}

std::optional<int> journal_writer(const std::filesystem::path& file) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return std::nullopt;
  struct flock lock = whole_file(F_RDLCK);
  const bool asked = ::fcntl(descriptor, F_GETLK, &lock) == 0;
  ::close(descriptor);
  if (!asked || lock.l_type == F_UNLCK) return std::nullopt;
  return std::max(0, static_cast<int>(lock.l_pid));
}

bool await_journal_writer(const std::filesystem::path& file) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return true;
  struct flock lock = whole_file(F_RDLCK);
  const bool free = ::fcntl(descriptor, F_SETLKW, &lock) == 0;
  ::close(descriptor);
  return free;
}

JournalFile::JournalFile(const std::filesystem::path& file) : file_(file) {
  descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail(file_, "the journal cannot be opened", errno);
  struct flock lock = whole_file(F_WRLCK);
  if (::fcntl(descriptor_, F_SETLK, &lock) != 0) {
    const int error = errno;
    struct flock holder = whole_file(F_WRLCK);
    const bool known = ::fcntl(descriptor_, F_GETLK, &holder) == 0 && holder.l_pid > 0;
    ::close(descriptor_);
    if (error != EAGAIN && error != EACCES) fail(file_, "the journal cannot be locked", error);
    throw std::runtime_error(fmt::format("{}: another controller{} is at work with it",
                                         file_.string(),
                                         known ? fmt::format(" (process {})", holder.l_pid) : ""));
  }
  std::string text;
  std::array<char, 65536> block{};
  for (;;) {
    const ssize_t got = ::read(descriptor_, block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int error = errno;
      ::close(descriptor_);
      fail(file_, "the journal cannot be read", error);
    }
    if (got == 0) break;
    text.append(block.data(), static_cast<std::size_t>(got));
  }
  auto contents = read_journal(text);
  if (!contents) {
    ::close(descriptor_);
    throw std::runtime_error(fmt::format("{}: {}", file_.string(), contents.error()));
  }
  found_ = std::move(contents->records);
  next_ = found_.size() + 1;
  const auto end = static_cast<off_t>(contents->good_bytes);
  if (::ftruncate(descriptor_, end) != 0 || ::lseek(descriptor_, end, SEEK_SET) != end) {
    const int error = errno;
    ::close(descriptor_);
    fail(file_, "the journal's torn end cannot be cut off", error);
  }
  end_ = end;
}

JournalFile::~JournalFile() { ::close(descriptor_); }

void JournalFile::check_unbroken() const {
  if (broken_) throw JournalError(*broken_);
}

void JournalFile::break_off(std::string_view what, int error) {
  // The file may have another name than when it was opened.
  std::error_code unknown;
  const std::filesystem::path now =
      std::filesystem::read_symlink(fmt::format("/proc/self/fd/{}", descriptor_), unknown);
  broken_ = fmt::format("{}: the journal cannot be {}: {}", (unknown ? file_ : now).string(), what,
                        std::strerror(error));
  check_unbroken();
}

void JournalFile::append(std::string_view record) {
  check(record.find('\n') == std::string_view::npos, "a journal record is one line");
  check_unbroken();
  const std::string line = journal_line(next_, record);
  if (!write_all(descriptor_, line)) {
    const int error = errno;
    // A reader leaves a torn last record out as well.
    (void)!::ftruncate(descriptor_, end_);
    break_off("written", error);
  }
  ++next_;
  end_ += static_cast<std::int64_t>(line.size());
}

void JournalFile::sync() {
  check_unbroken();
  if (::fdatasync(descriptor_) != 0) break_off("synced", errno);
}

MemoryJournal::MemoryJournal(std::string text) {
  const auto contents = read_journal(text);
  if (!contents) throw std::runtime_error(contents.error());
  text.resize(contents->good_bytes);
  pieces_.push_back(std::move(text));
  next_ = contents->records.size() + 1;
}

void MemoryJournal::append(std::string_view record) {
  check(record.find('\n') == std::string_view::npos, "a journal record is one line");
  constexpr std::size_t piece = std::size_t{1} << 20U;
  constexpr std::size_t others = 32;  // number, checksum and their separators
  if (pieces_.empty() ||
      pieces_.back().capacity() - pieces_.back().size() < record.size() + others) {
    pieces_.emplace_back().reserve(std::max(piece, record.size() + others));
  }
  append_line(pieces_.back(), next_++, record);
}

std::string MemoryJournal::text() const {
  std::string text;
  std::size_t size = 0;
  for (const std::string& part : pieces_) size += part.size();
  text.reserve(size);
  for (const std::string& part : pieces_) text += part;
  return text;
}

}  // namespace ferry
