#include "core/record/journal_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <stdexcept>

#include "core/units/check.hpp"

namespace ferry {
namespace {

constexpr std::array<std::uint32_t, 256> crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) {
      value = (value >> 1U) ^ ((value & 1U) != 0 ? 0xEDB88320U : 0U);
    }
    table[i] = value;
  }
  return table;
}

[[noreturn]] void fail(const std::filesystem::path& file, std::string_view what, int error) {
  throw std::runtime_error(fmt::format("{}: {}: {}", file.string(), what, std::strerror(error)));
}

void write_all(const std::filesystem::path& file, int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(descriptor, text.data(), text.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      fail(file, "the journal cannot be written", errno);
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
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

std::uint32_t crc32(std::string_view text) {
  static constexpr std::array<std::uint32_t, 256> table = crc_table();
  std::uint32_t value = 0xFFFFFFFFU;
  for (const char c : text) {
    value = (value >> 8U) ^ table[(value ^ static_cast<unsigned char>(c)) & 0xFFU];
  }
  return ~value;
}

std::string journal_line(std::uint64_t sequence, std::string_view record) {
  std::string guarded = std::to_string(sequence);
  const std::size_t digits = guarded.size();
  guarded += ' ';
  guarded += record;
  std::uint32_t sum = crc32(guarded);
  std::array<char, 9> word;
  word[8] = ' ';
  for (std::size_t i = 8; i-- > 0; sum >>= 4U) word[i] = "0123456789abcdef"[sum & 0xFU];
  guarded.insert(digits + 1, word.data(), word.size());
  guarded += '\n';
  return guarded;
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

JournalFile::JournalFile(const std::filesystem::path& file) : file_(file) {
  descriptor_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail(file_, "the journal cannot be opened", errno);
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
  const auto contents = read_journal(text);
  if (!contents) {
    ::close(descriptor_);
    throw std::runtime_error(fmt::format("{}: {}", file_.string(), contents.error()));
  }
  next_ = contents->records.size() + 1;
  const auto end = static_cast<off_t>(contents->good_bytes);
  if (::ftruncate(descriptor_, end) != 0 || ::lseek(descriptor_, end, SEEK_SET) != end) {
    const int error = errno;
    ::close(descriptor_);
    fail(file_, "the journal's torn end cannot be cut off", error);
  }
}

JournalFile::~JournalFile() { ::close(descriptor_); }

void JournalFile::append(std::string_view record) {
  check(record.find('\n') == std::string_view::npos, "a journal record is one line");
  write_all(file_, descriptor_, journal_line(next_++, record));
}

void JournalFile::sync() {
  if (::fdatasync(descriptor_) != 0) fail(file_, "the journal cannot be synced", errno);
}

MemoryJournal::MemoryJournal(std::string text) : text_(std::move(text)) {
  const auto contents = read_journal(text_);
  if (!contents) throw std::runtime_error(contents.error());
  text_.resize(contents->good_bytes);
  next_ = contents->records.size() + 1;
}

void MemoryJournal::append(std::string_view record) {
  check(record.find('\n') == std::string_view::npos, "a journal record is one line");
  text_ += journal_line(next_++, record);
}

}  // namespace ferry
