// Any bytes on a connection of ranks' TCP bootstrap, in any pieces, end in bounded frames or break
// the connection; what is read is written as the same bytes.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "hw_backend/bootstrap/tcp_frames.hpp"

namespace {

using namespace ferry;

void require(bool condition) {
  if (!condition) std::abort();
}

/// The frames of a stream that comes in pieces of at most `piece` bytes, and whether it broke.
struct Stream {
  std::vector<Frame> frames;
  bool broken;
  bool operator==(const Stream&) const = default;
};

Stream read(std::span<const std::byte> bytes, std::size_t piece) {
  Stream stream;
  FrameReader reader;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    reader.add(bytes.subspan(at, std::min(piece, bytes.size() - at)));
    while (auto frame = reader.next()) stream.frames.push_back(std::move(*frame));
  }
  stream.broken = reader.broken();
  return stream;
}

/// Behind the length that it has, so that the fuzzer need not find that.
std::vector<std::byte> as_frame(std::span<const std::byte> bytes) {
  std::vector<std::byte> frame;
  for (unsigned i = 0; i < 4; ++i) frame.push_back(static_cast<std::byte>(bytes.size() >> (8 * i)));
  frame.insert(frame.end(), bytes.begin(), bytes.end());
  return frame;
}

void read_and_write(std::span<const std::byte> bytes, std::size_t piece) {
  const Stream stream = read(bytes, piece);
  require(stream == read(bytes, bytes.size()));
  std::vector<std::byte> written;
  for (const Frame& frame : stream.frames) {
    const std::vector<std::byte> one = encode(frame);
    written.insert(written.end(), one.begin(), one.end());
  }
  require(written.size() <= bytes.size() &&
          std::equal(written.begin(), written.end(), bytes.begin()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  if (bytes.size() < 2) return 0;
  const std::size_t piece = 1 + std::to_integer<std::size_t>(bytes[0]);
  read_and_write(bytes.subspan(1), piece);
  read_and_write(as_frame(bytes.subspan(1)), piece);
  return 0;
}
