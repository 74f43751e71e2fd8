// Any bytes on the link between controller and agent, in any pieces, end in messages or in
// refusals; what is read is written as the same bytes. So are posts and results.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "core/ports/control.hpp"
#include "hw_backend/agent/frames.hpp"
#include "hw_backend/agent/messages.hpp"
#include "hw_backend/agent/post_codec.hpp"

namespace {

using namespace ferry::agent;

void require(bool condition) {
  if (!condition) std::abort();
}

void read_message(std::span<const std::byte> bytes) {
  const auto read = decode(bytes);
  if (!read) return require(!read.error().reason.empty());
  const Bytes8 written = encode(*read);
  require(written.size() == bytes.size() &&
          std::equal(bytes.begin(), bytes.end(), written.begin()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  if (bytes.empty()) return 0;
  // The stream, in pieces of the size that the first byte says.
  FrameReader reader;
  const std::size_t piece = 1 + std::to_integer<std::size_t>(bytes[0]);
  for (std::size_t at = 1; at < bytes.size(); at += piece) {
    reader.take(bytes.subspan(at, std::min(piece, bytes.size() - at)));
  }
  while (reader.waits()) reader.give_up();
  while (const auto message = reader.next()) {
    require(message->size() <= ferry::largest_control_message);
    read_message(*message);
  }
  // A whole message, without the frame whose checksum the fuzzer would have to find.
  read_message(bytes);
  const std::vector<std::byte> frame = make_frame(bytes);
  FrameReader whole;
  whole.take(frame);
  const auto found = whole.next();
  require(found && std::equal(found->begin(), found->end(), bytes.begin(), bytes.end()));
  if (const auto post = decode_post(bytes)) (void)decode_post(encode_post(*post)).value();
  if (const auto result = decode_result(bytes)) (void)decode_result(encode_result(*result)).value();
  return 0;
}
