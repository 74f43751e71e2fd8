#include "hw_backend/bootstrap/tcp_frames.hpp"

#include <gtest/gtest.h>

#include <random>

namespace ferry {
namespace {

std::vector<Frame> examples() {
  return {HelloFrame{3, "job 17"},
          MessageFrame{BootstrapTopic::job, std::vector<std::byte>(300, std::byte{5})},
          MessageFrame{BootstrapTopic::connections, {}}, AskFrame{1ULL << 60U, "key"},
          AnswerFrame{7, std::string("v\0w", 3)}};
}

TEST(TcpFrames, come_out_of_a_stream_in_any_pieces) {
  std::vector<std::byte> stream;
  for (const Frame& frame : examples()) {
    const auto bytes = encode(frame);
    stream.insert(stream.end(), bytes.begin(), bytes.end());
  }
  for (const std::size_t piece : {1U, 2U, 7U, 64U, 10'000U}) {
    FrameReader reader;
    std::vector<Frame> got;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      reader.add(std::span(stream).subspan(at, std::min(piece, stream.size() - at)));
      while (auto frame = reader.next()) got.push_back(*frame);
    }
    EXPECT_EQ(got, examples()) << piece;
    EXPECT_FALSE(reader.broken());
  }
}

TEST(TcpFrames, that_are_wrong_break_the_stream) {
  const auto breaks = [](std::vector<std::byte> bytes) {
    FrameReader reader;
    reader.add(bytes);
    while (reader.next()) {
    }
    return reader.broken();
  };
  const auto hello = encode(HelloFrame{1, "job"});
  EXPECT_FALSE(breaks(hello));
  struct Case {
    std::size_t place;
    std::uint8_t value;
  };
  for (const Case& c : {Case{0, 0},      // no length at all: its kind is missing
                        Case{3, 255},    // too long
                        Case{4, 99},     // kind
                        Case{5, 0},      // magic
                        Case{9, 77}}) {  // version
    auto bytes = hello;
    bytes[c.place] = static_cast<std::byte>(c.value);
    EXPECT_TRUE(breaks(bytes)) << c.place;
  }
  EXPECT_TRUE(breaks(encode(HelloFrame{1, std::string(longest_job_name + 1, 'x')})));
  EXPECT_TRUE(breaks(encode(AskFrame{1, std::string(longest_key + 1, 'x')})));
  auto message = encode(MessageFrame{});
  message[5] = std::byte{bootstrap_topic_count};
  EXPECT_TRUE(breaks(message));
}

TEST(TcpFrames, of_arbitrary_bytes_are_read_without_harm) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::byte> bytes(random() % 200);
    for (std::byte& each : bytes) each = static_cast<std::byte>(random());
    if (bytes.size() > 4) bytes[1] = bytes[2] = bytes[3] = {};  // a length that fits
    FrameReader reader;
    reader.add(bytes);
    while (reader.next()) {
    }
  }
}

}  // namespace
}  // namespace ferry
