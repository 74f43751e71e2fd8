#include <gtest/gtest.h>

#include <algorithm>

#include "core/record/link_usage.hpp"

namespace ferry {
namespace {

constexpr Bandwidth gigabyte_per_second = Bandwidth::bytes_per_second(1e9);

LinkUsage::Link link(const std::string& name, std::vector<Bytes> carried) {
  return {"ethernet", name, gigabyte_per_second, std::move(carried)};
}

TEST(LinkUsageTables, the_most_loaded_link_comes_first_and_shares_are_of_its_bandwidth) {
  LinkUsage usage;
  usage.interval = Duration::milliseconds(2);
  usage.links = {link("host10 out", {Bytes(0), Bytes(1'000'000)}),
                 link("host2 out", {Bytes(0), Bytes(1'000'000)}),
                 link("host1 in", {Bytes(0), Bytes(1'900'000), Bytes(0), Bytes(500'000)})};
  // From the second interval to the fourth something was sent: 6 ms.
  EXPECT_EQ(links_csv(usage),
            "network,link,bandwidth_bytes_per_second,bytes,mean_utilisation,peak_utilisation,"
            "full_seconds\n"
            "ethernet,host1 in,1000000000,2400000,0.4000,0.9500,0.002000000\n"
            "ethernet,host2 out,1000000000,1000000,0.1667,0.5000,0.000000000\n"
            "ethernet,host10 out,1000000000,1000000,0.1667,0.5000,0.000000000\n");
  EXPECT_EQ(link_usage_csv(usage),
            "network,link,start_seconds,end_seconds,utilisation\n"
            "ethernet,host1 in,0.002000000,0.004000000,0.9500\n"
            "ethernet,host1 in,0.006000000,0.008000000,0.2500\n"
            "ethernet,host2 out,0.002000000,0.004000000,0.5000\n"
            "ethernet,host10 out,0.002000000,0.004000000,0.5000\n");
}

TEST(LinkUsageTables, have_only_headers_if_nothing_was_sent) {
  const LinkUsage usage;
  EXPECT_EQ(link_usage_csv(usage), "network,link,start_seconds,end_seconds,utilisation\n");
  EXPECT_EQ(links_csv(usage).find('\n'), links_csv(usage).size() - 1);
}

TEST(LinkUsageTables, have_every_link_but_only_the_busiest_over_time) {
  LinkUsage usage;
  usage.interval = Duration::milliseconds(2);
  for (int i = 0; i < 100; ++i) {
    usage.links.push_back(link("host" + std::to_string(i) + " out", {Bytes(1000U + i)}));
  }
  const auto lines = [](const std::string& text) {
    return std::count(text.begin(), text.end(), '\n');
  };
  EXPECT_EQ(lines(links_csv(usage)), 101);
  EXPECT_EQ(lines(link_usage_csv(usage)), 65);
  EXPECT_NE(link_usage_csv(usage).find("host99 out"), std::string::npos);
  EXPECT_EQ(link_usage_csv(usage).find("host35 out"), std::string::npos);
}

}  // namespace
}  // namespace ferry
