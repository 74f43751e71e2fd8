// One migration of one VM: from the checks before it to the report, or to where the VM is after
// all.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/ports/hypervisor.hpp"
#include "hw_backend/libvirt/cluster_link.hpp"
#include "hw_backend/libvirt/migration_progress.hpp"
#include "hw_backend/libvirt/stall_policy.hpp"
#include "hw_backend/libvirt/whereabouts.hpp"

namespace ferry {

class LiveMigration {
 public:
  LiveMigration(ClusterLink& link, Whereabouts& whereabouts, VmId vm, HostId from, HostId to,
                const TransferOptions& options, TransferObserver& observer, TimePoint deadline);

  /// Everything that can be known before: `refused`, with nothing changed. `state` is the domain on
  /// `from`.
  Result<> prepare(const DomainState& state);
  /// As `Hypervisor::migrate`.
  Result<TransferReport> run();

 private:
  struct Attempt;
  /// Why the move ends before the guest has moved.
  struct Ending {
    FailureKind kind = FailureKind::failed;
    std::string reason;
  };

  template <class T>
  Result<T> ask(HostId host, const std::string& what,
                std::function<Result<T>(HostConnections&)> body);

  Result<> check_refusals(const DomainState& state);
  Result<> attempt();
  void follow(Attempt& attempt);
  void on_iteration(Attempt& attempt, const DomainEvent& event);
  void act(StallAction action);
  void end(FailureKind kind, std::string reason);
  /// Whether it is decided how the attempt ends.
  [[nodiscard]] bool decided() const { return switched_ || again_ || ending_; }
  void await_end(Attempt& attempt);
  bool abort();
  void take(Attempt& attempt, const DomainEvent& event);

  Result<TransferReport> arrived();
  Result<TransferReport> not_arrived(const Failure& failed);
  Result<> resume_at(HostId host);

  ClusterLink& link_;
  Whereabouts& whereabouts_;
  VmId vm_;
  HostId from_;
  HostId to_;
  const TransferOptions& options_;
  TransferObserver& observer_;
  TimePoint deadline_;
  std::string what_;

  bool persistent_ = false;
  bool prepare_postcopy_ = false;  ///< QEMU's RDMA wants it, though it is not used
  bool was_running_ = true;        ///< else somebody has paused the guest, and it stays so
  StallPolicy policy_;
  RoundTracker rounds_;
  std::shared_ptr<DomainInbox> inbox_;
  std::optional<DomainEvent> completed_;  ///< the event with the final statistics
  bool switched_ = false;                 ///< to post-copy
  std::optional<Ending> ending_;
  bool again_ = false;  ///< the attempt is ended so that another one begins
};

}  // namespace ferry
