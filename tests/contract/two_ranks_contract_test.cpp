// The smallest run that touches every port: a VM moves while two ranks talk.
#include <algorithm>
#include <span>

#include "tests/contract/contract.hpp"
#include "tests/contract/rank_end.hpp"

namespace ferry {
namespace {

class TwoRanksContract : public Contract {};
FERRY_FOR_EVERY_WORLD(TwoRanksContract);

TEST_P(TwoRanksContract, one_migration_and_one_message_between_two_ranks) {
  run([](World& world) {
    constexpr TimePoint never = TimePoint::never();
    constexpr VmId moving{0};
    constexpr VmId staying{2};
    constexpr HostId destination{3};
    Hypervisor& hypervisor = world.hypervisor;

    const auto mutex = world.executor.make_mutex();
    const auto moved = world.executor.make_condition();
    bool arrived = false;
    const std::string text = "across the move";
    const std::span<const std::byte> text_bytes = std::as_bytes(std::span(text));

    const RankEnd receiver(world, inside(staying));
    const RankEnd sender(world, inside(moving));
    ScopedTask rank1(world, "rank 1", [&] {
      const Arrival* const got = receiver.receive();
      ASSERT_NE(got, nullptr);
      EXPECT_TRUE(std::ranges::equal(got->body, text_bytes));
      EXPECT_EQ(hypervisor.inspect(moving).host, destination);  // it was sent after the move
    });
    ScopedTask rank0(world, "rank 0", [&] {
      {
        const Lock lock(*mutex);
        while (!arrived) ASSERT_EQ(moved->wait_until(*mutex, never), Wake::ready);
      }
      sender.post(receiver.address(), Channel::sriov, 0, {text_bytes.begin(), text_bytes.end()});
    });

    RoundLog log;
    world.processor.set_ranks_running(moving, false);
    ASSERT_TRUE(succeeded(hypervisor.set_status(moving, Phase::set_pre_migration, never)));
    ASSERT_TRUE(succeeded(hypervisor.detach(moving, DeviceKind::virtual_function, never)));
    ASSERT_TRUE(succeeded(hypervisor.detach(moving, DeviceKind::ivshmem, never)));
    const auto report = hypervisor.migrate(moving, destination, {}, log, never);
    ASSERT_TRUE(succeeded(report));
    ASSERT_TRUE(succeeded(hypervisor.attach(moving, DeviceKind::virtual_function, never)));
    ASSERT_TRUE(succeeded(hypervisor.attach(moving, DeviceKind::ivshmem, never)));
    ASSERT_TRUE(succeeded(hypervisor.set_status(moving, Phase::set_post_migration, never)));
    world.processor.set_ranks_running(moving, true);
    {
      const Lock lock(*mutex);
      arrived = true;
      moved->notify_all();
    }
    rank0.join();
    rank1.join();

    const VmInspection found = hypervisor.inspect(moving);
    EXPECT_EQ(found.host, destination);
    EXPECT_TRUE(found.running);
    EXPECT_TRUE(found.virtual_function);
    EXPECT_TRUE(found.ivshmem);
    EXPECT_EQ(static_cast<std::size_t>(report->rounds), log.rounds.size());
    EXPECT_EQ(hypervisor.inspect(staying).host, HostId{1});
  });
}

}  // namespace
}  // namespace ferry
