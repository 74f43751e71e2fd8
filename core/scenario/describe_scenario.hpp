// The keys of a scenario file.
#pragma once

#include <fmt/format.h>

#include "core/scenario/describe_platform.hpp"
#include "core/scenario/describe_values.hpp"
#include "core/scenario/describe_workload.hpp"
#include "core/scenario/scenario.hpp"

namespace ferry {

template <class Visitor>
void describe(Visitor& v, HostGroup& host) {
  v.about("A host, or with `count` a group of equal hosts.");
  v.required("name", host.name, ItemName{}, "The host's name, or the group's.");
  v.count("count", host.count, host.numbered, limits::hosts,
          "How many: name0, name1, ... Without it there is one, called by the name.");
  v.required("cores", host.cores, Between{1U, limits::cores},
             "Cores; the VMs on the host have at most so many vcpus together.");
  v.required("memory", host.memory, Between{Pages::size(), limits::memory}, "Memory for guests.");
  v.optional("virtual_functions", host.virtual_functions, Between{0U, limits::virtual_functions},
             "SR-IOV virtual functions of the host's adapter.");
  if (!v.optional_as("ivshmem", host.ivshmem, any_size, "the host's memory",
                     "Memory that may back IVShmem regions.")) {
    host.ivshmem = host.memory;
  }
  v.present_if(host.numa.cores > 0);
  if (v.optional_as("numa", host.numa, SocketsByCores{}, "one socket",
                    "Sockets x cores of each: \"2x8\".") &&
      host.numa.cores > 0 && host.cores > 0 &&
      std::uint64_t{host.numa.count} * host.numa.cores != host.cores) {
    v.complain(
        "numa", Problem::contradiction,
        fmt::format("{}x{} are {} cores, and cores says {}; write them alike", host.numa.count,
                    host.numa.cores, std::uint64_t{host.numa.count} * host.numa.cores, host.cores));
  }
}

template <class Visitor>
void describe(Visitor& v, Cluster& cluster) {
  v.about("The machines.");
  v.list("hosts", cluster.hosts, Need::required, 1, "The hosts.");
  v.list("networks", cluster.networks, Need::optional, 0,
         "The networks that join the hosts; default: the platform's.");
}

template <class Visitor>
void describe(Visitor& v, PageBehaviour& pages) {
  v.about("What the guest's memory holds and how it changes.");
  v.required("zero", pages.zero, share, "Share of the memory that was never written.");
  v.optional("working_set", pages.working_set, any_size,
             "What is written again and again; at most the memory that is not zero. Required with "
             "a dirty rate.");
  v.optional("dirty_rate", pages.dirty_rate, any_speed,
             "How fast memory is dirtied while the VM's ranks run, on top of idle_dirty_rate.");
  v.optional("idle_dirty_rate", pages.idle_dirty_rate, any_speed,
             "How fast memory is dirtied always.");
}

template <class Visitor>
void describe(Visitor& v, VmGroup& vm) {
  v.about("A virtual machine, or with `count` a group of them.");
  v.required("name", vm.name, ItemName{}, "The VM's name, or the group's.");
  v.count("count", vm.count, vm.numbered, limits::vms,
          "How many: name0, name1, ... Without it there is one, called by the name.");
  v.required("on", vm.on, HostNames{}, "The hosts where the VMs are at the start.");
  v.optional("spread", vm.spread, Word{},
             "How the VMs are dealt to the hosts: in turn, or each host filled before the next.");
  v.optional("vcpus", vm.vcpus, Between{1U, limits::cores}, "Virtual CPUs; each takes a core.");
  v.required("memory", vm.memory, Between{Pages::size(), limits::memory}, "Guest memory.");
  v.optional("virtual_functions", vm.virtual_functions, Between{0U, 1U},
             "Virtual functions that the VM holds.");
  v.optional("ivshmem", vm.ivshmem, any_size, "Size of the VM's IVShmem device; 0B: none.");
  v.optional(
      "numa", vm.numa, SocketOrAny{},
      "The socket that its vCPUs are kept on, on every host; any: where most cores are free.");
  v.optional("containers", vm.containers, Between{0U, limits::containers},
             "Containers in each VM, which its ranks run in.");
  v.required("pages", vm.pages, Mapping{}, "The behaviour of its memory.");
}

template <class Visitor>
void describe(Visitor& v, ChannelChoices& channels) {
  v.about("How its ranks reach each other; needs channels in the platform file.");
  v.optional("mode", channels.mode, Word{},
             "What the runtime knows of where ranks are: shared memory only within one container "
             "(default), also between containers of a VM (one_layer), also between VMs of a host "
             "(two_layer), and there between sockets the adapter for what it is faster at "
             "(hybrid).");
  v.optional("device", channels.device, Word{},
             "What joins the others: virtual functions, whole adapters, or adapters without "
             "virtualisation.");
  v.optional("eager_threshold", channels.eager_threshold, SizeOrAuto{{Bytes(0), limits::packet}},
             "The largest message that is sent without asking; auto: what the profiles of the "
             "channels say.");
}

template <class Visitor>
void describe(Visitor& v, Job& job) {
  v.about("An MPI job, or with `count` several over even parts of the VMs.");
  v.required("name", job.name, ItemName{}, "The job's name, or the group's.");
  v.count("count", job.count, job.numbered, limits::jobs,
          "How many: name0, name1, ... Without it there is one, called by the name.");
  v.group("on", Need::required, "Where its ranks run.", [&](auto& on) {
    on.about("Where a job's ranks run.");
    on.required("vms", job.vms, VmNames{}, "The VMs.");
    on.present_if(job.count > 1);
    if (on.fixed("split", "even", {}, Need::optional,
                 "How the VMs are divided among the jobs of a group (only with count > 1).") &&
        job.count <= 1) {
      on.complain("split", Problem::contradiction,
                  "there is only one job to divide the VMs among; leave out split, or give a count "
                  "above 1");
    }
    on.unsupported({"hosts", "containers"});
  });
  v.required("ranks", job.ranks, Between{1U, limits::ranks_per_vm},
             "Ranks in each VM, or in each container where the VMs have any.");
  v.optional("strategy", job.strategy, Word{},
             "What the MPI runtime does about a migration request.");
  v.optional("suspend", job.suspend, Word{},
             "The channels that are drained: to and from moving ranks, or all of the job.");
  v.optional("reconnect", job.reconnect, Word{},
             "Channels come back when they are needed, or before reactivation ends.");
  v.optional("channels", job.channels, Mapping{}, "How its ranks reach each other.");
  v.present_if(job.ivshmem.has_value());
  v.optional_as("ivshmem", job.ivshmem, MaybeSize{any_size},
                "an equal part of the VMs' devices for each of their jobs",
                "Its region on each host, of the VMs' IVShmem devices; 0B: it uses none.");
  v.optional("workload", job.workload, Mapping{}, "What the ranks do.");
}

template <class Visitor>
void describe(Visitor& v, MemoryOptions& memory) {
  v.about("How guest memory is moved.");
  v.optional(
      "mode", memory.mode, Word{},
      "While the guest runs on its source (precopy), after it has moved (postcopy), one round "
      "before and the rest after (hybrid), or with the guest stopped (offline).");
  v.optional("downtime_limit", memory.downtime_limit,
             Between{Duration::nanoseconds(1), limits::time},
             "Pre-copy switches over when the rest would take no longer than this.");
  v.optional("bandwidth_limit", memory.bandwidth_limit, SpeedOrNone{moving_speed},
             "The most that one VM's migration may use; what is left for the pause in the end has no limit.");
  v.optional("pin_all", memory.pin_all, YesOrNo{},
             "With transport rdma: register all guest memory first; zero pages are sent too.");
  v.optional("max_rounds", memory.max_rounds, Between{1U, 100'000U},
             "Pre-copy that has not converged after so many rounds has stalled.");
  v.optional("auto_converge", memory.auto_converge, YesOrNo{},
             "Throttle a guest that dirties its memory too fast.");
  v.optional("compression", memory.compression, Word{},
             "None, differences to what was sent before (xbzrle), or each page (zstd).");
  v.optional("streams", memory.streams, Between{1U, 255U},
             "Parallel streams; above 1 they are QEMU's multifd channels.");
  v.optional("on_stall", memory.on_stall, Words{1},
             "What happens to a pre-copy that has stalled, one after the other; each but the last "
             "gives it another max_rounds.");
}

template <class Visitor>
void describe(Visitor& v, Timeouts& timeouts) {
  v.about("How long each step may take before it has failed.");
  const Between<Duration> bounds{Duration::nanoseconds(1), limits::time};
  v.optional("suspend", timeouts.suspend, bounds, "Until every rank is ready.");
  v.optional("detach", timeouts.detach, bounds, "Until the virtual function is gone.");
  v.optional("ivshmem", timeouts.ivshmem, bounds, "Until the IVShmem device is gone, or back.");
  v.optional("migration", timeouts.migration, bounds, "Until the VM runs on its new host.");
  v.optional("attach", timeouts.attach, bounds, "Until the new virtual function is active.");
}

template <class Visitor>
void describe(Visitor& v, Retry& retry) {
  v.about("Whether a migration that failed is tried again.");
  v.optional("attempts", retry.attempts, Between{0U, 1000U}, "Further attempts after the first.");
  v.optional("wait", retry.wait, any_time, "Time between attempts.");
}

template <class Visitor>
void describe(Visitor& v, Migration& migration) {
  v.about("VMs that are to move.");
  v.required("name", migration.name, ItemName{}, "The migration's name.");
  v.present_if(migration.evacuate.has_value());
  const bool evacuates = v.optional_as(
      "evacuate", migration.evacuate, HostNames{}, "none",
      "Hosts that are emptied: the VMs that are there at the start go elsewhere, never to one of "
      "these hosts.");
  if (evacuates) {
    v.present_if(!migration.vms.text.empty());
    v.optional_as("vms", migration.vms, VmNames{}, "with evacuate, all",
                  "The VMs; with evacuate, of these the ones that are on its hosts.");
  } else {
    v.required("vms", migration.vms, VmNames{}, "The VMs.");
  }
  v.present_if(migration.swap_with.has_value());
  const bool swaps = v.optional_as(
      "swap_with", migration.swap_with, HostNames{}, "none",
      "Hosts that change places with the hosts of `vms`, one with one: `vms` go there, and all VMs "
      "that are there at the start come here.");
  if (evacuates || swaps) {
    v.present_if(!migration.swap_with.has_value());
    const bool goes =
        v.optional_as("to", migration.to, HostNamesOrAny{}, "with evacuate, any",
                      "The hosts that they may go to; required without evacuate and swap_with.");
    if (migration.swap_with && (goes || migration.evacuate)) {
      v.complain("swap_with", Problem::contradiction,
                 "swap_with says both who goes and where to; leave out evacuate and to, or write "
                 "evacuate and to without swap_with");
    }
  } else {
    v.required("to", migration.to, HostNamesOrAny{}, "The hosts that they may go to.");
  }
  v.optional("place", migration.place, Word{},
             "Which of the hosts: the emptiest, the fullest that fits, or one after the other.");
  if (v.optional("when", migration.when, Word{},
                 "What the first rank of the first VM does when the request reaches it: it "
                 "computes, or it enters MPI. A wave waits for that before it begins, with "
                 "its places held.")) {
    v.optional("at", migration.at, TimeOrNever{},
               "When the migration is asked for, at the earliest; required without when.");
  } else {
    v.required("at", migration.at, TimeOrNever{}, "When the migration is asked for.");
  }
  v.optional("transport", migration.transport, Word{}, "What carries the guest's memory.");
  v.optional(
      "device", migration.device, Word{},
      "What is done about the virtual function: it is unplugged and plugged again while jobs "
      "are suspended (detach), or while their traffic goes over a paravirtual NIC "
      "(failover), or its state moves with the VM (vfio).");
  v.optional("memory", migration.memory, Mapping{}, "How guest memory is moved.");
  v.optional("timeouts", migration.timeouts, Mapping{}, "When a step has failed.");
  v.optional("retry", migration.retry, Mapping{}, "Whether it is tried again.");
}

template <class Visitor>
void describe(Visitor& v, Limits& limits) {
  v.about("How many VMs may be on the move at once.");
  const CountOrUnlimited rule{{1U, ferry::limits::vms}};
  v.optional("cluster", limits.cluster, rule, "In the whole cluster.");
  v.optional("host_out", limits.host_out, rule, "Away from one host.");
  v.optional("host_in", limits.host_in, rule, "To one host.");
  v.optional("link", limits.link, rule, "Over one direction of one link.");
}

template <class Visitor>
void describe(Visitor& v, Schedule& schedule) {
  v.about("The order of all migrations of the scenario.");
  v.optional(
      "order", schedule.order, Word{},
      "One after the other; side by side as the limits allow; or planned: several schedules are "
      "forecast, and the best one is taken.");
  v.optional("batch", schedule.batch, Word{},
             "What is suspended and moved together: each VM, each job's VMs, or all.");
  v.optional("limits", schedule.limits, Mapping{}, "How many move at once.");
  v.optional("stagger", schedule.stagger, any_time, "Least time between the starts of two waves.");
}

template <class Visitor>
void describe(Visitor& v, Constraint& constraint) {
  v.about("Something that every order keeps; one key each.");
  v.present_if(!constraint.before.empty());
  int given = v.optional_as("before", constraint.before, VmLists{2, 2}, "none",
                            "Two: the VMs that move first, and those that move when all of the "
                            "first have arrived.")
                  ? 1
                  : 0;
  v.present_if(!constraint.together.empty());
  given += v.optional_as("together", constraint.together, VmLists{}, "none",
                         "VMs that are moved in one wave, to one host.")
               ? 1
               : 0;
  v.present_if(!constraint.apart.empty());
  given += v.optional_as("apart", constraint.apart, VmLists{}, "none",
                         "VMs of which never two are on one host, not even while they move.")
               ? 1
               : 0;
  v.present_if(constraint.deadline > Duration::zero());
  given += v.optional_as("deadline", constraint.deadline,
                         Between{Duration::nanoseconds(1), limits::time}, "none",
                         "From the first migration's `at` until the last move has ended; a plan "
                         "that is predicted to take longer is refused.")
               ? 1
               : 0;
  if (given != 1) {
    v.complain("", Problem::contradiction,
               "a constraint has one key: before, together, apart or deadline; write one item for "
               "each");
  }
}

/// The keys of a fault of the controller; true if any was given.
template <class Visitor>
bool describe_controller_fault(Visitor& v, Fault& fault) {
  const bool there = fault.journal > 0;
  v.present_if(there);
  const bool strikes = v.optional_as(
      "journal", fault.journal, Between{1U, 100'000'000U}, "none",
      "The record of its journal, counted from 1, in whose writing the controller goes down.");
  v.present_if(there);
  const bool returns =
      v.optional_as("controller_down", fault.controller_down, any_time, "none",
                    "The time until another controller comes and resumes; with journal.");
  v.present_if(there);
  const bool says =
      v.optional_as("last_record", fault.last_record, Word{}, "torn",
                    "With journal: what is on disk of the record. torn: half of it; whole: all of "
                    "it, and what it announces is not done; missing: nothing.");
  if ((returns || says) && !strikes) {
    v.complain(returns ? "controller_down" : "last_record", Problem::contradiction,
               returns ? "says for how long but not when; give journal: NUMBER too"
                       : "says what is left of a record but not of which; give journal: NUMBER and "
                         "controller_down: TIME too");
  } else if (strikes && !returns) {
    v.complain("journal", Problem::contradiction,
               "says when but not for how long; give controller_down: TIME too");
  }
  return strikes || returns || says;
}

/// The keys of a fault of hosts or links; true if any was given.
template <class Visitor>
bool describe_cluster_fault(Visitor& v, Fault& fault) {
  const auto hosts = [&](std::string_view key, Reference& names, std::string_view doc) {
    v.present_if(!names.text.empty());
    return v.optional_as(key, names, HostNames{}, "none", doc);
  };
  v.present_if(fault.of_cluster());
  const bool at =
      v.optional_as("at", fault.at, any_time, "none; required with hosts", "When it begins.");
  const bool down = hosts("host_down", fault.host_down,
                          "Hosts that go down. The VMs on them are lost, also if they come back.");
  const bool link =
      hosts("link_down", fault.link_down,
            "Hosts whose link to their networks goes down. What libvirt is asked goes "
            "another way.");
  const bool slow = hosts("slow_link", fault.slow_link,
                          "Hosts whose link to their networks becomes slower; with factor.");
  const bool late =
      hosts("late_libvirt", fault.late_libvirt,
            "Hosts whose libvirt answers late: what it is asked is done when the time "
            "is over, or with delay that much later.");
  v.present_if(!fault.network.empty());
  const bool network = v.optional_as("network", fault.network, ItemName{}, "all of them",
                                     "With link_down and slow_link: the name of the network.");
  v.present_if(fault.factor > Ratio(0));
  const bool factor =
      v.optional_as("factor", fault.factor, Between{Ratio(0.0001), Ratio(1)}, "none",
                    "With slow_link: the share of the link's bandwidth that is left.");
  v.present_if(fault.delay > Duration::zero());
  const bool delay = v.optional_as("delay", fault.delay, some_time, "none",
                                   "With late_libvirt: how late each answer is.");
  v.present_if(fault.lasts > Duration::zero());
  const bool lasts =
      v.optional_as("for", fault.lasts, some_time, "until the end", "How long it lasts.");
  const int kinds = (down ? 1 : 0) + (link ? 1 : 0) + (slow ? 1 : 0) + (late ? 1 : 0);
  if (kinds == 0 && !at && !network && !factor && !delay && !lasts) return false;
  const auto complain = [&](std::string_view key, std::string_view message) {
    v.complain(key, Problem::contradiction, std::string(message));
  };
  if (kinds != 1) {
    complain("",
             "a fault of the cluster has one of host_down, link_down, slow_link and late_libvirt; "
             "write one item for each");
  } else if (!at) {
    complain("", "it says what goes wrong but not when; give at: TIME too");
  } else if (network && !link && !slow) {
    complain("network", "only a link has a network; leave it out, or write link_down or slow_link");
  } else if (factor != slow) {
    complain(slow ? "slow_link" : "factor",
             slow ? "says which link but not how slow; give factor: SHARE too"
                  : "only a slow link has a factor; leave it out, or write slow_link");
  } else if (delay && !late) {
    complain("delay", "only late answers have a delay; leave it out, or write late_libvirt");
  } else if (late && !delay && !lasts) {
    complain("late_libvirt",
             "says neither how late the answers are nor when they come again; give delay: TIME or "
             "for: TIME too");
  }
  return true;
}

/// The keys of a fault of a phase; true if any was given. `alone`: there are no others, so that
/// some of these are required.
template <class Visitor>
bool describe_phase_fault(Visitor& v, Fault& fault, bool alone) {
  const bool there = !fault.vm.text.empty();
  constexpr std::string_view otherwise = "none; required where nothing else goes wrong";
  bool phase = true;
  bool vms = true;
  if (alone) {
    v.required("phase", fault.phase, Word{}, "The phase.");
    v.required("vm", fault.vm, VmNames{}, "The VMs.");
  } else {
    v.present_if(there);
    phase = v.optional_as("phase", fault.phase, Word{}, otherwise, "The phase.");
    v.present_if(there);
    vms = v.optional_as("vm", fault.vm, VmNames{}, otherwise, "The VMs.");
  }
  v.present_if(there);
  const bool fails =
      v.optional("fail", fault.fail, Word{}, "Whether it fails the first time or always.");
  v.present_if(there);
  const bool stalls = v.optional("stall", fault.stall, any_time, "Additional time that it takes.");
  if (!alone) return phase || vms || fails || stalls;
  if (!fails && !stalls) {
    v.complain("", Problem::contradiction,
               "this fault does nothing; give fail: once, fail: always or stall: TIME");
  } else if (fault.fail != Fault::Fail::no && fault.stall > Duration::zero()) {
    v.complain("stall", Problem::contradiction,
               "a phase either fails or stalls; write two faults for both");
  }
  return true;
}

template <class Visitor>
void describe(Visitor& v, Fault& fault) {
  v.about(
      "Something that goes wrong: a phase of a VM's migration fails, or takes longer; a host or a "
      "link goes down, or is slow; or the controller goes down.");
  const bool of_controller = describe_controller_fault(v, fault);
  const bool of_cluster = describe_cluster_fault(v, fault);
  const bool of_phase = describe_phase_fault(v, fault, !of_controller && !of_cluster);
  if ((of_controller ? 1 : 0) + (of_cluster ? 1 : 0) + (of_phase ? 1 : 0) > 1) {
    v.complain(of_controller ? "journal" : "", Problem::contradiction,
               fmt::format("{}; write two faults for both",
                           !of_controller ? "a phase of a VM is no host"
                           : of_phase     ? "the controller is no phase of a VM"
                                          : "the controller is no host"));
  }
}

template <class Visitor>
void describe(Visitor& v, Outputs& outputs) {
  v.about("What is written besides the tables.");
  v.optional("trace", outputs.trace, YesOrNo{}, "trace.json, which Perfetto opens.");
  v.optional("links", outputs.links, YesOrNo{},
             "links.csv and link_usage.csv: what each link carried. Of simulations only.");
  v.optional("twin", outputs.twin, YesOrNo{},
             "Runs jobs a second time, without migrations, to know what these cost them. Of "
             "simulations only.");
}

template <class Visitor>
void describe(Visitor& v, Scenario& scenario) {
  v.about("Ferry scenario: machines, VMs, jobs and their migrations.");
  v.version("ferry");
  v.required("name", scenario.name, TitleName{},
             "The scenario's name; run folders are named by it.");
  v.optional("description", scenario.description, FreeText{}, "What it shows, for people.");
  v.platform("platform", scenario.platform,
             "The test bed's constants: a file, or a mapping with `base: FILE` and keys that "
             "override it.");
  v.optional("seed", scenario.seed, Between{std::uint64_t{0}, ~std::uint64_t{0}},
             "Seed of all random quantities.");
  v.required("cluster", scenario.cluster, Mapping{}, "The machines.");
  v.list("vms", scenario.vms, Need::required, 1, "The virtual machines.");
  v.list("jobs", scenario.jobs, Need::optional, 0, "The MPI jobs.");
  v.list("migrations", scenario.migrations, Need::optional, 0, "The VMs that move.");
  v.optional("schedule", scenario.schedule, Mapping{}, "The order of all migrations.");
  v.list("constraints", scenario.constraints, Need::optional, 0, "What every order keeps.");
  v.list("faults", scenario.faults, Need::optional, 0, "What goes wrong.");
  v.optional("outputs", scenario.outputs, Mapping{}, "What is written.");
}

}  // namespace ferry
