// A scenario as the user wrote it, typed. Groups are still groups; `instance.hpp` expands them.
// Keys and struct members have the same names. What a key means, its range and whether it is
// required are said once, in the descriptions (`describe_*.hpp`), from which the reader, the JSON
// Schema and the resolved dump are made. A key without a value takes the member's initial value
// here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "core/ports/types.hpp"
#include "core/scenario/platform.hpp"
#include "core/scenario/varying.hpp"
#include "core/scenario/workload.hpp"
#include "core/units/units.hpp"

namespace ferry {

/// `host`, `host3`, `host[0-3]`, `host[0,2,5-7]`, several of these with commas between them, or `*`
/// for every item: checked against the groups when read.
struct Reference {
  std::string text;
  auto operator<=>(const Reference&) const = default;
};

/// `2x8`: two sockets of eight cores each.
struct Sockets {
  std::uint32_t count = 1;
  std::uint32_t cores = 0;  ///< of each; zero: all of the host's
};

struct HostGroup {
  std::string name;
  std::uint32_t count = 1;
  bool numbered = false;  ///< `count` was written: the items are name0, name1, ... and not name
  std::uint32_t cores = 0;
  Bytes memory;
  std::uint32_t virtual_functions = 0;
  Bytes ivshmem;  ///< host memory that may back IVShmem regions; default: the host's memory
  Sockets numa = {};
};

struct Cluster {
  std::vector<HostGroup> hosts;
  std::vector<Network> networks;  ///< empty: the platform's
};

enum class Spread { round_robin, pack };

/// Where on a host a VM is kept; no number: wherever there is room (`any`).
struct SocketChoice {
  std::optional<std::uint32_t> number;
};

struct PageBehaviour {
  Ratio zero;                     ///< share of the memory that was never written
  Varying<Bytes> working_set;     ///< what is dirtied again and again; at most the non-zero memory
  Varying<Bandwidth> dirty_rate;  ///< while the VM's ranks run
  Varying<Bandwidth> idle_dirty_rate;  ///< always
};

struct VmGroup {
  std::string name;
  std::uint32_t count = 1;
  bool numbered = false;  ///< as in HostGroup
  Reference on;
  Spread spread = Spread::round_robin;
  std::uint32_t vcpus = 1;
  Varying<Bytes> memory;
  std::uint32_t virtual_functions = 1;  ///< 0 or 1
  Bytes ivshmem;                        ///< 0: none
  SocketChoice numa;
  std::uint32_t containers = 0;  ///< in each VM; 0: its ranks are in none
  PageBehaviour pages;
};

enum class Suspend { peers, job };
enum class Reconnect { lazy, eager };

/// What the runtime knows of where ranks are (Zhang, Lu, Panda, VEE 2017).
enum class ChannelMode {
  isolated,   ///< the word `default`: only within one container, or within a VM without containers
  one_layer,  ///< also containers of one VM
  two_layer,  ///< also VMs of one host
  hybrid,     ///< and between sockets of one host whatever is faster, also through the adapter
};
/// What joins ranks that share no memory.
enum class ChannelDevice { sriov, passthrough, native };

/// `auto` has no size.
struct EagerThreshold {
  std::optional<Bytes> size;
};

struct ChannelChoices {
  ChannelMode mode = ChannelMode::hybrid;
  ChannelDevice device = ChannelDevice::sriov;
  EagerThreshold eager_threshold;
};

struct Job {
  std::string name;
  std::uint32_t count = 1;  ///< name0, name1, ... over even parts of the VMs
  bool numbered = false;    ///< as in HostGroup
  Reference vms;            ///< `on: {vms: ...}`
  std::uint32_t ranks = 1;  ///< per VM, or per container where VMs have any
  Strategy strategy = Strategy::migration_thread;
  Suspend suspend = Suspend::peers;
  Reconnect reconnect = Reconnect::lazy;
  ChannelChoices channels;
  std::optional<Bytes> ivshmem;  ///< of its region on each host; none: an equal part of the device
  Workload workload;
};

enum class Place { spread, pack, in_order };

/// `at: 2s` or `at: never`
struct StartTime {
  bool never = false;
  Duration at;
  auto operator<=>(const StartTime&) const = default;
};

struct MemoryOptions {
  MemoryMode mode = MemoryMode::precopy;
  Duration downtime_limit = Duration::milliseconds(300);
  Bandwidth bandwidth_limit = Bandwidth::unlimited();  ///< `none`
  bool pin_all = true;
  std::uint32_t max_rounds = 30;
  bool auto_converge = false;
  Compression compression = Compression::none;
  std::uint32_t streams = 1;
  std::vector<OnStall> on_stall = {OnStall::abort};
};

struct Timeouts {
  Duration suspend = Duration::milliseconds(30'000);
  Duration detach = Duration::milliseconds(30'000);
  Duration ivshmem = Duration::milliseconds(30'000);
  Duration migration = Duration::milliseconds(800'000);
  Duration attach = Duration::milliseconds(60'000);
};

struct Retry {
  std::uint32_t attempts = 0;
  Duration wait = Duration::milliseconds(10'000);
};

struct Migration {
  std::string name;
  Reference vms;  ///< empty with `evacuate`: all VMs
  /// Hosts that are emptied: of `vms`, those that are there at the start go to `to`, never to one
  /// of these.
  std::optional<Reference> evacuate;
  /// Hosts that change places with the hosts of `vms`, one with one: `vms` go there, and all VMs
  /// that are there at the start come here.
  std::optional<Reference> swap_with;
  std::optional<Reference> to;  ///< none: `any`
  Place place = Place::spread;
  /// With another moment than any the migration is asked for when it comes, from `at` on.
  RankMoment when = RankMoment::any;
  StartTime at;
  Transport transport = Transport::tcp;
  DeviceStrategy device = DeviceStrategy::detach;
  MemoryOptions memory;
  Timeouts timeouts;
  Retry retry;
};

enum class Order { sequential, parallel, planned };
enum class Batch { vm, job, all };

/// No value: `unlimited`.
using Limit = std::optional<std::uint32_t>;

struct Limits {
  Limit cluster;
  Limit host_out;
  Limit host_in;
  Limit link;  ///< moves that share a link direction
};

struct Schedule {
  Order order = Order::parallel;
  Batch batch = Batch::vm;
  Limits limits;
  Duration stagger;  ///< least time between the starts of two waves
};

/// One of `{before: [a, b]}`, `{together: [a, b]}`, `{apart: [a, b]}`, `{deadline: 10min}`: the
/// others are empty.
struct Constraint {
  std::vector<Reference> before;    ///< two: the moves of the first end before the second's begin
  std::vector<Reference> together;  ///< moved in one wave, to one host
  std::vector<Reference> apart;     ///< never two of them on one host
  Duration deadline;  ///< from the first migration's start to the end of all; zero: not this one
};

/// One of `{phase: attach_vf, vm: vm3, fail: once}`, `{phase: migration, vm: vm1, stall: 10s}`,
/// `{journal: 7, controller_down: 5s}` and `{at: 3s, host_down: host4}` with its relatives; the
/// members of the others are empty.
struct Fault {
  // of a phase
  Phase phase = Phase::migration;
  Reference vm;
  enum class Fail { no, once, always } fail = Fail::no;
  Duration stall;

  // of the controller: it goes down as it writes this record of its journal; 0: it does not
  std::uint32_t journal = 0;
  Duration controller_down;  ///< after this time another one resumes
  enum class LastRecord {
    torn,     ///< half of it is on disk
    whole,    ///< it is on disk, and what it announces is not done
    missing,  ///< nothing of it: what the one before announced may have been done
  } last_record = LastRecord::torn;

  // of the cluster: hosts, one of the four
  Duration at;
  Reference host_down;
  Reference link_down;
  Reference slow_link;
  Reference late_libvirt;
  std::string network;  ///< of a link; empty: every network
  Ratio factor;         ///< of a slow link: what is left of its bandwidth
  Duration delay;       ///< of late answers; zero: no answer until it is over
  Duration lasts;       ///< the key `for`; zero: until the end of the run

  [[nodiscard]] bool of_cluster() const {
    return !host_down.text.empty() || !link_down.text.empty() || !slow_link.text.empty() ||
           !late_libvirt.text.empty();
  }
};

struct Outputs {
  bool trace = true;
  bool links = true;
  bool twin = true;
};

struct Scenario {
  std::string name;
  std::string description;
  Platform platform;
  std::uint64_t seed = 1;
  Cluster cluster;
  std::vector<VmGroup> vms;
  std::vector<Job> jobs;
  std::vector<Migration> migrations;
  Schedule schedule;
  std::vector<Constraint> constraints;
  std::vector<Fault> faults;
  Outputs outputs;
};

}  // namespace ferry
