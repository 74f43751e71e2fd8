// Requests that overtake each other, repeat, or come from a controller that is gone.
#include "core/migration/timed_ranks.hpp"

#include <gtest/gtest.h>

#include "core/record/run_records.hpp"
#include "tests/framework/session_run.hpp"

namespace ferry {
namespace {

constexpr VmId vm0{0}, vm1{1};

class RequestsInWorlds : public Contract {
 protected:
  void run_case(const std::function<void(World&, TimedRanks&)>& body) const {
    SessionCase session;
    GetParam()->run(session.cluster.instance, session.cluster.platform, [&](World& world) {
      RunRecords records(world.executor.make_mutex());
      TimedRanks ranks(world, session.cluster.instance, session.cluster.platform.mpi, records);
      body(world, ranks);
    });
  }
  static SuspendRequest request(std::uint64_t epoch, VmId moving) {
    return {JobId{0}, epoch, {moving}};
  }
  static bool suspends(World& world, TimedRanks& ranks, const SuspendRequest& request) {
    const Result<> done = ranks.suspend(request, after(world, ms(5000)));
    if (!done) {
      EXPECT_EQ(done.error().kind, FailureKind::refused) << done.error().reason;
    }
    return done.has_value();
  }
  static void reactivate(World& world, TimedRanks& ranks, const SuspendRequest& request) {
    EXPECT_TRUE(succeeded(ranks.reactivate(request, after(world, ms(5000)))));
  }
};
FERRY_FOR_EVERY_WORLD(RequestsInWorlds);

TEST_P(RequestsInWorlds, a_request_that_was_overtaken_is_taken_once) {
  run_case([](World& world, TimedRanks& ranks) {
    EXPECT_TRUE(suspends(world, ranks, request(2, vm1)));
    EXPECT_TRUE(suspends(world, ranks, request(1, vm0)));
    EXPECT_FALSE(suspends(world, ranks, request(1, vm0)));
    EXPECT_FALSE(suspends(world, ranks, request(2, vm1)));
    reactivate(world, ranks, request(1, vm0));
    reactivate(world, ranks, request(2, vm1));
    EXPECT_FALSE(suspends(world, ranks, request(1, vm0)));
    EXPECT_FALSE(suspends(world, ranks, request(2, vm1)));
    EXPECT_TRUE(suspends(world, ranks, request(3, vm1)));
    reactivate(world, ranks, request(3, vm1));
  });
}

TEST_P(RequestsInWorlds, one_that_comes_after_its_epoch_was_closed_is_refused) {
  run_case([](World& world, TimedRanks& ranks) {
    // A controller asked for 1 and 2 and went down; of 1 nothing came. The next one closes both.
    EXPECT_TRUE(suspends(world, ranks, request(2, vm1)));
    reactivate(world, ranks, request(1, vm0));
    reactivate(world, ranks, request(2, vm1));
    EXPECT_FALSE(suspends(world, ranks, request(1, vm0)));
    // The same where no later request came either.
    reactivate(world, ranks, request(3, vm0));
    EXPECT_FALSE(suspends(world, ranks, request(3, vm0)));
    EXPECT_TRUE(suspends(world, ranks, request(4, vm0)));
    reactivate(world, ranks, request(4, vm0));
  });
}

}  // namespace
}  // namespace ferry
