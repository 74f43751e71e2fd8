#include "hw_backend/libvirt/refusals.hpp"

#include <libvirt/virterror.h>

#include <array>

#include "hw_backend/libvirt/host_facts.hpp"
#include "hw_backend/libvirt/migration_parameters.hpp"

namespace ferry {
namespace {

using Refusal = std::optional<std::string>;

/// What QEMU itself locks besides guest memory, generously.
constexpr Bytes qemu_overhead = Bytes::gibi(1);
constexpr LibvirtVersion first_with_zstd = 9'004'000;

Refusal refused_by_devices(const MoveFacts& facts) {
  for (const HostDeviceFacts& device : facts.domain.host_devices) {
    if (device.pci.empty()) continue;
    const std::string what = "the host's PCI device " + device.pci + " (alias " +
                             (device.alias.empty() ? "none" : device.alias) + ")";
    if (device.alias == facts.virtual_function) {
      return facts.vm + " still holds " + what +
             ", and QEMU migrates no guest with an assigned device; detach it first";
    }
    return facts.vm + " holds " + what +
           ", which is not the virtual function that the cluster file names, and QEMU migrates no "
           "guest with an assigned device; detach it, or name it as virtual_function";
  }
  for (const SharedMemoryFacts& memory : facts.domain.shared_memories) {
    if (memory.role == "master") continue;
    const std::string what = "the shared memory device " + memory.alias;
    if (memory.alias == facts.ivshmem) {
      return facts.vm + " still has " + what +
             " in peer mode, which blocks migration; detach it first";
    }
    return facts.vm + " has " + what +
           " in peer mode, QEMU's default, which blocks migration; name it as ivshmem in the "
           "cluster "
           "file, or give it role='master' (its content then travels with the guest)";
  }
  return std::nullopt;
}

Refusal refused_by_disks(const MoveFacts& facts) {
  for (const DiskFacts& disk : facts.domain.disks) {
    if (disk.source.empty() || disk.read_only) continue;
    if (!facts.shared_storage) {
      return facts.vm + " has the disk " + disk.target + " (" + disk.source +
             "), but the cluster file says storage: none; with disks that every host sees, write "
             "storage: shared";
    }
  }
  return std::nullopt;
}

Refusal refused_by_options(const TransferOptions& options, const MoveFacts& facts) {
  const bool postcopy = may_use_postcopy(options);
  if (options.transport == Transport::rdma) {
    if (options.streams > 1) return "QEMU sends memory over RDMA in one stream; set streams: 1";
    if (options.compression != Compression::none) {
      return "QEMU does not compress memory that it sends over RDMA; set compression: none";
    }
    if (postcopy) {
      return "QEMU has no post-copy over RDMA; use mode: precopy and on_stall without postcopy";
    }
    if (!facts.domain.hard_limit) {
      return facts.vm +
             " has no <memtune><hard_limit>, which libvirt wants for RDMA as the most memory that "
             "QEMU may lock; give the domain its memory plus what QEMU itself needs (1 GiB or "
             "more)";
    }
    if (options.pin_all && *facts.domain.hard_limit <= facts.domain.memory) {
      return facts.vm + " may lock " + to_text(*facts.domain.hard_limit) +
             " (<memtune><hard_limit>), which does not hold its " + to_text(facts.domain.memory) +
             " of memory and QEMU itself; raise it, or set pin_all: false";
    }
  }
  if (postcopy && options.streams > 1) {
    return "QEMU combines post-copy with one stream only; set streams: 1, or leave postcopy out of "
           "mode and on_stall";
  }
  if (options.compression == Compression::xbzrle && options.streams > 1) {
    return "QEMU compresses with XBZRLE in one stream only; set streams: 1 or compression: zstd";
  }
  if (options.compression == Compression::zstd) {
    if (options.streams < 2) {
      return "zstd compresses the streams of multifd; set streams: 2 or more";
    }
    for (const auto& [version, host] : {std::pair{facts.source_version, facts.source},
                                        std::pair{facts.destination_version, facts.destination}}) {
      if (version < first_with_zstd) {
        return "libvirt offers zstd from 9.4.0 on, and " + host + " has " + version_text(version) +
               "; set compression: none or xbzrle, or upgrade libvirt";
      }
    }
  }
  return std::nullopt;
}

Refusal refused_by_uri(const TransferOptions& options, const MoveFacts& facts) {
  if (facts.migrate_uri.empty()) {
    const std::string transport(to_name(options.transport));
    return "the cluster file has no migrate." + transport + " for " + facts.destination +
           "; add the URI by which " + facts.destination + " receives memory over " + transport;
  }
  return std::nullopt;
}

/// Parts of libvirt's and QEMU's messages, and what would help.
struct Known {
  std::string_view part;
  FailureKind kind;
  std::string_view advice;
};

constexpr std::array<Known, 22> known_messages = {{
    {"domain has assigned non-USB host devices", FailureKind::refused,
     "detach the host's devices before the migration"},
    {"peer mode", FailureKind::refused,
     "detach the shared memory device, or give it role='master'"},
    {"memory hard limit", FailureKind::refused,
     "give the domain <memtune><hard_limit>: its memory plus what QEMU needs"},
    {"Cannot allocate memory", FailureKind::failed,
     "raise the locked-memory limit (memlock) of libvirtd and QEMU, or free memory"},
    {"doesn't support passthrough", FailureKind::refused,
     "boot that host with its IOMMU on (intel_iommu=on) and load vfio-pci"},
    {"VFIO_MAP_DMA", FailureKind::failed,
     "raise the locked-memory limit (memlock) of QEMU on that host"},
    {"guest CPU doesn't match", FailureKind::refused,
     "use a CPU model that both hosts have (virsh cpu-baseline)"},
    {"cpu mode is incompatible", FailureKind::refused,
     "use a CPU model that both hosts have (virsh cpu-baseline)"},
    {"Unsafe migration", FailureKind::refused, "set cache='none' on its disks"},
    {"userfaultfd", FailureKind::refused,
     "allow it on the destination: sysctl vm.unprivileged_userfaultfd=1"},
    {"Attempt to migrate guest to the same host", FailureKind::refused,
     "two hosts of the cluster file have the same host_uuid in libvirtd.conf, or are the same"},
    {"already active", FailureKind::refused,
     "a domain of that name or UUID runs on the destination; stop it or rename it"},
    {"cannot acquire state change lock", FailureKind::failed,
     "another operation on that domain is under way, or hangs (virsh domjobinfo)"},
    {"is in use by driver QEMU", FailureKind::refused,
     "another domain holds that PCI function; take it out of the pool"},
    {"client socket is closed", FailureKind::failed,
     "the destination's libvirtd has ended or cannot be reached any more"},
    {"End of file while reading data", FailureKind::failed,
     "the libvirtd that was asked has ended; its guests go on without it"},
    {"Lost connection to destination host", FailureKind::failed,
     "the destination's libvirtd has ended or cannot be reached any more"},
    {"could not create rdma event channel", FailureKind::refused,
     "QEMU finds no RDMA device on the destination; see that ibv_devices lists one there, and let "
     "QEMU open /dev/infiniband (cgroup_device_acl in libvirt's qemu.conf)"},
    {"could not create CM channel", FailureKind::refused,
     "QEMU finds no RDMA device on the source; see that ibv_devices lists one there, and let QEMU "
     "open /dev/infiniband (cgroup_device_acl in libvirt's qemu.conf)"},
    {"could not rdma_bind_addr", FailureKind::refused,
     "the address of migrate.rdma in the cluster file is of no RDMA device of the destination "
     "(rdma link, ip address)"},
    {"mlock() limits may be too low", FailureKind::failed,
     "raise <memtune><hard_limit> of the domain: QEMU may lock no more"},
    {"canceled by client", FailureKind::failed, "somebody else has cancelled it"},
}};

}  // namespace

std::optional<std::string> refused_strategy(DeviceStrategy strategy) {
  switch (strategy) {
    case DeviceStrategy::detach: break;
    case DeviceStrategy::failover:
      return "device: failover is simulated only: libvirt unplugs and plugs the function by itself "
             "if "
             "the domain has a virtio interface with <teaming type='persistent'/> and the function "
             "as an interface with <teaming type='transient' persistent='ALIAS'/>, for Ethernet, "
             "and "
             "Ferry neither makes such a pair nor sees its phases; write device: detach";
    case DeviceStrategy::vfio:
      return "device: vfio is simulated only: it needs a function whose host driver saves its "
             "state "
             "(mlx5_vfio_pci has that in Ethernet mode only) and tracks what it writes, and Ferry "
             "has "
             "been tried with none; write device: detach";
  }
  return std::nullopt;
}

std::optional<std::string> why_refused(const TransferOptions& options, const MoveFacts& facts) {
  for (Refusal refusal :
       {refused_strategy(options.device), refused_by_devices(facts), refused_by_disks(facts),
        refused_by_uri(options, facts), refused_by_options(options, facts)}) {
    if (refusal) return refusal;
  }
  return std::nullopt;
}

Bytes limit_for_rdma(Bytes memory) { return memory + qemu_overhead; }

Failure explained_error(int code, const std::string& what, std::string_view message) {
  FailureKind kind = FailureKind::failed;
  switch (code) {
    case VIR_ERR_CONFIG_UNSUPPORTED:
    case VIR_ERR_OPERATION_UNSUPPORTED:
    case VIR_ERR_ARGUMENT_UNSUPPORTED:
    case VIR_ERR_NO_SUPPORT:
    case VIR_ERR_OPERATION_DENIED:
    case VIR_ERR_ACCESS_DENIED:
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_MIGRATE_UNSAFE:
    case VIR_ERR_CPU_INCOMPATIBLE:
    case VIR_ERR_RESOURCE_BUSY: kind = FailureKind::refused; break;
    default: break;
  }
  std::string reason = what + ": " + std::string(message);
  for (const Known& known : known_messages) {
    if (message.find(known.part) == std::string_view::npos) continue;
    kind = known.kind;
    reason += "; " + std::string(known.advice);
    break;
  }
  return {kind, reason};
}

}  // namespace ferry
