// Where the VMs are: libvirt is asked each time; what was last known only says whom to ask first.
#pragma once

#include <mutex>
#include <vector>

#include "hw_backend/libvirt/cluster_link.hpp"

namespace ferry {

struct VmPlace {
  HostId host;
  DomainState state;
};

/// For a libvirtd that has gone to come back, when it may be the one that has the VM.
inline constexpr Duration search_patience = Duration::milliseconds(40'000);
inline constexpr Duration search_again = Duration::milliseconds(500);

class Whereabouts {
 public:
  Whereabouts(ClusterLink& link, const Instance& instance);

  /// The host where the VM runs, or else where it is paused; the empty shell on the destination of
  /// a migration does not count. `lost` if every host answers that it has no such domain, or if a
  /// host that cannot be asked may have it.
  Result<VmPlace> find(VmId vm, TimePoint deadline);
  /// The same, but a VM that may be on a host that cannot be asked is looked for again, until the
  /// deadline or for `search_patience`, before it is `lost`: daemons restart while VMs go on.
  Result<VmPlace> search(VmId vm, TimePoint deadline);
  [[nodiscard]] HostId last_known(VmId vm) const;
  void set(VmId vm, HostId host);

 private:
  /// `everybody_answers`: whether more could be known by asking again.
  Result<VmPlace> look(VmId vm, TimePoint deadline, bool& everybody_answers);
  Result<VmPlace> choose(VmId vm, const std::vector<Result<DomainState>>& answers);

  ClusterLink& link_;
  mutable std::mutex mutex_;
  std::vector<HostId> last_known_;  ///< by VmId
};

}  // namespace ferry
