#include "hw_backend/libvirt/migration_parameters.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libvirt/libvirt.h>

#include <algorithm>
#include <optional>

namespace ferry {
namespace {

const MigrationRequest request{.migrate_uri = "tcp://node02"};

unsigned flags(const TransferOptions& options, const MigrationRequest& asked = request) {
  return migration_call(options, asked).flags;
}

std::optional<MigrationValue> parameter(const TransferOptions& options, const std::string& name,
                                        const std::string& migrate_uri = request.migrate_uri) {
  const MigrationCall call = migration_call(options, {.migrate_uri = migrate_uri});
  const auto found =
      std::ranges::find(call.parameters, name, &std::pair<std::string, MigrationValue>::first);
  return found == call.parameters.end() ? std::nullopt : std::optional(found->second);
}

TEST(MigrationParameters, a_plain_migration_is_live_and_peer_to_peer) {
  EXPECT_EQ(flags({}), unsigned{VIR_MIGRATE_LIVE | VIR_MIGRATE_PEER2PEER});
  EXPECT_EQ(parameter({}, VIR_MIGRATE_PARAM_URI), MigrationValue(std::string("tcp://node02")));
  EXPECT_EQ(migration_call({}, request).parameters.size(), 1U);
}

TEST(MigrationParameters, offline_is_not_live) {
  EXPECT_EQ(flags({.mode = MemoryMode::offline, .auto_converge = true}),
            unsigned{VIR_MIGRATE_PEER2PEER});
}

TEST(MigrationParameters, a_persistent_domain_takes_its_configuration_along) {
  EXPECT_EQ(flags({}, {.migrate_uri = "tcp://node02", .persistent = true}) & ~flags({}),
            unsigned{VIR_MIGRATE_PERSIST_DEST | VIR_MIGRATE_UNDEFINE_SOURCE});
}

TEST(MigrationParameters, auto_converge_is_of_the_attempt) {
  EXPECT_EQ(flags({}, {.migrate_uri = "tcp://node02", .auto_converge = true}) & ~flags({}),
            unsigned{VIR_MIGRATE_AUTO_CONVERGE});
  EXPECT_EQ(flags({.auto_converge = true}), flags({}));
}

TEST(MigrationParameters, post_copy_is_prepared_where_it_may_come_to_that) {
  const auto prepared = [](const TransferOptions& options) {
    return (flags(options) & VIR_MIGRATE_POSTCOPY) != 0;
  };
  EXPECT_TRUE(prepared({.mode = MemoryMode::postcopy}));
  EXPECT_TRUE(prepared({.mode = MemoryMode::hybrid}));
  EXPECT_TRUE(prepared({.on_stall = {OnStall::auto_converge, OnStall::postcopy}}));
  EXPECT_FALSE(prepared({.on_stall = {OnStall::abort, OnStall::postcopy}}));
  EXPECT_FALSE(prepared({.mode = MemoryMode::offline, .on_stall = {OnStall::postcopy}}));
  EXPECT_FALSE(prepared({}));
}

TEST(MigrationParameters, a_bandwidth_limit_is_in_mebibytes_per_second) {
  const auto limit = [](double bytes_per_second) {
    return parameter({.bandwidth_limit = Bandwidth::bytes_per_second(bytes_per_second)},
                     VIR_MIGRATE_PARAM_BANDWIDTH);
  };
  EXPECT_EQ(limit(8 * 1048576.0), MigrationValue(std::uint64_t{8}));
  EXPECT_EQ(limit(1.4 * 1048576.0), MigrationValue(std::uint64_t{1}));
  EXPECT_EQ(limit(1000.0), MigrationValue(std::uint64_t{1}));  // 0 would mean: no limit
  EXPECT_EQ(parameter({}, VIR_MIGRATE_PARAM_BANDWIDTH), std::nullopt);
}

TEST(MigrationParameters, a_bandwidth_limit_holds_after_the_switch_to_post_copy_too) {
  const TransferOptions options{.mode = MemoryMode::hybrid,
                                .bandwidth_limit = Bandwidth::bytes_per_second(8 * 1048576.0)};
  EXPECT_EQ(parameter(options, VIR_MIGRATE_PARAM_BANDWIDTH_POSTCOPY),
            MigrationValue(std::uint64_t{8}));
}

TEST(MigrationParameters, several_streams_are_multifd) {
  const TransferOptions options{.streams = 4};
  EXPECT_EQ(flags(options) & ~flags({}), unsigned{VIR_MIGRATE_PARALLEL});
  EXPECT_EQ(parameter(options, VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS), MigrationValue(4));
}

TEST(MigrationParameters, compression_is_named_as_in_libvirt) {
  const TransferOptions options{.compression = Compression::xbzrle};
  EXPECT_EQ(flags(options) & ~flags({}), unsigned{VIR_MIGRATE_COMPRESSED});
  EXPECT_EQ(parameter(options, VIR_MIGRATE_PARAM_COMPRESSION),
            MigrationValue(std::string("xbzrle")));
}

TEST(MigrationParameters, rdma_pins_all_if_asked_to) {
  EXPECT_NE(flags({.transport = Transport::rdma}) & VIR_MIGRATE_RDMA_PIN_ALL, 0U);
  EXPECT_EQ(flags({.transport = Transport::rdma, .pin_all = false}) & VIR_MIGRATE_RDMA_PIN_ALL, 0U);
  EXPECT_EQ(flags({.transport = Transport::tcp}) & VIR_MIGRATE_RDMA_PIN_ALL, 0U);
}

TEST(MigrationParameters, rdma_is_received_at_the_address_of_the_uri) {
  struct Case {
    const char* uri;
    const char* address;
  };
  for (const auto& [uri, address] :
       {Case{"rdma://node02-ib", "node02-ib"}, Case{"rdma://10.0.0.2:49152", "10.0.0.2"},
        Case{"rdma://[fd00::2]:49152", "fd00::2"}, Case{"rdma://node02-ib/", "node02-ib"}}) {
    EXPECT_EQ(parameter({.transport = Transport::rdma}, VIR_MIGRATE_PARAM_LISTEN_ADDRESS, uri),
              MigrationValue(std::string(address)));
  }
  EXPECT_EQ(parameter({}, VIR_MIGRATE_PARAM_LISTEN_ADDRESS), std::nullopt);
}

TEST(MigrationParameters, rdma_of_old_qemus_prepares_a_postcopy_that_never_comes) {
  EXPECT_TRUE(rdma_needs_postcopy(7'002'022));
  EXPECT_FALSE(rdma_needs_postcopy(8'000'000));
  const MigrationRequest old{.migrate_uri = "rdma://node02", .prepare_postcopy = true};
  const TransferOptions rdma{.transport = Transport::rdma};
  EXPECT_EQ(flags(rdma, old) & ~flags(rdma), unsigned{VIR_MIGRATE_POSTCOPY});
  EXPECT_FALSE(may_use_postcopy(rdma));
  EXPECT_EQ(flags({}, old), flags({}));
}

TEST(MigrationParameters, the_downtime_limit_is_in_milliseconds) {
  EXPECT_EQ(downtime_milliseconds({}), 300U);
  EXPECT_EQ(downtime_milliseconds({.downtime_limit = Duration::microseconds(10)}), 1U);
}

}  // namespace
}  // namespace ferry
