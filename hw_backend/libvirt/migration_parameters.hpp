// A scenario's memory settings in libvirt's words: pure.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/ports/hypervisor.hpp"

namespace ferry {

/// One call of virDomainMigrateToURI3.
struct MigrationRequest {
  std::string migrate_uri;     ///< where the destination receives the memory
  bool persistent = false;     ///< the domain has a configuration that goes along
  bool auto_converge = false;  ///< in this attempt
  /// With rdma: `rdma_needs_postcopy` of either end.
  bool prepare_postcopy = false;
};

using MigrationValue = std::variant<std::string, std::uint64_t, int>;

struct MigrationCall {
  unsigned flags = 0;                                              ///< virDomainMigrateFlags
  std::vector<std::pair<std::string, MigrationValue>> parameters;  ///< VIR_MIGRATE_PARAM_...
};

/// Peer to peer; live unless `options.mode` is offline. Post-copy is prepared if it may come to
/// that. Limits below 1 MiB/s become 1 MiB/s, libvirt's unit.
MigrationCall migration_call(const TransferOptions& options, const MigrationRequest& request);

/// libvirt asks for a return path, which QEMU before 8.0 makes over RDMA only if post-copy is
/// prepared, and misses otherwise: the migration then fails at its beginning. Source: QEMU's
/// "migration/rdma: Fix return-path case" (2023); seen with 7.2. `qemu` is 7.2.0 as 7'002'000.
bool rdma_needs_postcopy(unsigned long qemu);

/// Whether the migration may end by post-copy, so that libvirt must be told at its start.
bool may_use_postcopy(const TransferOptions& options);

/// The downtime limit in libvirt's unit, at least 1.
std::uint64_t downtime_milliseconds(const TransferOptions& options);

}  // namespace ferry
