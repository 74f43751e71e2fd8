#include "hw_backend/libvirt/domain_metadata.hpp"

#include <gtest/gtest.h>

#include "tests/unit/hw_backend/guest_xml.hpp"

namespace ferry {
namespace {

TEST(DomainMetadata, a_mark_is_read_as_it_was_written) {
  DomainMark mark{"run <1> & 'two'", Phase::detach_vf, "host0", "host1", {}};
  mark.take(DeviceKind::virtual_function, nic_xml, "host <0>");
  mark.take(DeviceKind::ivshmem, shmem_xml, "");
  mark.taken[1].gone = true;
  const auto read = read_mark(to_xml(mark));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->run, mark.run);
  EXPECT_EQ(read->phase, Phase::detach_vf);
  EXPECT_EQ(read->source, "host0");
  EXPECT_EQ(read->destination, "host1");
  ASSERT_NE(read->find(DeviceKind::virtual_function), nullptr);
  EXPECT_EQ(read->find(DeviceKind::virtual_function)->xml, nic_xml);
  ASSERT_NE(read->find(DeviceKind::ivshmem), nullptr);
  EXPECT_EQ(read->find(DeviceKind::ivshmem)->xml, shmem_xml);
  EXPECT_EQ(read->find(DeviceKind::virtual_function)->host, "host <0>");
  EXPECT_EQ(read->find(DeviceKind::ivshmem)->host, "");
  EXPECT_FALSE(read->find(DeviceKind::virtual_function)->gone);
  EXPECT_TRUE(read->find(DeviceKind::ivshmem)->gone);
}

TEST(DomainMetadata, libvirt_may_return_it_in_its_namespace) {
  const auto read = read_mark(
      "<ferry:move xmlns:ferry='urn:ferry:migration:1' run='r' phase='migration' source='host0'>"
      "<ferry:taken device='ivshmem'>&lt;shmem/&gt;</ferry:taken></ferry:move>");
  ASSERT_TRUE(read);
  EXPECT_EQ(read->phase, Phase::migration);
  EXPECT_EQ(read->destination, "");
  ASSERT_NE(read->find(DeviceKind::ivshmem), nullptr);
  EXPECT_EQ(read->find(DeviceKind::ivshmem)->xml, "<shmem/>");
  EXPECT_EQ(read->find(DeviceKind::virtual_function), nullptr);
}

TEST(DomainMetadata, what_is_taken_twice_is_kept_once_and_can_be_given_back) {
  DomainMark mark;
  mark.take(DeviceKind::ivshmem, "<shmem name='a'/>", "host0");
  mark.take(DeviceKind::ivshmem, "<shmem name='b'/>", "host1");
  ASSERT_EQ(mark.taken.size(), 1U);
  EXPECT_EQ(mark.taken[0].xml, "<shmem name='b'/>");
  EXPECT_EQ(mark.taken[0].host, "host1");
  mark.give_back(DeviceKind::virtual_function);
  EXPECT_EQ(mark.taken.size(), 1U);
  mark.give_back(DeviceKind::ivshmem);
  EXPECT_TRUE(mark.taken.empty());
}

TEST(DomainMetadata, a_device_may_still_go_only_where_it_was_asked_to_and_before_the_migration) {
  struct Case {
    Phase phase;
    const char* taken_on;  ///< "": not said
    const char* runs_on;
    bool may;
  };
  for (const Case& each : std::initializer_list<Case>{
           {Phase::detach_vf, "host0", "host0", true},
           {Phase::remove_ivshmem, "host0", "host0", true},
           {Phase::detach_vf, "", "host0", true},
           {Phase::detach_vf, "", "host1", false},
           {Phase::detach_vf, "host0", "host1", false},
           // On the way back it is taken away on the destination.
           {Phase::detach_vf, "host1", "host1", true},
           {Phase::detach_vf, "host1", "host0", false},
           {Phase::migration, "host0", "host0", false},
           {Phase::migration, "host0", "host1", false},
           {Phase::set_post_migration, "host0", "host0", false},
       }) {
    DomainMark mark{"r", each.phase, "host0", "host1", {}};
    mark.take(DeviceKind::virtual_function, nic_xml, each.taken_on);
    EXPECT_EQ(mark.may_still_unplug(DeviceKind::virtual_function, each.runs_on), each.may)
        << to_name(each.phase) << ", taken on '" << each.taken_on << "', runs on " << each.runs_on;
    EXPECT_FALSE(mark.may_still_unplug(DeviceKind::ivshmem, each.runs_on));  // was not taken
    mark.taken[0].gone = true;
    EXPECT_FALSE(mark.may_still_unplug(DeviceKind::virtual_function, each.runs_on));
  }
}

TEST(DomainMetadata, what_is_no_mark_is_none) {
  for (const char* text : {"", "<move", "<other/>", "<move run='r' phase='sleep'/>"}) {
    EXPECT_FALSE(read_mark(text)) << text;
  }
}

}  // namespace
}  // namespace ferry
