#include "hw_backend/agent/frames.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "core/ports/control.hpp"

namespace ferry::agent {
namespace {

using Message = std::vector<std::byte>;

Message message(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

std::vector<Message> all(FrameReader& reader) {
  std::vector<Message> found;
  while (auto next = reader.next()) found.push_back(std::move(*next));
  return found;
}

std::vector<std::byte> joined(const std::vector<Message>& parts) {
  std::vector<std::byte> bytes;
  for (const Message& part : parts) bytes.insert(bytes.end(), part.begin(), part.end());
  return bytes;
}

TEST(Frames, are_found_whatever_pieces_they_come_in) {
  const std::vector<Message> sent = {message("one"), message(""), message(std::string(5000, 'x'))};
  std::vector<Message> frames;
  for (const Message& each : sent) frames.push_back(make_frame(each));
  const std::vector<std::byte> stream = joined(frames);
  for (const std::size_t piece : {1U, 2U, 7U, 1000U, 100'000U}) {
    FrameReader reader;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      reader.take(std::span(stream).subspan(at, std::min(piece, stream.size() - at)));
    }
    EXPECT_EQ(all(reader), sent) << piece;
    EXPECT_EQ(reader.skipped(), 0U);
    EXPECT_FALSE(reader.waits());
  }
}

TEST(Frames, have_the_checksum_of_rfc_3720) {
  // Its appendix B.4: 32 bytes of zeros have the CRC 8a9136aa, 32 of ones 62a8ab43.
  for (const auto& [byte, crc] : {std::pair(0x00U, 0x8a91'36aaU), std::pair(0xffU, 0x62a8'ab43U)}) {
    const Message frame = make_frame(Message(32, static_cast<std::byte>(byte)));
    std::uint32_t said = 0;
    for (int i = 0; i < 4; ++i) {
      said |= std::to_integer<std::uint32_t>(frame[static_cast<std::size_t>(8 + i)]) << 8 * i;
    }
    EXPECT_EQ(said, crc);
  }
}

TEST(Frames, behind_anything_else_are_found) {
  std::mt19937 random(1);
  const Message good = message("good");
  const Message frame = make_frame(good);
  for (int i = 0; i < 2000; ++i) {
    std::vector<std::byte> noise(random() % 40);
    for (std::byte& byte : noise) byte = random() % 3 == 0 ? frame[0] : std::byte(random());
    FrameReader reader;
    reader.take(joined({noise, frame}));
    if (reader.waits()) {  // the noise looked like a long frame's beginning
      while (reader.waits()) reader.give_up();
    }
    EXPECT_THAT(all(reader), testing::ElementsAre(good));
    EXPECT_EQ(reader.skipped(), noise.size());
  }
}

TEST(Frames, that_are_damaged_are_left_out_and_the_next_is_found) {
  const Message first = make_frame(message("first"));
  const Message second = make_frame(message("second"));
  for (std::size_t at = 0; at < first.size(); ++at) {
    Message damaged = first;
    damaged[at] ^= std::byte{0x10};
    FrameReader reader;
    reader.take(joined({damaged, second}));
    while (reader.waits()) reader.give_up();
    EXPECT_THAT(all(reader), testing::ElementsAre(message("second"))) << at;
  }
}

TEST(Frames, whose_end_is_lost_are_given_up) {
  const Message torn = make_frame(message(std::string(300, 'x')));
  const Message next = make_frame(message("next"));
  FrameReader reader;
  reader.take(std::span(torn).first(100));
  reader.take(next);
  EXPECT_THAT(all(reader), testing::IsEmpty());
  EXPECT_TRUE(reader.waits());
  reader.give_up();
  EXPECT_THAT(all(reader), testing::ElementsAre(message("next")));
}

TEST(Frames, that_say_too_much_are_not_waited_for) {
  Message frame = make_frame(message("x"));
  const std::uint32_t size = largest_control_message + 1;
  for (std::size_t i = 0; i < 4; ++i) frame[4 + i] = static_cast<std::byte>(size >> 8 * i);
  FrameReader reader;
  reader.take(joined({frame, make_frame(message("next"))}));
  EXPECT_THAT(all(reader), testing::ElementsAre(message("next")));
}

}  // namespace
}  // namespace ferry::agent
