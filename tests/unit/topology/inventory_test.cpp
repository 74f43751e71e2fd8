#include "core/topology/inventory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/contract/small_cluster.hpp"

namespace ferry {
namespace {

using testing::ElementsAre;

class InventoryTest : public testing::Test {
 protected:
  SmallCluster cluster_ = small_cluster();
  Instance& instance = cluster_.instance;
};

TEST_F(InventoryTest, at_the_start_every_vm_holds_its_host) {
  const Inventory inventory(instance);
  EXPECT_THAT(inventory.hosts_of(VmId{0}), ElementsAre(HostId{0}));
  EXPECT_THAT(inventory.hosts_of(VmId{3}), ElementsAre(HostId{2}));
  EXPECT_EQ(inventory.free(HostId{0}).virtual_functions, 2);
  EXPECT_EQ(inventory.free(HostId{0}).cores, 12);
  EXPECT_EQ(inventory.free(HostId{0}).memory, Bytes::gibi(32) - Bytes::mebi(128));
  EXPECT_EQ(inventory.free(HostId{3}).virtual_functions, 4);
}

TEST_F(InventoryTest, a_reservation_takes_all_four_and_a_release_gives_all_back) {
  Inventory inventory(instance);
  inventory.reserve(VmId{0}, HostId{3});
  EXPECT_EQ(inventory.free(HostId{3}).memory, Bytes::gibi(32) - Bytes::mebi(64));
  EXPECT_EQ(inventory.free(HostId{3}).cores, 14);
  EXPECT_EQ(inventory.free(HostId{3}).virtual_functions, 3);
  EXPECT_EQ(inventory.free(HostId{3}).ivshmem, Bytes::gibi(1) - Bytes::mebi(1));
  EXPECT_THAT(inventory.hosts_of(VmId{0}), ElementsAre(HostId{0}, HostId{3}));
  inventory.release(VmId{0}, HostId{3});
  EXPECT_EQ(inventory.free(HostId{3}).memory, Bytes::gibi(32));
  EXPECT_EQ(inventory.free(HostId{3}).cores, 16);
  EXPECT_EQ(inventory.free(HostId{3}).virtual_functions, 4);
  EXPECT_EQ(inventory.free(HostId{3}).ivshmem, Bytes::gibi(1));
}

TEST_F(InventoryTest, a_refusal_says_what_is_missing) {
  instance.hosts[1].memory = Bytes::mebi(100);
  instance.hosts[2].virtual_functions = 1;
  instance.hosts[3].cores = 1;
  {
    const Inventory inventory(instance);
    EXPECT_EQ(inventory.refusal(VmId{0}, HostId{0}), "host0 is where it runs");
    EXPECT_EQ(inventory.refusal(VmId{0}, HostId{1}), "host1 has 36MiB of memory free, not 64MiB");
    EXPECT_EQ(inventory.refusal(VmId{0}, HostId{2}),
              "host2 has no free virtual function (it has 1)");
    EXPECT_EQ(inventory.refusal(VmId{0}, HostId{3}), "host3 has 1 cores free, not 2");
  }
  instance.hosts[3].cores = 2;
  instance.hosts[3].ivshmem = Bytes::kibi(512);
  const Inventory inventory(instance);
  EXPECT_EQ(inventory.refusal(VmId{0}, HostId{3}), "host3 has 512KiB of IVShmem free, not 1MiB");
}

TEST_F(InventoryTest, virtual_functions_are_given_out_from_the_lowest_and_never_twice) {
  Inventory inventory(instance);
  EXPECT_EQ(inventory.virtual_function(VmId{0}, HostId{0}), 0U);
  EXPECT_EQ(inventory.virtual_function(VmId{1}, HostId{0}), 1U);
  inventory.reserve(VmId{2}, HostId{0});
  EXPECT_EQ(inventory.virtual_function(VmId{2}, HostId{0}), 2U);
  inventory.release(VmId{1}, HostId{0});
  inventory.reserve(VmId{3}, HostId{0});
  EXPECT_EQ(inventory.virtual_function(VmId{3}, HostId{0}), 1U);
}

TEST_F(InventoryTest, a_broken_virtual_function_is_replaced_while_another_is_free) {
  instance.hosts[2].virtual_functions = 2;
  Inventory inventory(instance);
  EXPECT_TRUE(inventory.replace_virtual_function(VmId{3}, HostId{2}));
  EXPECT_EQ(inventory.virtual_function(VmId{3}, HostId{2}), 1U);
  EXPECT_FALSE(inventory.replace_virtual_function(VmId{3}, HostId{2}));
  EXPECT_EQ(inventory.free(HostId{2}).virtual_functions, 0);
}

RC_GTEST_PROP(InventoryProperty, any_order_of_reservations_and_releases_leaks_nothing, ()) {
  const SmallCluster cluster = small_cluster();
  Inventory inventory(cluster.instance);
  const auto steps = *rc::gen::container<std::vector<std::pair<std::uint32_t, std::uint32_t>>>(
      rc::gen::pair(rc::gen::inRange(0U, 4U), rc::gen::inRange(0U, 4U)));
  for (const auto& [vm, host] : steps) {
    if (inventory.holds(VmId{vm}, HostId{host})) {
      inventory.release(VmId{vm}, HostId{host});
    } else if (inventory.fits(VmId{vm}, HostId{host})) {
      inventory.reserve(VmId{vm}, HostId{host});
    }
  }
  for (std::uint32_t vm = 0; vm < 4; ++vm) {
    for (const HostId host : inventory.hosts_of(VmId{vm})) inventory.release(VmId{vm}, host);
  }
  for (std::uint32_t host = 0; host < 4; ++host) {
    const HostSpec& spec = cluster.instance.hosts[host];
    const Free& free = inventory.free(HostId{host});
    RC_ASSERT(free.memory == spec.memory);
    RC_ASSERT(free.cores == spec.cores);
    RC_ASSERT(free.virtual_functions == spec.virtual_functions);
    RC_ASSERT(free.ivshmem == spec.ivshmem);
  }
}

TEST(Inventory, a_closed_host_takes_nobody_and_gives_back_what_it_holds) {
  const Instance instance = small_cluster().instance;
  Inventory inventory(instance);
  const VmId vm0{0};
  const HostId host0{0};
  const HostId host3{3};
  inventory.reserve(vm0, host3);
  inventory.close(host3);
  EXPECT_FALSE(inventory.fits(VmId{1}, host3));
  EXPECT_EQ(inventory.refusal(VmId{1}, host3), "host3 does not answer");
  inventory.release(vm0, host3);
  EXPECT_EQ(inventory.free(host3).memory, instance.hosts[3].memory);
  EXPECT_EQ(inventory.hosts_of(vm0), std::vector<HostId>{host0});
}

}  // namespace
}  // namespace ferry
