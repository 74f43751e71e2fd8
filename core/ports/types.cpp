#include "core/ports/types.hpp"

namespace ferry {

std::string_view to_name(Phase phase) {
  switch (phase) {
    case Phase::set_pre_migration: return "set_pre_migration";
    case Phase::detach_vf: return "detach_vf";
    case Phase::remove_ivshmem: return "remove_ivshmem";
    case Phase::migration: return "migration";
    case Phase::attach_vf: return "attach_vf";
    case Phase::add_ivshmem: return "add_ivshmem";
    case Phase::set_post_migration: return "set_post_migration";
  }
  return "?";
}

std::string_view to_name(Transport transport) {
  switch (transport) {
    case Transport::tcp: return "tcp";
    case Transport::ipoib: return "ipoib";
    case Transport::rdma: return "rdma";
  }
  return "?";
}

std::string_view to_name(RankMoment moment) {
  switch (moment) {
    case RankMoment::any: return "any";
    case RankMoment::computing: return "computing";
    case RankMoment::communicating: return "communicating";
  }
  return "?";
}

std::string_view to_name(Strategy strategy) {
  switch (strategy) {
    case Strategy::progress_engine: return "progress_engine";
    case Strategy::migration_thread: return "migration_thread";
    case Strategy::none: return "none";
  }
  return "?";
}

std::string_view to_name(MemoryMode mode) {
  switch (mode) {
    case MemoryMode::precopy: return "precopy";
    case MemoryMode::postcopy: return "postcopy";
    case MemoryMode::hybrid: return "hybrid";
    case MemoryMode::offline: return "offline";
  }
  return "?";
}

std::string_view to_name(Compression compression) {
  switch (compression) {
    case Compression::none: return "none";
    case Compression::xbzrle: return "xbzrle";
    case Compression::zstd: return "zstd";
  }
  return "?";
}

std::string_view to_name(OnStall action) {
  switch (action) {
    case OnStall::auto_converge: return "auto_converge";
    case OnStall::postcopy: return "postcopy";
    case OnStall::abort: return "abort";
  }
  return "?";
}

std::string_view to_name(DeviceStrategy strategy) {
  switch (strategy) {
    case DeviceStrategy::detach: return "detach";
    case DeviceStrategy::failover: return "failover";
    case DeviceStrategy::vfio: return "vfio";
  }
  return "?";
}

std::string_view to_name(DeviceKind kind) {
  switch (kind) {
    case DeviceKind::virtual_function: return "virtual_function";
    case DeviceKind::ivshmem: return "ivshmem";
  }
  return "?";
}

std::string_view to_name(Outcome outcome) {
  switch (outcome) {
    case Outcome::completed: return "completed";
    case Outcome::rolled_back: return "rolled_back";
    case Outcome::degraded: return "degraded";
    case Outcome::cancelled: return "cancelled";
    case Outcome::not_started: return "not_started";
    case Outcome::lost: return "lost";
    case Outcome::failed: return "failed";
  }
  return "?";
}

}  // namespace ferry
