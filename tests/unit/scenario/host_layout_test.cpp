// What `numa` of a host may say.
#include "core/scenario/host_layout.hpp"

#include <gtest/gtest.h>

#include <string>

namespace ferry {
namespace {

struct Layout {
  const char* text;
  std::uint32_t count;
  std::uint32_t cores;
};

TEST(HostLayout, sockets_by_cores_and_synthetic_descriptions_are_read) {
  for (const Layout& layout : {
           Layout{"2x8", 2, 8},
           Layout{"1x65536", 1, 65'536},
           Layout{"pack:2 core:8 pu:1", 2, 8},
           Layout{"Package:2 Core:8 PU:2", 2, 8},
           Layout{"node:4 core:6 pu:2", 4, 6},
           Layout{"pack:2 numa:2 core:4 pu:1", 2, 8},
           Layout{"pack:2 pu:12", 2, 12},
           Layout{"Package:2 [NUMANode(memory=34359738368)] L3Cache:1(size=20971520) "
                  "L2Cache:8(size=262144) L1dCache:1(size=32768) Core:1 PU:2(indexes=2*16:1*2)",
                  2, 8},
       }) {
    const std::optional<Sockets> sockets = sockets_of(layout.text);
    ASSERT_TRUE(sockets) << layout.text;
    EXPECT_EQ(sockets->count, layout.count) << layout.text;
    EXPECT_EQ(sockets->cores, layout.cores) << layout.text;
  }
}

TEST(HostLayout, anything_else_is_refused) {
  for (const char* const text : {"",
                                 "2",
                                 "x",
                                 "2x",
                                 "x8",
                                 "2 x 8",
                                 "0x8",
                                 "2x0",
                                 "02x8",
                                 "2x8x1",
                                 "2x65537",
                                 "1025x1",
                                 ":",
                                 "pack:",
                                 "pack:0 core:1",
                                 "pack:2 core:-1",
                                 "pack:2 core:8.5",
                                 "socks:2 core:8",
                                 "pack:2 8",
                                 "core:8 pack:2",
                                 "pack:2 core:8 (",
                                 "pack:2048 pu:1"}) {
    EXPECT_FALSE(sockets_of(text)) << text;
  }
}

TEST(HostLayout, a_description_of_too_many_objects_is_refused_before_they_are_made) {
  EXPECT_FALSE(sockets_of("pack:60000 core:60000 pu:60000"));
  std::string deep;
  for (int i = 0; i < 64; ++i) deep += "group:1000 ";
  EXPECT_FALSE(sockets_of(deep + "pu:1"));
}

}  // namespace
}  // namespace ferry
