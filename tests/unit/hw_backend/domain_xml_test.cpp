#include "hw_backend/libvirt/domain_xml.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/hw_backend/guest_xml.hpp"

namespace ferry {
namespace {

using testing::HasSubstr;
using testing::Not;

FunctionPool stand_ins(StandInNic nic = StandInNic::virtio) {
  FunctionPool pool;
  pool.bridge = "br1";
  pool.nic = nic;
  pool.count = 4;
  return pool;
}

FunctionPool functions() {
  FunctionPool pool;
  pool.pci = {"0000:81:00.[1-2]", {"0000:81:00.1", "0000:81:00.2"}};
  return pool;
}

TEST(DomainXml, a_domain_is_read_as_far_as_ferry_decides_by_it) {
  const auto facts =
      read_domain(guest_xml(nic_xml + shmem_xml + agent_xml("connected"),
                            "<memtune><hard_limit unit='KiB'>2097152</hard_limit></memtune>"));
  ASSERT_TRUE(facts.has_value());
  EXPECT_EQ(facts->name, "hpc-07");
  EXPECT_EQ(facts->type, "qemu");
  EXPECT_EQ(facts->memory, Bytes::mebi(160));
  EXPECT_EQ(facts->vcpus, 2U);
  EXPECT_EQ(facts->hard_limit, Bytes::gibi(2));
  EXPECT_EQ(facts->machine, "pc-q35-7.2");
  EXPECT_EQ(facts->architecture, "x86_64");
  EXPECT_EQ(facts->emulator, "/usr/bin/qemu-system-x86_64");
  EXPECT_EQ(facts->cpu_mode, "custom");
  EXPECT_TRUE(facts->agent_answers);
  ASSERT_EQ(facts->interfaces.size(), 1U);
  EXPECT_EQ(facts->interfaces[0].alias, "ua-vf0");
  EXPECT_EQ(facts->interfaces[0].bridge, "br0");
  EXPECT_EQ(facts->interfaces[0].mac, "52:54:00:00:00:01");
  ASSERT_EQ(facts->shared_memories.size(), 1U);
  EXPECT_EQ(facts->shared_memories[0].alias, "ua-shm0");
  EXPECT_EQ(facts->shared_memories[0].role, "");
}

TEST(DomainXml, units_of_memory_are_those_of_libvirt) {
  const auto memory = [](const std::string& element) {
    return read_domain("<domain><memory" + element + "</memory></domain>")->memory;
  };
  EXPECT_EQ(memory(">1024"), Bytes::mebi(1));
  EXPECT_EQ(memory(" unit='MiB'>2"), Bytes::mebi(2));
  EXPECT_EQ(memory(" unit='G'>1"), Bytes::gibi(1));
  EXPECT_EQ(memory(" unit='bytes'>7"), Bytes(7));
  EXPECT_EQ(memory(" unit='GB'>1"), Bytes(1'000'000'000));
  EXPECT_EQ(memory(" unit='pages'>1"), Bytes());  // not one of them
}

TEST(DomainXml, an_agent_that_has_not_opened_its_channel_does_not_answer) {
  EXPECT_FALSE(read_domain(guest_xml(agent_xml("disconnected")))->agent_answers);
  EXPECT_FALSE(read_domain(guest_xml(""))->agent_answers);
}

TEST(DomainXml, host_devices_are_told_with_their_place_on_the_host) {
  const auto facts = read_domain(guest_xml(
      hostdev_xml +
      "<hostdev mode='subsystem' type='usb'><source><address bus='1' device='2'/></source>"
      "<alias name='hostdev1'/></hostdev>"
      "<interface type='hostdev'><source><address type='pci' domain='0' bus='3' slot='0' "
      "function='2'/></source><alias name='net0'/></interface>"));
  ASSERT_EQ(facts->host_devices.size(), 3U);
  EXPECT_EQ(facts->host_devices[0].pci, "0000:03:00.1");
  EXPECT_EQ(facts->host_devices[1].pci, "");
  EXPECT_EQ(facts->host_devices[2].pci, "0000:03:00.2");
  EXPECT_TRUE(facts->interfaces.empty());
}

TEST(DomainXml, what_is_no_domain_is_a_failure) {
  for (const char* text : {"", "<domain>", "<network/>", "no XML"}) {
    EXPECT_FALSE(read_domain(text).has_value()) << text;
  }
}

TEST(DomainXml, a_device_is_found_by_its_alias) {
  const std::string guest = guest_xml(nic_xml + shmem_xml);
  EXPECT_THAT(find_device(guest, "ua-shm0").value_or(""), HasSubstr("ferry-shm0"));
  EXPECT_FALSE(find_device(guest, "ua-shm1"));
  EXPECT_FALSE(find_device(guest, ""));
}

TEST(DomainXml, a_stand_in_keeps_the_vms_mac_and_its_place_in_the_guest) {
  const FunctionPool pool = stand_ins();
  const auto xml = virtual_function_xml({&pool, ""}, "ua-vf0", nic_xml);
  ASSERT_TRUE(xml.has_value());
  EXPECT_THAT(*xml, HasSubstr("<source bridge=\"br1\"/>"));
  EXPECT_THAT(*xml, HasSubstr("52:54:00:00:00:01"));
  EXPECT_THAT(*xml, HasSubstr("<model type=\"virtio\"/>"));
  EXPECT_THAT(*xml, HasSubstr("bus=\"0x02\""));
  EXPECT_THAT(*xml, HasSubstr("<alias name=\"ua-vf0\"/>"));
  EXPECT_THAT(*xml, Not(HasSubstr("vnet0")));  // the tap device was the source host's
}

TEST(DomainXml, a_stand_in_takes_the_model_of_its_pool) {
  const FunctionPool pool = stand_ins(StandInNic::e1000e);
  EXPECT_THAT(virtual_function_xml({&pool, ""}, "ua-vf0", nic_xml).value_or(""),
              HasSubstr("<model type=\"e1000e\"/>"));
}

TEST(DomainXml, nothing_stands_in_for_a_device_that_is_no_nic) {
  const FunctionPool pool = stand_ins();
  const auto xml = virtual_function_xml({&pool, ""}, "ua-vf0", hostdev_xml);
  ASSERT_FALSE(xml.has_value());
  EXPECT_EQ(xml.error().kind, FailureKind::refused);
  EXPECT_EQ(
      xml.error().reason,
      "the device ua-vf0 is no <interface> with a MAC address, so no NIC can stand in for it; "
      "use pools of PCI functions, or plug in an <interface> before the move");
}

TEST(DomainXml, a_pci_function_is_assigned_as_a_managed_host_device) {
  const FunctionPool pool = functions();
  const auto xml = virtual_function_xml({&pool, "0000:81:00.2"}, "ua-vf0", hostdev_xml);
  EXPECT_EQ(xml.value_or(""),
            "<hostdev mode=\"subsystem\" type=\"pci\" managed=\"yes\">"
            "<source><address type=\"pci\" domain=\"0x0000\" bus=\"0x81\" slot=\"0x00\" "
            "function=\"0x2\"/></source><alias name=\"ua-vf0\"/>"
            "<address type=\"pci\" domain=\"0x0000\" bus=\"0x05\" slot=\"0x00\" function=\"0x0\"/>"
            "</hostdev>");
}

TEST(DomainXml, an_ethernet_function_keeps_its_mac) {
  const FunctionPool pool = functions();
  const auto xml = virtual_function_xml(
      {&pool, "0000:81:00.1"}, "ua-vf0",
      "<interface type='hostdev' managed='yes'><mac address='52:54:00:00:00:09'/>"
      "<source><address type='pci' domain='0' bus='3' slot='0' function='1'/></source>"
      "</interface>");
  EXPECT_THAT(xml.value_or(""), HasSubstr("52:54:00:00:00:09"));
  EXPECT_THAT(xml.value_or(""), HasSubstr("bus=\"0x81\""));
  EXPECT_THAT(xml.value_or(""), Not(HasSubstr("bus=\"3\"")));
}

TEST(DomainXml, text_of_the_cluster_file_is_escaped) {
  FunctionPool pool = stand_ins();
  pool.bridge = "b'\"><interface>&";
  const auto xml = virtual_function_xml({&pool, ""}, "ua-<&'\">", nic_xml);
  EXPECT_THAT(xml.value_or(""), Not(HasSubstr("<interface>&")));
  const auto device =
      find_device("<domain><devices>" + xml.value_or("") + "</devices></domain>", "ua-<&'\">");
  ASSERT_TRUE(device);
  EXPECT_EQ(
      read_domain("<domain><devices>" + *device + "</devices></domain>")->interfaces[0].bridge,
      pool.bridge);
}

TEST(DomainXml, shared_memory_is_plugged_as_it_was) {
  const auto xml = plugged_again_xml(shmem_xml);
  EXPECT_THAT(xml.value_or(""), HasSubstr("ferry-shm0"));
  EXPECT_THAT(xml.value_or(""), HasSubstr("bus=\"0x08\""));
  EXPECT_FALSE(plugged_again_xml("<shmem").has_value());
}

TEST(DomainXml, pci_addresses_are_written_in_one_way) {
  EXPECT_EQ(pci_text("0x0000", "0x03", "0x1f", "0x7"), "0000:03:1f.7");
  EXPECT_EQ(pci_text("", "3", "0", "1"), "0000:03:00.1");
  EXPECT_FALSE(pci_text("0", "256", "0", "0"));
  EXPECT_FALSE(pci_text("0", "0x", "0", "0"));
  EXPECT_FALSE(pci_text("0", "3", "0", "8"));
}

}  // namespace
}  // namespace ferry
