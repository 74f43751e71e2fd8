#include "core/scenario/references.hpp"

#include <gtest/gtest.h>

namespace ferry {
namespace {

const std::vector<NamedGroup> groups = {
    {"host", 12, true}, {"spare", 1, false}, {"rack1-", 3, true}, {"big2", 1, false}};

std::string names(std::string_view reference) {
  const NameTable table("host", groups);
  const auto ranges = table.resolve(reference);
  if (!ranges) return "error: " + ranges.error().message;
  std::string text;
  for (const std::uint32_t item : ranges->items()) text += table.item_name(item) + " ";
  return text;
}

TEST(References, name_items_by_group_number_range_and_list) {
  EXPECT_EQ(names("spare"), "spare ");
  EXPECT_EQ(names("host3"), "host3 ");
  EXPECT_EQ(names("host11"), "host11 ");
  EXPECT_EQ(names("host[0-2]"), "host0 host1 host2 ");
  EXPECT_EQ(names("host[5,0,7-8]"), "host5 host0 host7 host8 ");
  EXPECT_EQ(names("rack1-2"), "rack1-2 ");
  EXPECT_EQ(names("rack1-"), "rack1-0 rack1-1 rack1-2 ");
  EXPECT_EQ(names("big2"), "big2 ");
  EXPECT_EQ(names("big2, host[1,2] ,spare"), "big2 host1 host2 spare ");
}

TEST(References, with_a_star_go_by_name_and_not_by_the_order_of_the_file) {
  EXPECT_EQ(names("*").substr(0, 12), "big2 host0 h");
  const NameTable table("VM", {{"vm10", 1, false}, {"vm9", 1, false}});
  const ItemRanges all = table.all();
  EXPECT_EQ(table.item_name(all.items().front()), "vm9");
}

TEST(References, that_lead_nowhere_say_what_there_is) {
  const std::string there = "host[0-11], spare, rack1-[0-2], big2";
  EXPECT_EQ(names("hst"),
            "error: there is no host 'hst'; did you mean 'host'? There are: " + there);
  EXPECT_EQ(names("x"), "error: there is no host 'x'; there are: " + there);
  EXPECT_EQ(names("host12"), "error: there is no host host12; host has count 12: host0 to host11");
  EXPECT_EQ(names("host03"),
            "error: there is no host 'host03'; did you mean 'host'? There are: " + there);
  EXPECT_EQ(names("host[2-1]"), "error: the range ends before it starts; write host[1-2]");
  EXPECT_EQ(names("host[0-12]"),
            "error: there is no host host12; host has count 12: host0 to host11");
  EXPECT_EQ(names("host[]"), "error: '' is no range of numbers; write host[0-3] or host[0,2,5-7]");
  EXPECT_EQ(names("host[1-2-3]"),
            "error: '1-2-3' is no range of numbers; write host[0-3] or host[0,2,5-7]");
  EXPECT_EQ(names("spare[0]"), "error: 'spare' is a single host without a count; write spare");
  EXPECT_EQ(names("host[1-3],host2"), "error: host2 is named twice; name each host once");
  EXPECT_EQ(names("*,host2"), "error: host2 is named twice; name each host once");
  EXPECT_EQ(names(""),
            "error: '' names no hosts; write a name, with numbers as in host[0-3]; "
            "there are: " +
                there);
}

TEST(References, keep_their_cost_to_the_length_of_their_text) {
  const NameTable table("VM", {{"vm", 1'000'000, true}});
  const auto ranges = table.resolve("vm");
  ASSERT_TRUE(ranges);
  EXPECT_EQ(ranges->ranges().size(), 1U);
  EXPECT_EQ(ranges->size(), 1'000'000U);
  EXPECT_EQ(ranges->items(3), (std::vector<std::uint32_t>{0, 1, 2}));
}

TEST(Names, collide_when_two_groups_have_an_item_of_one_name) {
  const auto collide = [](std::vector<NamedGroup> these) {
    std::string text;
    for (const auto& collision : NameTable("VM", std::move(these)).collisions()) {
      text += collision.name + " ";
    }
    return text;
  };
  EXPECT_EQ(collide({{"a", 1, false}, {"b", 4, true}}), "");
  EXPECT_EQ(collide({{"a", 1, false}, {"a", 4, true}}), "a ");
  EXPECT_EQ(collide({{"vm3", 1, false}, {"vm", 4, true}}), "vm3 ");
  EXPECT_EQ(collide({{"vm4", 1, false}, {"vm", 4, true}}), "");
  EXPECT_EQ(collide({{"vm03", 1, false}, {"vm", 4, true}}), "");
  // vm1 of count 2 begins with vm10, which vm of count 11 has too.
  EXPECT_EQ(collide({{"vm", 11, true}, {"vm1", 2, true}}), "vm10 ");
  EXPECT_EQ(collide({{"vm", 10, true}, {"vm1", 2, true}}), "");
}

}  // namespace
}  // namespace ferry
