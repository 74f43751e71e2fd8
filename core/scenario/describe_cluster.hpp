// The keys of a cluster file.
#pragma once

#include <array>
#include <string_view>

#include "core/scenario/cluster_file.hpp"
#include "core/scenario/describe_values.hpp"

namespace ferry {

template <>
struct EnumWords<Guid> {
  static constexpr std::array<std::string_view, 2> words = {"per_vf", "moves_with_vm"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<StandInNic> {
  static constexpr std::array<std::string_view, 2> words = {"virtio", "e1000e"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};
template <>
struct EnumWords<Storage> {
  static constexpr std::array<std::string_view, 2> words = {"shared", "none"};
  static constexpr std::array<std::string_view, 1> unsupported = {"copied"};
};
template <>
struct EnumWords<Restore> {
  static constexpr std::array<std::string_view, 2> words = {"back", "stay"};
  static constexpr std::array<std::string_view, 0> unsupported = {};
};

inline constexpr std::array<std::string_view, 2> stream_schemes = {"tcp", "unix"};
inline constexpr std::array<std::string_view, 1> ipoib_schemes = {"tcp"};
inline constexpr std::array<std::string_view, 1> rdma_schemes = {"rdma"};

template <class Visitor>
void describe(Visitor& v, MigrationUris& migrate) {
  v.about("Where the host receives migrations, by transport; those that it has not are left out.");
  v.present_if(!migrate.tcp.empty());
  const bool tcp = v.optional_as("tcp", migrate.tcp, MigrationUri{stream_schemes}, "not over tcp",
                                 "tcp://HOST, where libvirt chooses the port, or tcp://HOST:PORT; "
                                 "unix:///SOCKET between hosts that share this path.");
  v.present_if(!migrate.ipoib.empty());
  const bool ipoib =
      v.optional_as("ipoib", migrate.ipoib, MigrationUri{ipoib_schemes}, "not over IPoIB",
                    "tcp://HOST with the host's name on the InfiniBand network.");
  v.present_if(!migrate.rdma.empty());
  const bool rdma = v.optional_as("rdma", migrate.rdma, MigrationUri{rdma_schemes}, "not over RDMA",
                                  "rdma://HOST with the host's name on the InfiniBand network.");
  if (!tcp && !ipoib && !rdma) {
    v.complain("", Problem::missing_key,
               "there is no way to migrate to this host; give at least one of tcp: "
               "tcp://HOST, ipoib: tcp://HOST-IB, rdma: rdma://HOST-IB");
  }
}

template <class Visitor>
void describe(Visitor& v, FunctionPool& pool) {
  v.about("Equal virtual functions of a host, or NICs that stand in for them in a lab.");
  const bool stands_in = pool.stands_in();  // of interest to the writer alone
  v.present_if(!stands_in);
  const bool pci = v.optional_as("pci", pool.pci, PciNames{}, "none; these are stand-ins",
                                 "The functions' PCI addresses: 0000:03:00.[1-7].");
  v.present_if(!pool.parent.empty());
  const bool parent = v.optional_as("parent", pool.parent, FreeText{1}, "unknown",
                                    "The host's name of the adapter's port: ib0.");
  v.present_if(pool.numa.has_value());
  const bool numa = v.optional_as("numa", pool.numa, MaybeNumber{{0U, limits::cores}}, "unknown",
                                  "The NUMA node of the adapter.");
  v.present_if(!stands_in);
  const bool guid = v.optional("guid", pool.guid, Word{},
                               "Whether each function has a GUID of its own, or takes the one of "
                               "the VM that it serves.");
  v.present_if(stands_in);
  const bool nic = v.optional_as("nic", pool.nic, Word{}, "none; these are functions",
                                 "The model of the stand-in; each VM keeps its own MAC address.");
  v.present_if(stands_in);
  const bool bridge = v.optional_as("bridge", pool.bridge, FreeText{1}, "none",
                                    "The host's bridge that stand-ins are plugged into.");
  v.present_if(stands_in);
  const bool count = v.optional_as("count", pool.count, Between{1U, limits::virtual_functions},
                                   "none", "How many stand-ins there are.");
  if (pci == nic) {
    v.complain("nic", Problem::contradiction,
               pci ? "a pool has either functions or stand-ins; write two pools for both"
                   : "this pool has nothing; give pci: \"0000:03:00.[1-7]\", or for stand-ins nic: "
                     "virtio with bridge and count");
  } else if (pci && (bridge || count)) {
    v.complain(bridge ? "bridge" : "count", Problem::contradiction,
               "bridge and count belong to stand-ins; leave them out, or write nic instead of pci");
  } else if (nic && (!bridge || !count)) {
    v.complain("", Problem::missing_key,
               "stand-ins need their bridge and how many there are; add `bridge: br0` and `count: "
               "4`");
  } else if (nic && (parent || numa || guid)) {
    v.complain(parent ? "parent" : (numa ? "numa" : "guid"), Problem::contradiction,
               "parent, numa and guid belong to functions; leave them out, or write pci instead of "
               "nic");
  }
}

template <class Visitor>
void describe(Visitor& v, ClusterHost& host) {
  v.about("A host: its libvirt, where it receives migrations, and its virtual functions.");
  v.required("libvirt", host.libvirt, LibvirtUri{},
             "The URI by which the controller reaches the host's libvirt; TLS, SASL and ssh as "
             "libvirt has them.");
  if (!v.optional_as("peer", host.peer, LibvirtUri{}, "as libvirt",
                     "The URI by which the other hosts reach it.")) {
    host.peer = host.libvirt;
  }
  v.required("migrate", host.migrate, Mapping{}, "Where it receives migrations.");
  v.list("virtual_functions", host.virtual_functions, Need::optional, 0,
         "What VMs can be given on this host.");
}

template <class Visitor>
void describe(Visitor& v, ClusterVm& vm) {
  v.about("A VM: the domain that plays it, and which of its devices are unplugged.");
  v.required("domain", vm.domain, FreeText{1}, "The domain's name in libvirt.");
  v.present_if(!vm.virtual_function.empty());
  v.optional_as("virtual_function", vm.virtual_function, DeviceAlias{}, "it has none",
                "The alias of its virtual function (or stand-in) in the domain.");
  v.present_if(!vm.ivshmem.empty());
  v.optional_as("ivshmem", vm.ivshmem, DeviceAlias{}, "it has none",
                "The alias of its shared memory device in the domain.");
  v.present_if(!vm.agent.empty());
  v.optional_as("agent", vm.agent, FreeText{1}, "it has none",
                "The name of the domain's channel to the agent in the guest.");
  if (!vm.ivshmem.empty() && vm.ivshmem == vm.virtual_function) {
    v.complain("ivshmem", Problem::contradiction,
               "one device cannot be both; write the alias of the shared memory device");
  }
}

template <class Visitor>
void describe(Visitor& v, RankProgram& rank) {
  v.about("The program that a rank is, in the guests.");
  v.required("path", rank.path, AbsolutePath{}, "Where it is: /opt/ferry/bin/ferry-rank.");
  v.required("user", rank.user, FreeText{1}, "Who runs it.");
}

template <class Visitor>
void describe(Visitor& v, ClusterFile& cluster) {
  v.about("Ferry cluster: the libvirt hosts and domains that play a scenario's hosts and VMs.");
  v.version("ferry_cluster");
  v.by_name("hosts", cluster.hosts, "host0", "The hosts, by their names in the scenario.");
  v.by_name("vms", cluster.vms, "vm0", "The VMs, by their names in the scenario.");
  v.optional("storage", cluster.storage, Word{},
             "What the domains' disks are: the same for every host, or there are none.");
  v.present_if(!cluster.rank.path.empty());
  v.optional("rank", cluster.rank, Mapping{}, "The program that a rank is.");
  v.optional("restore", cluster.restore, Word{},
             "What becomes of the VMs after a run of a sweep: they go back to where the scenario "
             "starts, or they stay.");
}

}  // namespace ferry
