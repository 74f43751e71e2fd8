#include "hw_backend/agent/messages.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "hw_backend/agent/post_codec.hpp"

namespace ferry::agent {
namespace {

Bytes8 bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

std::string hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += fmt::format("{:02x}", std::to_integer<int>(byte));
  return text;
}

/// One of each kind, with something in every field.
std::vector<Message> samples() {
  RankState state;
  state.process = 7;
  state.left = state.stopped = true;
  state.seen = 3;
  state.computes_until = -5;
  state.computations = 9;
  state.epochs = {{4, 1, 2, true, false, true, false, true, true}};
  state.replies = {{2, 0, 1, 6, 8, 11, true}};
  state.verdict = "why";
  state.card = bytes_of("card");
  state.has_card = state.ended = true;
  state.signal = 9;
  StartJob start;
  start.key = "run-0-job";
  start.name = "job";
  start.vms = {0, 0, native};
  start.whole_job = true;
  start.close_channel_nanoseconds = 1000;
  start.ranks = {0, 1};
  start.watched = {0};
  start.arguments = {"rank", "-v"};
  start.environment = {"A=b"};
  start.user = "hpc";
  start.description = bytes_of("yaml");
  return {Hello{5},
          start,
          PostBatch{"k", 2, {bytes_of("p"), bytes_of("")}},
          FetchPosts{"k", 1},
          Confirm{"k", 4, 2},
          Revoke{"k", 4},
          Cards{"k", 1, {bytes_of("c")}},
          Condemn{"k", "over"},
          EndJob{"k", true},
          Fetch{"k", 1, 512},
          Acknowledge{"k", 1, 6},
          FindHolders{3, "52:54:00:00:00:01"},
          Ping{1},
          Welcome{99, "0.1.0", {"k"}},
          Refused{6, "later"},
          JobReport{"k", "", 3, 1, 2, true, {0, 1}},
          RankReport{"k", 1, 2, state},
          Confirmed{"k", 4, 2, {{1, true, 3}}},
          Revoked{"k", 4, {{1, true, 2}}},
          Chunk{"k", 1, 0, 4, bytes_of("data")},
          Holders{3, {{812, "python3", "hpc", "/dev/infiniband/uverbs0"}}},
          Pong{1, 123456789},
          Dismiss{"k"},
          HandTrace{"k", 7, 12, bytes_of("0 bar")},
          TraceReport{"k", 12, true, "no room"}};
}

TEST(Messages, of_every_kind_are_read_as_they_were_written) {
  const std::vector<Message> messages = samples();
  ASSERT_EQ(messages.size(), std::variant_size_v<Message>);
  for (const Message& message : messages) {
    const Bytes8 bytes = encode({42, message});
    const Result<Envelope> read = decode(bytes);
    ASSERT_TRUE(read.has_value()) << read.error().reason;
    EXPECT_EQ(read->controller, 42U);
    EXPECT_EQ(read->message.index(), message.index());
    EXPECT_EQ(hex(encode(*read)), hex(bytes));
  }
}

/// What is on the wire is the contract with agents in other people's images.
TEST(Messages, have_these_bytes) {
  const std::vector<Message> all = samples();
  const std::map<std::size_t, std::string> known = {
      {0, "010000002a000000000000000500000000000000"},
      {4, "010004002a00000000000000010000006b04000000000000000200000000000000"},
      {8, "010008002a00000000000000010000006b01"},
      {17,
       "010011002a00000000000000010000006b04000000000000000200000000000000010000000100000001"
       "03000000"},
      {22, "010016002a00000000000000010000006b"},
      {24, "010018002a00000000000000010000006b0c0000000000000001070000006e6f20726f6f6d"}};
  for (const auto& [index, bytes] : known) EXPECT_EQ(hex(encode({42, all[index]})), bytes);
}

TEST(Messages, that_are_cut_or_go_on_are_refused) {
  for (const Message& message : samples()) {
    Bytes8 bytes = encode({42, message});
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(decode(std::span(bytes).first(size))) << message.index() << " of " << size;
    }
    bytes.push_back(std::byte{0});
    EXPECT_FALSE(decode(bytes)) << message.index();
  }
}

TEST(Messages, of_another_version_are_refused_with_both) {
  Bytes8 bytes = encode({42, Hello{1}});
  bytes[0] = std::byte{9};
  const Result<Envelope> read = decode(bytes);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().kind, FailureKind::refused);
  EXPECT_THAT(read.error().reason, testing::HasSubstr("version 9"));
  EXPECT_THAT(read.error().reason, testing::HasSubstr("version 1"));
}

TEST(Messages, of_an_unknown_kind_are_refused) {
  Bytes8 bytes = encode({42, Hello{1}});
  bytes[2] = std::byte{0xee};
  EXPECT_FALSE(decode(bytes));
}

