#include "hw_backend/bootstrap/tcp_frames.hpp"

#include <algorithm>
#include <cstring>

namespace ferry {
namespace {

constexpr std::uint32_t magic = 0x46455252;  // "FERR"
constexpr std::uint16_t version = 1;
constexpr std::size_t length_bytes = 4;
constexpr std::size_t longest_frame = largest_bootstrap_message + 64;

enum class Kind : std::uint8_t { hello = 1, message, ask, answer };

class Writer {
 public:
  explicit Writer(Kind kind) : bytes_(length_bytes) { number(static_cast<std::uint8_t>(kind)); }
  template <class Number>
  Writer& number(Number value) {
    for (std::size_t i = 0; i < sizeof value; ++i) {
      bytes_.push_back(static_cast<std::byte>(static_cast<std::uint64_t>(value) >> (8 * i)));
    }
    return *this;
  }
  Writer& rest(std::span<const std::byte> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    return *this;
  }
  Writer& rest(std::string_view text) { return rest(std::as_bytes(std::span(text))); }
  std::vector<std::byte> finish() {
    const std::size_t length = bytes_.size() - length_bytes;
    for (std::size_t i = 0; i < length_bytes; ++i) {
      bytes_[i] = static_cast<std::byte>(length >> (8 * i));
    }
    return std::move(bytes_);
  }

 private:
  std::vector<std::byte> bytes_;
};

/// Reading beyond the end gives zeros, and is remembered.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  template <class Number>
  Number number() {
    if (bytes_.size() < sizeof(Number)) {
      short_ = true;
      return {};
    }
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(Number); ++i) {
      value |= static_cast<std::uint64_t>(bytes_[i]) << (8 * i);
    }
    bytes_ = bytes_.subspan(sizeof(Number));
    return static_cast<Number>(value);
  }
  std::string text(std::size_t longest) {
    if (bytes_.size() > longest) short_ = true;
    const auto* const from = reinterpret_cast<const char*>(bytes_.data());
    return short_ ? std::string() : std::string(from, bytes_.size());
  }
  [[nodiscard]] std::span<const std::byte> rest() const { return bytes_; }
  [[nodiscard]] bool good() const { return !short_; }

 private:
  std::span<const std::byte> bytes_;
  bool short_ = false;
};

std::optional<Frame> decode(std::span<const std::byte> bytes) {
  Reader reader(bytes);
  Frame frame;
  switch (static_cast<Kind>(reader.number<std::uint8_t>())) {
    case Kind::hello: {
      const bool ours =
          reader.number<std::uint32_t>() == magic && reader.number<std::uint16_t>() == version;
      if (!ours) return std::nullopt;
      HelloFrame hello;
      hello.rank = reader.number<std::uint32_t>();
      hello.job = reader.text(longest_job_name);
      frame = std::move(hello);
      break;
    }
    case Kind::message: {
      const auto topic = reader.number<std::uint8_t>();
      const std::span<const std::byte> rest = reader.rest();
      if (topic >= bootstrap_topic_count || rest.size() > largest_bootstrap_message) {
        return std::nullopt;
      }
      frame = MessageFrame{static_cast<BootstrapTopic>(topic), {rest.begin(), rest.end()}};
      break;
    }
    case Kind::ask: {
      AskFrame ask;
      ask.number = reader.number<std::uint64_t>();
      ask.key = reader.text(longest_key);
      frame = std::move(ask);
      break;
    }
    case Kind::answer: {
      AnswerFrame answer;
      answer.number = reader.number<std::uint64_t>();
      answer.value = reader.text(largest_bootstrap_message);
      frame = std::move(answer);
      break;
    }
    default: return std::nullopt;
  }
  if (!reader.good()) return std::nullopt;
  return frame;
}

}  // namespace

std::vector<std::byte> encode(const Frame& frame) {
  if (const auto* hello = std::get_if<HelloFrame>(&frame)) {
    return Writer(Kind::hello)
        .number(magic)
        .number(version)
        .number(hello->rank)
        .rest(hello->job)
        .finish();
  }
  if (const auto* message = std::get_if<MessageFrame>(&frame)) {
    return Writer(Kind::message)
        .number(static_cast<std::uint8_t>(message->topic))
        .rest(message->bytes)
        .finish();
  }
  if (const auto* ask = std::get_if<AskFrame>(&frame)) {
    return Writer(Kind::ask).number(ask->number).rest(ask->key).finish();
  }
  const auto& answer = std::get<AnswerFrame>(frame);
  return Writer(Kind::answer).number(answer.number).rest(answer.value).finish();
}

void FrameReader::add(std::span<const std::byte> bytes) {
  if (broken_) return;
  bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(read_));
  read_ = 0;
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

std::optional<Frame> FrameReader::next() {
  const std::span<const std::byte> all = std::span(bytes_).subspan(read_);
  if (broken_ || all.size() < length_bytes) return std::nullopt;
  const std::size_t length = Reader(all).number<std::uint32_t>();
  broken_ = length == 0 || length > longest_frame;
  if (broken_ || all.size() < length_bytes + length) return std::nullopt;
  read_ += length_bytes + length;
  std::optional<Frame> frame = decode(all.subspan(length_bytes, length));
  broken_ = !frame;
  return frame;
}

}  // namespace ferry
