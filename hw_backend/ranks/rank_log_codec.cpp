#include "hw_backend/ranks/rank_log_codec.hpp"

#include <cstring>
#include <string>

#include "core/units/plausible_time.hpp"

namespace ferry::ranks {
namespace {

class Writer {
 public:
  void number(std::uint64_t value) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + sizeof(value));
    std::memcpy(bytes_.data() + at, &value, sizeof(value));
  }
  void time(Duration value) { number(static_cast<std::uint64_t>(value.count_nanoseconds())); }
  void text(const std::string& value) {
    number(value.size());
    const std::size_t at = bytes_.size();
    bytes_.resize(at + value.size());
    if (!value.empty()) std::memcpy(bytes_.data() + at, value.data(), value.size());
  }
  [[nodiscard]] std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

/// Once it has read beyond the end all that it reads is nothing.
class BytesReader {
 public:
  explicit BytesReader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::uint64_t number() {
    std::uint64_t value = 0;
    if (bytes_.size() < sizeof(value)) {
      good_ = false;
      return 0;
    }
    std::memcpy(&value, bytes_.data(), sizeof(value));
    bytes_ = bytes_.subspan(sizeof(value));
    return value;
  }
  Duration time() {
    const Duration value = Duration::nanoseconds(static_cast<std::int64_t>(number()));
    if (is_plausible(value)) return value;
    good_ = false;
    return {};
  }
  TimePoint point() { return TimePoint::at(time()); }
  std::string text() {
    const std::uint64_t size = number();
    if (size > bytes_.size()) {
      good_ = false;
      return {};
    }
    std::string value(reinterpret_cast<const char*>(bytes_.data()), size);
    bytes_ = bytes_.subspan(size);
    return value;
  }
  /// How many things of at least `size` bytes there can be.
  std::uint64_t count(std::size_t size) {
    const std::uint64_t count = number();
    if (count <= bytes_.size() / size) return count;
    good_ = false;
    return 0;
  }
  [[nodiscard]] bool all_read() const { return good_ && bytes_.empty(); }

 private:
  std::span<const std::byte> bytes_;
  bool good_ = true;
};

/// Of one sample.
constexpr std::size_t sample_bytes = 4 * sizeof(std::uint64_t);

}  // namespace

std::vector<std::byte> encode(const mpi::RankLog& log, Duration to_common_clock) {
  Writer writer;
  writer.time((log.began + to_common_clock).since_start());
  writer.time((log.ended + to_common_clock).since_start());
  writer.number(log.traffic.messages);
  writer.number(log.traffic.bytes);
  for (const mpi::CallCount& calls : log.traffic.collectives) {
    writer.number(calls.calls);
    writer.number(calls.bytes);
  }
  writer.time(log.longest_slice);
  writer.number(log.wrong_messages);
  writer.text(log.first_wrong);
  writer.number(log.samples.size());
  for (const mpi::Sample& sample : log.samples) {
    writer.number(sample.message_bytes);
    writer.number(sample.round);
    writer.time((sample.began + to_common_clock).since_start());
    writer.time(sample.took);
  }
  return writer.take();
}

std::optional<mpi::RankLog> decode_rank_log(std::span<const std::byte> bytes) {
  BytesReader reader(bytes);
  mpi::RankLog log;
  log.began = reader.point();
  log.ended = reader.point();
  log.traffic.messages = reader.number();
  log.traffic.bytes = reader.number();
  for (mpi::CallCount& calls : log.traffic.collectives) {
    calls.calls = reader.number();
    calls.bytes = reader.number();
  }
  log.longest_slice = reader.time();
  log.wrong_messages = reader.number();
  log.first_wrong = reader.text();
  const std::uint64_t samples = reader.count(sample_bytes);
  log.samples.reserve(samples);
  for (std::uint64_t i = 0; i < samples; ++i) {
    mpi::Sample& sample = log.samples.emplace_back();
    sample.message_bytes = reader.number();
    sample.round = static_cast<std::uint32_t>(reader.number());
    sample.began = reader.point();
    sample.took = reader.time();
  }
  if (!reader.all_read()) return std::nullopt;
  return log;
}

}  // namespace ferry::ranks
