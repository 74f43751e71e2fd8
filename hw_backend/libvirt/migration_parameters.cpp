#include "hw_backend/libvirt/migration_parameters.hpp"

#include <libvirt/libvirt.h>

#include <algorithm>
#include <cmath>

namespace ferry {
namespace {

std::uint64_t mebibytes_per_second(Bandwidth limit) {
  constexpr double mebibyte = 1024.0 * 1024.0;
  return std::max<std::uint64_t>(
      1, static_cast<std::uint64_t>(std::llround(limit.to_bytes_per_second() / mebibyte)));
}

/// "node01" of rdma://node01:49152 and "fd00::1" of rdma://[fd00::1].
std::string host_of(const std::string& uri) {
  const std::size_t scheme = uri.find("://");
  std::string rest = scheme == std::string::npos ? uri : uri.substr(scheme + 3);
  if (rest.starts_with('[')) return rest.substr(1, rest.find(']') - 1);
  return rest.substr(0, rest.find_first_of(":/?"));
}

}  // namespace

bool rdma_needs_postcopy(unsigned long qemu) { return qemu < 8'000'000; }

bool may_use_postcopy(const TransferOptions& options) {
  switch (options.mode) {
    case MemoryMode::postcopy:
    case MemoryMode::hybrid: return true;
    case MemoryMode::offline: return false;
    case MemoryMode::precopy: break;
  }
  // What stands behind an `abort` never happens.
  const auto abort = std::ranges::find(options.on_stall, OnStall::abort);
  return std::find(options.on_stall.begin(), abort, OnStall::postcopy) != abort;
}

std::uint64_t downtime_milliseconds(const TransferOptions& options) {
  return std::max<std::uint64_t>(
      1, static_cast<std::uint64_t>(std::llround(options.downtime_limit.to_seconds() * 1e3)));
}

MigrationCall migration_call(const TransferOptions& options, const MigrationRequest& request) {
  MigrationCall call;
  call.flags = VIR_MIGRATE_PEER2PEER;
  if (options.mode != MemoryMode::offline) call.flags |= VIR_MIGRATE_LIVE;
  if (request.persistent) call.flags |= VIR_MIGRATE_PERSIST_DEST | VIR_MIGRATE_UNDEFINE_SOURCE;
  if (request.auto_converge && options.mode != MemoryMode::offline) {
    call.flags |= VIR_MIGRATE_AUTO_CONVERGE;
  }
  if (may_use_postcopy(options)) call.flags |= VIR_MIGRATE_POSTCOPY;
  call.parameters.emplace_back(VIR_MIGRATE_PARAM_URI, request.migrate_uri);
  if (options.transport == Transport::rdma) {
    // libvirt has QEMU listen on [::] if nothing else is said, which QEMU refuses where all devices
    // are RoCE or iWARP.
    call.parameters.emplace_back(VIR_MIGRATE_PARAM_LISTEN_ADDRESS, host_of(request.migrate_uri));
    if (options.pin_all) call.flags |= VIR_MIGRATE_RDMA_PIN_ALL;
    if (request.prepare_postcopy) call.flags |= VIR_MIGRATE_POSTCOPY;
  }
  if (!options.bandwidth_limit.is_unlimited()) {
    const std::uint64_t limit = mebibytes_per_second(options.bandwidth_limit);
    call.parameters.emplace_back(VIR_MIGRATE_PARAM_BANDWIDTH, limit);
    if (may_use_postcopy(options)) {
      call.parameters.emplace_back(VIR_MIGRATE_PARAM_BANDWIDTH_POSTCOPY, limit);
    }
  }
  if (options.streams > 1) {
    call.flags |= VIR_MIGRATE_PARALLEL;
    call.parameters.emplace_back(VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS,
                                 static_cast<int>(options.streams));
  }
  if (options.compression != Compression::none) {
    call.flags |= VIR_MIGRATE_COMPRESSED;
    call.parameters.emplace_back(VIR_MIGRATE_PARAM_COMPRESSION,
                                 std::string(to_name(options.compression)));
  }
  return call;
}

}  // namespace ferry
