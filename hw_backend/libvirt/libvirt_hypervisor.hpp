// The `Hypervisor` port over libvirt. The truth is libvirt: what is kept here says whom to ask
// first and what this process itself has under way.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/ports/hypervisor.hpp"
#include "hw_backend/libvirt/cluster_link.hpp"
#include "hw_backend/libvirt/whereabouts.hpp"

namespace ferry {

class LibvirtHypervisor final : public Hypervisor {
 public:
  /// `run` names this run in the domains' metadata.
  LibvirtHypervisor(ClusterLink& link, const Instance& instance, std::string run);
  ~LibvirtHypervisor() override;

  Result<> set_status(VmId vm, Phase phase, TimePoint deadline) override;
  Result<> detach(VmId vm, DeviceKind kind, TimePoint deadline) override;
  Result<> await_detached(VmId vm, DeviceKind kind, TimePoint deadline) override;
  Result<> attach(VmId vm, DeviceKind kind, TimePoint deadline) override;
  /// `refused`: see `refused_strategy`.
  Result<Ratio> await_traffic(VmId vm, TimePoint deadline) override;
  Result<TransferReport> migrate(VmId vm, HostId destination, const TransferOptions& options,
                                 TransferObserver& observer, TimePoint deadline) override;
  [[nodiscard]] bool devices_at_once() const override { return true; }
  [[nodiscard]] VmInspection inspect(VmId vm) const override;
  [[nodiscard]] bool reachable(HostId host) const override;
  Result<> await_settled(VmId vm, TimePoint deadline) override;
  Result<> cancel_migration(VmId vm) override;

  [[nodiscard]] const Whereabouts& whereabouts() const { return *whereabouts_; }

 private:
  /// Hosts that are made alike have functions at the same PCI addresses.
  struct HostFunction {
    HostId host;
    std::string pci;
    friend auto operator<=>(const HostFunction&, const HostFunction&) = default;
  };
  struct Device {
    bool unplugging = false;  ///< the guest was asked to release it and has not answered
    /// `unplugging` is only inferred from what an earlier controller left: it may have been
    /// attached again instead, which nobody can be asked.
    bool inferred = false;
    bool plugging = false;          ///< an `attach` has not returned
    std::optional<TimePoint> gone;  ///< when this controller saw its latest unplug end
    /// Of an attach that its caller has left: libvirt still works on it.
    std::shared_ptr<std::atomic<bool>> left_plug;
    std::string unplugged;                         ///< the device as it was; empty: not known
    std::optional<HostFunction> plugged_function;  ///< that an attach of this process tries
    std::set<HostFunction> failed_functions;       ///< that could not be attached
  };
  struct Vm {
    std::array<Device, 2> devices;  ///< by DeviceKind
    std::optional<DomainMark> mark;
    bool moving = false;   ///< a `migrate` has not returned
    bool marking = false;  ///< the mark is being written
    std::unique_ptr<Condition> marked;
  };

  [[nodiscard]] Vm& at(VmId vm) const { return vms_[vm.index]; }
  [[nodiscard]] Device& device(VmId vm, DeviceKind kind) const {
    return at(vm).devices[static_cast<std::size_t>(kind)];
  }
  [[nodiscard]] std::string label(VmId vm, DeviceKind kind) const;

  /// Where the VM is, with what its domain's metadata say of taken devices. `lost` is certain: see
  /// `Whereabouts::search`.
  [[nodiscard]] Result<VmPlace> find(VmId vm, TimePoint deadline) const;
  /// Notes what the metadata of a VM that was found say.
  void learn(VmId vm, const VmPlace& place) const;
  Result<> await_plug(VmId vm, DeviceKind kind, TimePoint deadline);
  Result<> await_gone(VmId vm, DeviceKind kind, DomainInbox& inbox, TimePoint deadline);
  /// Changes the mark and writes it to the domain; one writer of a VM at a time.
  Result<> mark(VmId vm, HostId host, TimePoint deadline,
                const std::function<void(std::optional<DomainMark>&)>& change);

  /// What the device was before it was taken away.
  Result<std::string> known_xml(VmId vm, DeviceKind kind);
  Result<std::string> xml_to_plug(VmId vm, DeviceKind kind, HostId host, TimePoint deadline);
  Result<ChosenFunction> choose_function(VmId vm, HostId host, TimePoint deadline);
  Result<TransferReport> move(VmId vm, const VmPlace& from, HostId destination,
                              const TransferOptions& options, TransferObserver& observer,
                              TimePoint deadline);
  Result<> note_gone(VmId vm, DeviceKind kind, HostId host, TimePoint deadline);
  /// Waits until QEMU can take the device again from which it was taken on this host.
  Result<> await_memory_freed(VmId vm, DeviceKind kind, HostId host, TimePoint deadline);
  Result<> plug_in(VmId vm, DeviceKind kind, const VmPlace& place, TimePoint deadline);
  Result<> await_usable(VmId vm, DeviceKind kind, HostId host, TimePoint deadline);

  ClusterLink& link_;
  std::string run_;
  std::unique_ptr<Whereabouts> whereabouts_;
  std::unique_ptr<Mutex> mutex_;  ///< of the VMs
  mutable std::vector<Vm> vms_;   ///< by VmId; asking teaches, also `inspect`
};

}  // namespace ferry
