// PMI-1: lines, and a rank's conversation with a launcher that the tests play.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "hw_backend/ranks/pmi_connection.hpp"
#include "hw_backend/ranks/pmi_message.hpp"
#include "hw_backend/ranks/start.hpp"

namespace ferry::ranks {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(PmiMessage, is_read_as_it_was_written) {
  const PmiMessage message{"put", {{"kvsname", "kvs_1"}, {"key", "a"}, {"value", "x=y"}}};
  EXPECT_EQ(to_line(message), "cmd=put kvsname=kvs_1 key=a value=x=y\n");
  EXPECT_EQ(parse_pmi(to_line(message)), message);
}

TEST(PmiMessage, may_have_more_spaces_and_sentences) {
  const auto message = parse_pmi("cmd=get_result  rc=-1 msg=key a was not found value=unknown \n");
  ASSERT_TRUE(message);
  EXPECT_EQ(message->command, "get_result");
  EXPECT_EQ(message->find("msg"), "key");
  EXPECT_EQ(message->find("value"), "unknown");
  EXPECT_EQ(message->number("rc"), -1);
  EXPECT_EQ(message->number("value"), std::nullopt);
  EXPECT_EQ(message->number("size"), std::nullopt);
}

TEST(PmiMessage, is_none_without_a_command_or_within_bounds) {
  std::string many = "cmd=a";
  for (std::size_t i = 0; i <= most_pmi_values; ++i) many += " k=v";
  const std::vector<std::string> none = {
      "",          "\n",       " ",     "cmd",          "cmd=",
      "key=value", "cmd=a =b", "words", "cmd=a\ncmd=b", "cmd=" + std::string(longest_pmi_line, 'a'),
      many};
  for (const std::string& line : none) EXPECT_EQ(parse_pmi(line), std::nullopt) << line;
}

TEST(PmiValues, carry_any_text) {
  for (const std::string& text : {std::string(), std::string("vm0 a=b"), std::string("%"),
                                  std::string("\0\n\xff", 3), std::string("plain-_.:/,9")}) {
    const std::string value = to_pmi_value(text);
    EXPECT_EQ(value.find_first_of(" =\n"), std::string::npos);
    EXPECT_FALSE(value.empty());
    EXPECT_EQ(from_pmi_value(value), text);
  }
  for (const std::string_view bad : {"a%", "a%4", "%zz", "%+1"}) {
    EXPECT_EQ(from_pmi_value(bad), std::nullopt) << bad;
  }
}

/// Answers in order what it is asked; remembers the questions.
class Launcher {
 public:
  explicit Launcher(std::vector<std::string> answers) : answers_(std::move(answers)) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) std::abort();
    rank_ = ends[0];
    start(ends[1]);
  }
  ~Launcher() {
    if (thread_.joinable()) thread_.join();
  }
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;
  [[nodiscard]] int rank() const { return rank_; }
  /// After the connection has ended.
  std::vector<std::string> questions() {
    thread_.join();
    return questions_;
  }

 private:
  void start(int file) {
    thread_ = std::thread([this, file] {
      std::string text;
      char byte = 0;
      std::size_t next = 0;
      while (read(file, &byte, 1) == 1) {
        text += byte;
        if (byte != '\n') continue;
        questions_.push_back(std::move(text));
        text.clear();
        if (next == answers_.size()) break;
        const std::string& answer = answers_[next++];
        if (write(file, answer.data(), answer.size()) < 0) break;
      }
      close(file);
    });
  }
  std::vector<std::string> answers_;
  std::vector<std::string> questions_;
  int rank_ = -1;
  std::thread thread_;
};

class PmiStart : public testing::Test {
 protected:
  ~PmiStart() override {
    for (const char* name : {"PMI_FD", "PMI_PORT", "PMI_ID", "PMI_RANK", "PMI_SIZE"})
      unsetenv(name);
  }
  static void set(const char* name, const std::string& value) { setenv(name, value.c_str(), 1); }
};

TEST_F(PmiStart, is_absent_without_a_launcher) {
  const auto start = start_by_pmi();
  ASSERT_TRUE(start);
  EXPECT_EQ(*start, nullptr);
}

