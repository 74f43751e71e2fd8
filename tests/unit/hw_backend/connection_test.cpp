// Against libvirt's own `test` driver, which needs no daemon.
#include "hw_backend/libvirt/connection.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libvirt/libvirt.h>

#include <chrono>
#include <set>

#include "hw_backend/libvirt/domain_calls.hpp"
#include "hw_backend/threads/thread_executor.hpp"

namespace ferry {
namespace {

void suspend(virConnectPtr connection) {
  virDomainPtr domain = virDomainLookupByName(connection, "test");
  ASSERT_NE(domain, nullptr);
  EXPECT_EQ(virDomainSuspend(domain), 0);
  virDomainFree(domain);
}

class ConnectionTest : public testing::Test {
 protected:
  HostConnections host(const std::string& uri) {
    return {"host0", uri, HostId{0}, std::make_shared<EventBoard>(executor_, sleeper_)};
  }

  ThreadClock clock_{1.0};
  ThreadExecutor executor_{clock_};
  ThreadSleeper sleeper_{clock_};
};

TEST_F(ConnectionTest, one_connection_listens_and_no_call_shares_it) {
  HostConnections connections = host("test:///default");
  const auto first = connections.listening();
  ASSERT_TRUE(first.has_value()) << first.error().reason;
  EXPECT_EQ((*first)->get(), (*connections.listening())->get());
  EXPECT_NE((*first)->get(), (*connections.calling())->get());
}

TEST_F(ConnectionTest, calls_at_once_have_a_connection_each) {
  HostConnections connections = host("test:///default");
  std::vector<std::shared_ptr<Connection>> calls;
  std::set<_virConnect*> different;
  for (std::size_t i = 0; i < 9; ++i) {
    calls.push_back(connections.calling().value());
    different.insert(calls.back()->get());
    EXPECT_EQ(different.size(), i + 1);
  }
  EXPECT_EQ(connections.calling_connections(), 9U);
}

TEST_F(ConnectionTest, a_connection_that_is_given_back_is_used_again) {
  HostConnections connections = host("test:///default");
  std::vector<std::shared_ptr<Connection>> calls;
  for (int i = 0; i < 4; ++i) calls.push_back(connections.calling().value());
  _virConnect* const freed = calls.back()->get();
  calls.pop_back();
  calls.push_back(connections.calling().value());
  EXPECT_EQ(calls.back()->get(), freed);
  EXPECT_EQ(connections.calling_connections(), 4U);
}

TEST_F(ConnectionTest, connections_that_are_opened_ahead_are_used) {
  HostConnections connections = host("test:///default");
  using namespace std::chrono_literals;
  ASSERT_TRUE(connections.open_ahead(3, 1min));
  EXPECT_EQ(connections.calling_connections(), 3U);
  ASSERT_TRUE(connections.open_ahead(2, 1min));
  ASSERT_TRUE(connections.open_ahead(9, 0s));  // no time for any
  std::vector<std::shared_ptr<Connection>> calls;
  for (int i = 0; i < 3; ++i) calls.push_back(connections.calling().value());
  EXPECT_EQ(connections.calling_connections(), 3U);
  calls.push_back(connections.calling().value());
  EXPECT_EQ(connections.calling_connections(), 4U);
}

TEST_F(ConnectionTest, a_host_that_is_asked_is_listened_to) {
  executor_.adopt([&] {
    const auto board = std::make_shared<EventBoard>(executor_, sleeper_);
    HostConnections connections("host0", "test:///default", HostId{7}, board);
    const auto inbox = board->subscribe("test");
    suspend((*connections.calling())->get());
    EXPECT_TRUE(resume(connections, "test").has_value());
    DomainEvent event;
    EXPECT_EQ(inbox->next(clock_.now() + Duration::seconds(30), event), Wake::ready);
  });
}

TEST_F(ConnectionTest, a_host_that_cannot_be_reached_is_named_with_its_uri) {
  HostConnections connections = host("qemu+unix:///system?socket=/nonexistent/libvirt-sock");
  for (const auto& result : {connections.listening(), connections.calling()}) {
    ASSERT_FALSE(result.has_value());
    EXPECT_THAT(result.error().reason,
                testing::StartsWith("host0 cannot be reached: "
                                    "qemu+unix:///system?socket=/nonexistent/libvirt-sock: "));
  }
  const auto ahead = connections.open_ahead(2, std::chrono::minutes(1));
  ASSERT_FALSE(ahead.has_value());
  EXPECT_THAT(ahead.error().reason, testing::StartsWith("host0 cannot be reached: "));
}

TEST_F(ConnectionTest, a_domain_is_looked_at) {
  HostConnections connections = host("test:///default");
  const auto state = look_at(connections, "test");
  ASSERT_TRUE(state.has_value()) << state.error().reason;
  EXPECT_TRUE(state->active);
  EXPECT_TRUE(state->running);
  EXPECT_FALSE(state->sends);
  EXPECT_FALSE(state->receives);
  EXPECT_FALSE(state->mark);
  EXPECT_TRUE(read_domain(state->xml).has_value());
}

TEST_F(ConnectionTest, a_domain_that_is_not_there_is_no_error) {
  HostConnections connections = host("test:///default");
  const auto state = look_at(connections, "nobody");
  ASSERT_TRUE(state.has_value()) << state.error().reason;
  EXPECT_FALSE(state->active);
}

TEST_F(ConnectionTest, a_mark_is_kept_with_the_domain_until_it_is_removed) {
  HostConnections connections = host("test:///default");
  DomainMark mark{"leave-003", Phase::migration, "host0", "host1", {}};
  mark.take(DeviceKind::ivshmem, "<shmem name='a & b'/>", "host0");
  ASSERT_TRUE(write_mark(connections, "test", mark).has_value());
  const auto marked = look_at(connections, "test");
  ASSERT_TRUE(marked->mark);
  EXPECT_EQ(marked->mark->run, "leave-003");
  ASSERT_NE(marked->mark->find(DeviceKind::ivshmem), nullptr);
  EXPECT_EQ(marked->mark->find(DeviceKind::ivshmem)->xml, "<shmem name='a & b'/>");
  ASSERT_TRUE(write_mark(connections, "test", std::nullopt).has_value());
  EXPECT_FALSE(look_at(connections, "test")->mark);
  EXPECT_TRUE(write_mark(connections, "test", std::nullopt).has_value());  // once more does no harm
}

TEST_F(ConnectionTest, events_of_a_domain_reach_its_inbox) {
  executor_.adopt([&] {
    const auto board = std::make_shared<EventBoard>(executor_, sleeper_);
    HostConnections connections("host0", "test:///default", HostId{7}, board);
    const auto inbox = board->subscribe("test");
    ASSERT_TRUE(connections.listening().has_value());
    EXPECT_FALSE(resume(connections, "test").has_value());  // it runs
    suspend((*connections.listening())->get());
    DomainEvent event;
    ASSERT_EQ(inbox->next(clock_.now() + Duration::seconds(30), event), Wake::ready);
    EXPECT_EQ(event.kind, DomainEvent::Kind::state_changed);
    EXPECT_EQ(event.host, HostId{7});
    EXPECT_FALSE(look_at(connections, "test")->running);
    EXPECT_TRUE(resume(connections, "test").has_value());
    EXPECT_TRUE(look_at(connections, "test")->running);
  });
}

}  // namespace
}  // namespace ferry
