// What `Bootstrap` promises, within a process and over TCP.
#include "core/ports/bootstrap.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "hw_backend/bootstrap/in_process_bootstrap.hpp"
#include "hw_backend/bootstrap/tcp_bootstrap.hpp"

namespace ferry {
namespace {

using testing::HasSubstr;

constexpr std::uint32_t ranks = 3;
constexpr Duration long_enough = Duration::milliseconds(60'000);

/// Counts notifications.
class CountingSet final : public WaitSet {
 public:
  Wake wait(TimePoint /*deadline*/) override { return Wake::ready; }
  void pause() override {}
  void notify() override { ++notified; }
  std::atomic<int> notified = 0;
};

std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

/// Ends of all ranks.
struct Job {
  std::vector<std::string> addresses;  ///< asked for until the last end is no more
  std::shared_ptr<BootstrapHub> hub;
  std::vector<std::unique_ptr<Bootstrap>> ends;
  std::vector<TcpBootstrap*> tcp;  ///< the same, if they are
};

std::unique_ptr<TcpBootstrap> listening(std::uint32_t rank, const std::string& job) {
  TcpBootstrapSettings settings;
  settings.listen_on = "127.0.0.1";
  settings.job = job;
  settings.first_retry = Duration::milliseconds(1);
  settings.last_retry = Duration::milliseconds(20);
  return std::move(TcpBootstrap::listen(RankId{rank}, ranks, settings).value());
}

std::unique_ptr<Job> make_job(bool by_tcp) {
  auto job = std::make_unique<Job>();
  if (!by_tcp) job->hub = BootstrapHub::make(ranks);
  for (std::uint32_t rank = 0; rank < ranks; ++rank) {
    if (!by_tcp) {
      job->ends.push_back(job->hub->join(RankId{rank}));
      continue;
    }
    auto end = listening(rank, "test");
    job->tcp.push_back(end.get());
    job->addresses.push_back(end->address());
    job->ends.push_back(std::move(end));
  }
  for (TcpBootstrap* const end : job->tcp) {
    end->start(
        [&job = *job](RankId rank) -> Result<std::string> { return job.addresses[rank.index]; });
  }
  return job;
}

BootstrapMessage await(Bootstrap& end, BootstrapTopic topic) {
  for (;;) {
    if (auto message = end.receive(topic)) return *message;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

class BootstrapContract : public testing::TestWithParam<bool> {
 protected:
  std::unique_ptr<Job> job_ = make_job(GetParam());
  Bootstrap& end(std::uint32_t rank) { return *job_->ends[rank]; }
};
INSTANTIATE_TEST_SUITE_P(Worlds, BootstrapContract, testing::Bool(),
                         [](const auto& with) { return with.param ? "tcp" : "in_process"; });

TEST_P(BootstrapContract, messages_arrive_in_order_by_topic_and_sender) {
  constexpr int count = 500;
  for (int i = 0; i < count; ++i) {
    end(0).send(RankId{2}, BootstrapTopic::connections, bytes_of(std::to_string(i)));
    end(1).send(RankId{2}, BootstrapTopic::job, bytes_of("j" + std::to_string(i)));
  }
  for (int i = 0; i < count; ++i) {
    const BootstrapMessage one = await(end(2), BootstrapTopic::connections);
    EXPECT_EQ(one.from, RankId{0});
    ASSERT_EQ(one.bytes, bytes_of(std::to_string(i)));
    const BootstrapMessage other = await(end(2), BootstrapTopic::job);
    EXPECT_EQ(other.from, RankId{1});
    ASSERT_EQ(other.bytes, bytes_of("j" + std::to_string(i)));
  }
  EXPECT_FALSE(end(2).receive(BootstrapTopic::connections));
}

TEST_P(BootstrapContract, the_largest_message_and_the_empty_one_arrive) {
  const std::vector<std::byte> largest(largest_bootstrap_message, std::byte{7});
  end(0).send(RankId{1}, BootstrapTopic::job, largest);
  end(0).send(RankId{1}, BootstrapTopic::job, {});
  EXPECT_EQ(await(end(1), BootstrapTopic::job).bytes, largest);
  EXPECT_TRUE(await(end(1), BootstrapTopic::job).bytes.empty());
}

TEST_P(BootstrapContract, a_rank_sends_to_itself) {
  end(1).send(RankId{1}, BootstrapTopic::job, bytes_of("me"));
  EXPECT_EQ(await(end(1), BootstrapTopic::job).bytes, bytes_of("me"));
}

TEST_P(BootstrapContract, what_is_sent_to_nobody_is_lost) {
  end(0).send(RankId{77}, BootstrapTopic::job, bytes_of("hello?"));
  end(0).send(RankId{1}, BootstrapTopic::job, bytes_of("hello"));
  EXPECT_EQ(await(end(1), BootstrapTopic::job).bytes, bytes_of("hello"));
}

TEST_P(BootstrapContract, a_wait_set_is_notified_of_its_topic_also_of_what_waits_already) {
  CountingSet set;
  end(0).send(RankId{1}, BootstrapTopic::job, bytes_of("early"));
  while (!end(1).receive(BootstrapTopic::job)) std::this_thread::yield();
  end(0).send(RankId{1}, BootstrapTopic::connections, bytes_of("before"));
  end(1).notify_of(BootstrapTopic::connections, &set);
  while (set.notified == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  end(1).notify_of(BootstrapTopic::connections, nullptr);
  const int before = set.notified;
  end(0).send(RankId{1}, BootstrapTopic::connections, bytes_of("after"));
  static_cast<void>(await(end(1), BootstrapTopic::connections));
  static_cast<void>(await(end(1), BootstrapTopic::connections));
  EXPECT_EQ(set.notified, before);
}

TEST_P(BootstrapContract, a_value_is_looked_up_when_it_has_been_published) {
  end(0).publish("colour", "blue");
  EXPECT_EQ(end(1).lookup(RankId{0}, "colour", long_enough).value(), "blue");
  EXPECT_EQ(end(0).lookup(RankId{0}, "colour", long_enough).value(), "blue");
  std::thread late([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    end(2).publish("shape", "round");
  });
  EXPECT_EQ(end(0).lookup(RankId{2}, "shape", long_enough).value(), "round");
  late.join();
  end(2).publish("shape", "square");
  EXPECT_EQ(end(0).lookup(RankId{2}, "shape", long_enough).value(), "square");
}

TEST_P(BootstrapContract, a_lookup_in_vain_names_rank_and_key) {
  const auto none = end(0).lookup(RankId{1}, "nothing", Duration::milliseconds(20));
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().kind, FailureKind::timed_out);
  EXPECT_THAT(none.error().reason, HasSubstr("rank 1 has not published 'nothing' within 20ms"));
}

TEST(InProcessBootstrap, loses_the_share_of_messages_that_a_test_asks_for) {
  const auto job = make_job(false);
  job->hub->lose(0.5, 1);
  for (int i = 0; i < 1000; ++i) {
    job->ends[0]->send(RankId{1}, BootstrapTopic::job, bytes_of("x"));
  }
  int arrived = 0;
  while (job->ends[1]->receive(BootstrapTopic::job)) ++arrived;
  EXPECT_GT(arrived, 400);
  EXPECT_LT(arrived, 600);
}

TEST(TcpBootstrapTest, connections_that_broke_are_made_again) {
  const auto job = make_job(true);
  for (int round = 0; round < 5; ++round) {
    // A message may be lost with its connection; one that follows is not.
    std::optional<BootstrapMessage> message;
    while (!message) {
      job->ends[0]->send(RankId{1}, BootstrapTopic::job, bytes_of(std::to_string(round)));
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      message = job->ends[1]->receive(BootstrapTopic::job);
    }
    while (job->ends[1]->receive(BootstrapTopic::job)) {
    }
    job->tcp[static_cast<std::size_t>(round) % 2]->break_connections();
  }
}

TEST(TcpBootstrapTest, a_rank_of_another_job_is_turned_away) {
  const auto job = make_job(true);
  const auto stranger = listening(2, "other");
  stranger->start([&](RankId rank) -> Result<std::string> { return job->addresses[rank.index]; });
  stranger->send(RankId{0}, BootstrapTopic::job, bytes_of("let me in"));
  EXPECT_FALSE(stranger->lookup(RankId{0}, "anything", Duration::milliseconds(100)));
  EXPECT_FALSE(job->ends[0]->receive(BootstrapTopic::job));
}

TEST(TcpBootstrapTest, a_lookup_says_why_a_rank_cannot_be_reached) {
  const auto lonely = listening(0, "test");
  lonely->start([](RankId) -> Result<std::string> { return "127.0.0.1:1"; });
  const auto none = lonely->lookup(RankId{1}, "key", Duration::milliseconds(200));
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().reason, HasSubstr("rank 1 at 127.0.0.1:1"));
  EXPECT_THAT(none.error().reason, HasSubstr("Connection refused"));
}

TEST(TcpBootstrapTest, an_address_that_cannot_be_had_is_refused) {
  TcpBootstrapSettings settings;
  settings.listen_on = "192.0.2.1";  // of the network for documentation: RFC 5737
  const auto none = TcpBootstrap::listen(RankId{4}, ranks, settings);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().reason,
            "rank 4 cannot listen on 192.0.2.1: Cannot assign requested address");
}

}  // namespace
}  // namespace ferry