TEST_F(PmiStart, talks_over_the_descriptor_that_the_launcher_gave) {
  Launcher launcher({"cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n",
                     "cmd=my_kvsname kvsname=kvs_7_0\n", "cmd=put_result rc=0 msg=success\n",
                     "cmd=barrier_out\n", "cmd=get_result rc=0 msg=success value=a%20b\n",
                     "cmd=get_result rc=-1 msg=key_none_not_found value=unknown\n",
                     "cmd=finalize_ack\n"});
  set("PMI_FD", std::to_string(launcher.rank()));
  set("PMI_RANK", "3");
  set("PMI_SIZE", "8");
  {
    auto start = start_by_pmi();
    ASSERT_TRUE(start) << start.error().reason;
    ASSERT_NE(*start, nullptr);
    EXPECT_EQ((*start)->rank(), RankId{3});
    EXPECT_EQ((*start)->size(), 8U);
    EXPECT_EQ((*start)->job_id(), "kvs_7_0");
    EXPECT_TRUE((*start)->put("place", "x y"));
    EXPECT_TRUE((*start)->barrier());
    EXPECT_EQ((*start)->get("place").value(), "a b");
    EXPECT_EQ((*start)->get("none").error().reason,
              "PMI: the launcher refuses get: key_none_not_found");
    EXPECT_TRUE((*start)->finish());
    (*start)->abort(3);
  }
  EXPECT_THAT(
      launcher.questions(),
      ElementsAre("cmd=init pmi_version=1 pmi_subversion=1\n", "cmd=get_my_kvsname\n",
                  "cmd=put kvsname=kvs_7_0 key=place value=x%20y\n", "cmd=barrier_in\n",
                  "cmd=get kvsname=kvs_7_0 key=place\n", "cmd=get kvsname=kvs_7_0 key=none\n",
                  "cmd=finalize\n", "cmd=abort exitcode=3\n"));
}

TEST_F(PmiStart, says_what_a_launcher_did_wrong) {
  const struct {
    std::vector<std::string> answers;
    std::string_view words;
  } cases[] = {
      {{}, "the launcher is gone"},
      {{"hello\n"}, "the launcher says 'hello', which is no message of PMI-1"},
      {{"cmd=maxes rc=0\n"}, "the launcher answers init with maxes, not with response_to_init"},
      {{"cmd=response_to_init rc=1\n"}, "the launcher refuses init: 1"},
      {{"cmd=response_to_init rc=0\n", "cmd=my_kvsname\n"}, "gave the job no name"},
      {{std::string(2 * longest_pmi_line, 'x')}, "a line without an end"},
  };
  for (const auto& test : cases) {
    Launcher launcher(test.answers);
    set("PMI_FD", std::to_string(launcher.rank()));
    set("PMI_RANK", "0");
    set("PMI_SIZE", "1");
    const auto start = start_by_pmi();
    ASSERT_FALSE(start);
    EXPECT_THAT(start.error().reason, HasSubstr(test.words));
  }
}

TEST_F(PmiStart, wants_to_know_which_rank_it_is) {
  for (const auto& [rank, size] :
       std::map<std::string, std::string>{{"", ""}, {"2", "2"}, {"x", "2"}}) {
    Launcher launcher({"cmd=response_to_init rc=0\n", "cmd=my_kvsname kvsname=k\n"});
    set("PMI_FD", std::to_string(launcher.rank()));
    set("PMI_RANK", rank);
    set("PMI_SIZE", size);
    const auto start = start_by_pmi();
    ASSERT_FALSE(start);
    EXPECT_THAT(start.error().reason, HasSubstr("did not say which rank this is"));
  }
}

TEST_F(PmiStart, connects_to_a_port_where_the_launcher_has_one) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(listen(listener, 1), 0);
  socklen_t size = sizeof(address);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  std::string first;
  std::thread launcher([&] {
    const int file = accept(listener, nullptr, nullptr);
    const auto line = [file] {
      std::string text;
      for (char byte = 0; text.find('\n') == std::string::npos && read(file, &byte, 1) == 1;)
        text += byte;
      return text;
    };
    const auto say = [file](const std::string& text) {
      if (write(file, text.data(), text.size()) < 0) return;
    };
    first = line();
    say("cmd=initack rc=0\ncmd=set size=4\ncmd=set rank=2\ncmd=set debug=0\n");
    line();
    say("cmd=response_to_init rc=0\n");
    line();
    say("cmd=my_kvsname kvsname=k\n");
    line();
    close(file);
  });
  set("PMI_PORT", "127.0.0.1:" + std::to_string(ntohs(address.sin_port)));
  set("PMI_ID", "2");
  {
    const auto start = start_by_pmi();
    EXPECT_TRUE(start) << start.error().reason;
    if (start) {
      EXPECT_EQ((*start)->rank(), RankId{2});
      EXPECT_EQ((*start)->size(), 4U);
    }
  }
  launcher.join();
  close(listener);
  EXPECT_EQ(first, "cmd=initack pmiid=2\n");
  set("PMI_PORT", "127.0.0.1:1");
  EXPECT_THAT(start_by_pmi().error().reason, HasSubstr("127.0.0.1:1 does not answer"));
  set("PMI_PORT", "nowhere");
  EXPECT_THAT(start_by_pmi().error().reason, HasSubstr("HOST:PORT would be right"));
}

TEST(AloneStart, knows_what_it_has_put) {
  const auto start = start_alone();
  EXPECT_EQ(start->size(), 1U);
  EXPECT_TRUE(start->put("a", "b"));
  EXPECT_TRUE(start->barrier());
  EXPECT_EQ(start->get("a").value(), "b");
  EXPECT_FALSE(start->get("c"));
}

}  // namespace
}  // namespace ferry::ranks
