// Requests as iproute2 6.1 sends them (`strace -e write=3 ip link set dev lo vf 3 ...`), and
// answers.
#include "hw_backend/host/link_messages.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include <sstream>

namespace ferry::host {
namespace {

using testing::ElementsAre;

std::vector<std::byte> bytes(const std::string& hexadecimal) {
  std::vector<std::byte> all;
  std::istringstream in(hexadecimal);
  for (unsigned each = 0; in >> std::hex >> each;) all.push_back(static_cast<std::byte>(each));
  return all;
}

constexpr std::uint32_t sequence = 0x6b022f71;
const std::string link_header =
    "10 00 05 00 71 2f 02 6b 00 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00 ";

TEST(LinkMessages, a_change_of_guids_is_what_iproute2_sends) {
  const auto node = link_changes(1, {.index = 3, .node_guid = 0x0011223344556677}, sequence);
  EXPECT_THAT(node, ElementsAre(bytes("3c 00 00 00 " + link_header +
                                      "1c 00 16 00 18 00 01 00 14 00 0a 00 03 00 00 00 00 00 00 00 "
                                      "77 66 55 44 33 22 11 00")));
  const auto port = link_changes(1, {.index = 3, .port_guid = 0x8011223344556677}, sequence);
  EXPECT_THAT(port, ElementsAre(bytes("3c 00 00 00 " + link_header +
                                      "1c 00 16 00 18 00 01 00 14 00 0b 00 03 00 00 00 00 00 00 00 "
                                      "77 66 55 44 33 22 11 80")));
}

TEST(LinkMessages, a_change_of_the_links_state_is_what_iproute2_sends) {
  const auto state = [](Policy policy) {
    return link_changes(1, {.index = 3, .policy = policy}, sequence);
  };
  const std::string message =
      "34 00 00 00 " + link_header + "14 00 16 00 10 00 01 00 0c 00 05 00 03 00 00 00 ";
  EXPECT_THAT(state(Policy::follow), ElementsAre(bytes(message + "00 00 00 00")));
  EXPECT_THAT(state(Policy::up), ElementsAre(bytes(message + "01 00 00 00")));
  EXPECT_THAT(state(Policy::down), ElementsAre(bytes(message + "02 00 00 00")));
}

TEST(LinkMessages, each_thing_is_changed_by_a_message_of_its_own) {
  const auto messages = link_changes(
      1, {.index = 0, .node_guid = 1U, .port_guid = 2U, .policy = Policy::up}, sequence);
  EXPECT_EQ(messages.size(), 3U);
}

TEST(LinkMessages, a_question_asks_for_functions_by_the_interfaces_name) {
  EXPECT_EQ(link_question("ib0", sequence),
            bytes("30 00 00 00 12 00 01 00 71 2f 02 6b 00 00 00 00 "
                  "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 "
                  "08 00 1d 00 01 00 00 00 08 00 03 00 69 62 30 00"));
}

/// An interface with a function 5 (a MAC address, link state, both GUIDs), and something else.
std::vector<std::byte> answer() {
  return bytes(
      "80 00 00 00 10 00 00 00 71 2f 02 6b 00 00 00 00 "  // RTM_NEWLINK
      "00 00 20 00 04 00 00 00 00 00 00 00 00 00 00 00 "  // interface 4
      "08 00 03 00 69 62 30 00 "                          // its name
      "58 00 16 80 "                                      // IFLA_VFINFO_LIST
      "54 00 01 80 "                                      // IFLA_VF_INFO
      "10 00 01 00 05 00 00 00 00 11 22 33 44 55 00 00 "  // IFLA_VF_MAC, here of 8 bytes
      "0c 00 05 00 05 00 00 00 02 00 00 00 "              // IFLA_VF_LINK_STATE: disable
      "14 00 0a 00 05 00 00 00 00 00 00 00 01 00 00 00 00 00 00 ab "
      "14 00 0b 00 05 00 00 00 00 00 00 00 02 00 00 00 00 00 00 cd "
      "0c 00 63 00 ff ff ff ff ff ff ff ff");
}

TEST(LinkMessages, functions_are_read_from_an_answer) {
  const LinkAnswer read = read_link_answer(answer(), sequence);
  EXPECT_TRUE(read.complete);
  EXPECT_EQ(read.error, 0);
  EXPECT_EQ(read.interface_index, 4U);
  EXPECT_THAT(read.functions, ElementsAre(LinkFunction{.index = 5,
                                                       .node_guid = 0xab00000000000001,
                                                       .port_guid = 0xcd00000000000002,
                                                       .policy = Policy::down}));
}

TEST(LinkMessages, an_answer_to_another_question_is_none) {
  EXPECT_FALSE(read_link_answer(answer(), sequence + 1).complete);
}

TEST(LinkMessages, an_error_is_the_kernels) {
  const LinkAnswer read = read_link_answer(
      bytes("14 00 00 00 02 00 00 00 71 2f 02 6b 00 00 00 00 a1 ff ff ff"), sequence);
  EXPECT_TRUE(read.complete);
  EXPECT_EQ(read.error, EOPNOTSUPP);
}

TEST(LinkMessages, bytes_that_are_cut_off_or_garbled_are_read_without_harm) {
  const std::vector<std::byte> whole = answer();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::vector<std::byte> part(whole.begin(), whole.begin() + static_cast<long>(size));
    EXPECT_TRUE(read_link_answer(part, sequence).functions.empty());
  }
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (const unsigned value : {0x00U, 0x01U, 0x7fU, 0xffU}) {
      std::vector<std::byte> garbled = whole;
      garbled[at] = static_cast<std::byte>(value);
      EXPECT_LE(read_link_answer(garbled, sequence).functions.size(), 8U);
    }
  }
}

TEST(KernelLinks, an_interface_without_functions_has_none_and_one_that_is_not_there_is_told) {
  KernelLinks links;
  const auto none = links.functions_of("lo");
  ASSERT_TRUE(none) << none.error().reason;
  EXPECT_TRUE(none->empty());
  const auto missing = links.functions_of("ferry-none0");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().reason,
            "interface ferry-none0 does not tell its functions: No such device");
  EXPECT_FALSE(links.change("lo", {.index = 0, .node_guid = 1U}));
  EXPECT_FALSE(links.change("ferry-none0", {.index = 0, .node_guid = 1U}));
}

}  // namespace
}  // namespace ferry::host
