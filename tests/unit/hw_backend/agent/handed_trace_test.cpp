#include "hw_backend/agent/handed_trace.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#include "tests/scratch_folder.hpp"

namespace ferry::agent {
namespace {

const std::string text = "0 init\n0 barrier\n0 finalize\n";

HandTrace piece(std::uint64_t offset, std::size_t size, const std::string& of = text) {
  const auto bytes = std::as_bytes(std::span(of)).subspan(offset, size);
  return {"job", offset, of.size(), {bytes.begin(), bytes.end()}};
}

class HandedTrace : public testing::Test {
 protected:
  [[nodiscard]] std::string contents() const {
    std::ifstream in(folder_ / "trace", std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  ScratchFolder scratch_;
  const std::filesystem::path folder_ = scratch_.path();
};

TEST_F(HandedTrace, is_whole_once_every_piece_was_there_in_its_order) {
  const TraceReport none = take_trace(folder_, piece(0, 0));
  EXPECT_EQ(none.held, 0U);
  EXPECT_FALSE(none.whole);
  EXPECT_EQ(take_trace(folder_, piece(0, 10)).held, 10U);
  EXPECT_EQ(take_trace(folder_, piece(0, 10)).held, 10U);  // twice
  EXPECT_EQ(take_trace(folder_, piece(20, 5)).held, 10U);  // one before it is missing
  EXPECT_EQ(take_trace(folder_, piece(10, 10)).held, 20U);
  EXPECT_EQ(contents(), "");
  const TraceReport last = take_trace(folder_, piece(20, text.size() - 20));
  EXPECT_TRUE(last.whole);
  EXPECT_EQ(last.held, text.size());
  EXPECT_EQ(last.why_not, "");
  EXPECT_EQ(contents(), text);
  EXPECT_TRUE(take_trace(folder_, piece(0, 10)).whole);  // it stays as it is
  EXPECT_EQ(contents(), text);
}

TEST_F(HandedTrace, begins_anew_where_more_was_there_than_there_is_now) {
  EXPECT_EQ(take_trace(folder_, piece(0, 20)).held, 20U);
  const std::string shorter = "0 barrier\n";
  EXPECT_EQ(take_trace(folder_, piece(0, 0, shorter)).held, 0U);
  EXPECT_TRUE(take_trace(folder_, piece(0, shorter.size(), shorter)).whole);
  EXPECT_EQ(contents(), shorter);
}

TEST_F(HandedTrace, that_cannot_be_kept_says_why) {
  HandTrace large = piece(0, 10);
  large.total = largest_handed_trace + 1;
  EXPECT_EQ(take_trace(folder_, large).why_not, "it has more than 1 GiB");
  const TraceReport nowhere = take_trace(folder_ / "none", piece(0, 10));
  EXPECT_EQ(nowhere.held, 0U);
  EXPECT_NE(nowhere.why_not, "");
}

TEST_F(HandedTrace, is_awaited_by_its_ranks_for_as_long_as_more_of_it_comes) {
  std::thread agent([&] {
    for (std::size_t i = 0; i < text.size(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      (void)take_trace(folder_, piece(i, 1));
    }
  });
  const auto file = await_trace(folder_, std::chrono::seconds(60));
  agent.join();
  ASSERT_TRUE(file) << file.error().reason;
  EXPECT_EQ(*file, folder_ / "trace");
  EXPECT_EQ(contents(), text);
}

TEST_F(HandedTrace, of_which_nothing_comes_is_given_up) {
  EXPECT_EQ(take_trace(folder_, piece(0, 7)).held, 7U);
  const auto file = await_trace(folder_, std::chrono::milliseconds(100));
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().kind, FailureKind::timed_out);
  EXPECT_THAT(file.error().reason, testing::HasSubstr("of the trace 7 bytes have come"));
}

}  // namespace
}  // namespace ferry::agent