TEST(Messages, with_any_byte_changed_are_read_or_refused) {
  std::mt19937 random(3);
  for (const Message& message : samples()) {
    const Bytes8 bytes = encode({42, message});
    for (int i = 0; i < 500; ++i) {
      Bytes8 changed = bytes;
      changed[random() % changed.size()] = static_cast<std::byte>(random());
      const Result<Envelope> read = decode(changed);
      if (read) {
        EXPECT_EQ(encode(*read).size(), changed.size());
      }
    }
  }
}

TEST(Messages, keys_of_jobs_are_names_of_folders) {
  for (const char* const good : {"a", "run-1_x.y", "A9"}) EXPECT_TRUE(is_job_key(good)) << good;
  for (const std::string& bad :
       {std::string(), std::string("."), std::string(".."), std::string(".new-x"),
        std::string("a/b"), std::string("a b"), std::string("ü"), std::string(101, 'a')}) {
    EXPECT_FALSE(is_job_key(bad)) << bad;
  }
}

TEST(Posts, are_read_as_they_were_written) {
  using mpi::Post;
  const auto vms = std::make_shared<const std::vector<VmId>>(std::vector<VmId>{VmId{1}, VmId{4}});
  const auto sites = std::make_shared<const std::vector<mpi::VmSite>>(
      std::vector<mpi::VmSite>{{VmId{1}, HostId{3}, true, false}});
  const auto places =
      std::make_shared<const mpi::JobLocality>(std::vector<std::uint32_t>{0, 0, 2, 2});
  const std::vector<PostOnBoard> posts = {
      {{Post::Kind::request, 7, vms, {}, {}}, nullptr},
      {{Post::Kind::close, 7, vms, {}, {}}, nullptr},
      {{Post::Kind::reactivate, 7, vms, {}, sites}, nullptr},
      {{Post::Kind::ask, 0, nullptr, {{}, 5, 0}, {}}, places},
      {{Post::Kind::agree, 0, nullptr, {{2, 1}, 5, 19}, {}}, nullptr}};
  for (const PostOnBoard& post : posts) {
    const Result<PostOnBoard> read = decode_post(encode_post(post));
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(read->post.kind, post.post.kind);
    EXPECT_EQ(read->post.epoch, post.post.epoch);
    ASSERT_EQ(read->post.moving == nullptr, post.post.moving == nullptr);
    if (post.post.moving != nullptr) {
      EXPECT_EQ(*read->post.moving, *post.post.moving);
    }
    if (post.post.sites != nullptr) {
      EXPECT_EQ(*read->post.sites, *post.post.sites);
    }
    EXPECT_EQ(read->post.locality.of, post.post.locality.of);
    EXPECT_EQ(read->post.locality.generation, post.post.locality.generation);
    EXPECT_EQ(read->post.locality.from, post.post.locality.from);
    ASSERT_EQ(read->locality == nullptr, post.locality == nullptr);
    if (post.locality != nullptr) {
      EXPECT_EQ(read->locality->group_of, post.locality->group_of);
    }
  }
}

TEST(RankResults, are_read_as_they_were_written) {
  RankResult result;
  result.log.began = TimePoint::at(Duration::nanoseconds(5));
  result.log.ended = TimePoint::at(Duration::nanoseconds(50));
  result.log.longest_slice = Duration::nanoseconds(3);
  result.log.traffic.messages = 4;
  result.log.traffic.bytes = 99;
  result.log.traffic.collectives[2] = {7, 8};
  result.log.samples = {{64, 3, TimePoint::at(Duration::nanoseconds(6)), Duration::nanoseconds(2)}};
  result.log.wrong_messages = 1;
  result.log.first_wrong = "wrong";
  result.log.packets = {{Channel::ivshmem, 1, 12}};
  result.complaints = {"one", "two"};
  const Bytes8 bytes = encode_result(result);
  const Result<RankResult> read = decode_result(bytes);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(encode_result(*read), bytes);
  EXPECT_EQ(read->log.traffic, result.log.traffic);
  EXPECT_EQ(read->complaints, result.complaints);
  EXPECT_EQ(read->log.packets, result.log.packets);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_result(std::span(bytes).first(size)));
  }
}

TEST(RankResults, are_refused_if_their_times_cannot_be_calculated_with) {
  RankResult result;
  result.log.ended = TimePoint::at(Duration::nanoseconds(std::int64_t{1} << 62U));
  EXPECT_FALSE(decode_result(encode_result(result)));
  result.log.ended = {};
  EXPECT_TRUE(decode_result(encode_result(result)));
  result.log.samples = {{64, 3, TimePoint::at(-Duration::max()), {}}};
  EXPECT_FALSE(decode_result(encode_result(result)));
}

}  // namespace
}  // namespace ferry::agent
