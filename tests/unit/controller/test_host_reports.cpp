// How a host is asked for its report, by its libvirt URI.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controller/cli/host_reports.hpp"

namespace ferry {
namespace {

using testing::ElementsAre;
using testing::Optional;

std::optional<std::vector<std::string>> command(const std::string& uri) {
  return report_command(uri, {.folder = {}, .program = "ferry-host", .beside = "/nowhere"});
}

TEST(HostReports, a_local_host_is_asked_without_ssh) {
  EXPECT_THAT(command("qemu:///system"), Optional(ElementsAre("ferry-host", "report", "--json")));
  EXPECT_THAT(command("qemu+unix:///system"),
              Optional(ElementsAre("ferry-host", "report", "--json")));
}

TEST(HostReports, ssh_gets_what_the_uri_says_and_takes_no_host_for_an_option) {
  EXPECT_THAT(command("qemu+ssh://node01/system"),
              Optional(ElementsAre("ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10",
                                   "--", "node01", "ferry-host", "report", "--json")));
  EXPECT_THAT(command("qemu+ssh://a%40b@[fe80::1]:2222/system?no_verify=0"),
              Optional(ElementsAre("ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10",
                                   "-p", "2222", "-l", "a@b", "--", "fe80::1", "ferry-host",
                                   "report", "--json")));
  EXPECT_THAT(command("qemu+ssh://-oProxyCommand=x/system"),
              Optional(ElementsAre("ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10",
                                   "--", "-oProxyCommand=x", "ferry-host", "report", "--json")));
}

TEST(HostReports, hosts_behind_other_transports_are_not_asked) {
  for (const char* const uri :
       {"qemu+tls://node01/system", "qemu+tcp://node01/system", "qemu://node01/system", "node01",
        "", "qemu+unix:///system?socket=/forwarded", "qemu+ssh:///system?socket=/x"}) {
    EXPECT_EQ(command(uri), std::nullopt) << uri;
  }
}

}  // namespace
}  // namespace ferry
