#include "core/scenario/expand.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "core/ports/randomness.hpp"
#include "core/scenario/describe_values.hpp"
#include "core/scenario/references.hpp"
#include "core/units/check.hpp"

namespace ferry {
namespace {

std::uint64_t add_saturated(std::uint64_t a, std::uint64_t b) {
  return a > std::numeric_limits<std::uint64_t>::max() - b
             ? std::numeric_limits<std::uint64_t>::max()
             : a + b;
}

/// What a VM takes and a host has.
struct Room {
  std::uint64_t cores = 0;
  std::uint64_t memory = 0;
  std::uint64_t virtual_functions = 0;
  std::uint64_t ivshmem = 0;

  void add(const Room& other) {
    cores = add_saturated(cores, other.cores);
    memory = add_saturated(memory, other.memory);
    virtual_functions = add_saturated(virtual_functions, other.virtual_functions);
    ivshmem = add_saturated(ivshmem, other.ivshmem);
  }
  [[nodiscard]] bool holds(const Room& other) const {
    return other.cores <= cores && other.memory <= memory &&
           other.virtual_functions <= virtual_functions && other.ivshmem <= ivshmem;
  }
  auto operator<=>(const Room&) const = default;
};

/// "40GiB of memory, more than the 32GiB there": the first thing that `has` lacks for `needed`.
std::string lack(const Room& needed, const Room& has) {
  const auto shortage = [](const std::string& need, const std::string& have,
                           std::string_view what) {
    return fmt::format("{} {}, more than the {} there", need, what, have);
  };
  if (needed.memory > has.memory) {
    return shortage(to_text(Bytes(needed.memory)), to_text(Bytes(has.memory)), "of memory");
  }
  if (needed.cores > has.cores) {
    return shortage(fmt::format("{}", needed.cores), fmt::format("{}", has.cores), "cores");
  }
  if (needed.virtual_functions > has.virtual_functions) {
    return shortage(fmt::format("{}", needed.virtual_functions),
                    fmt::format("{}", has.virtual_functions), "virtual functions");
  }
  return shortage(to_text(Bytes(needed.ivshmem)), to_text(Bytes(has.ivshmem)), "of IVShmem memory");
}

Room room_of(const HostSpec& host) {
  return {host.cores, host.memory.count(), host.virtual_functions, host.ivshmem.count()};
}
Room room_of(const VmSpec& vm) {
  return {vm.vcpus, vm.memory.count(), vm.virtual_function ? 1U : 0U, vm.ivshmem.count()};
}

template <class Quantity>
bool may_be_positive(const Varying<Quantity>& varying) {
  const auto* fixed = std::get_if<Quantity>(&varying.law);
  return fixed == nullptr || *fixed > Quantity{};
}

/// Draws from the stream `seed` / `NAME/what`, which depends on nothing else.
template <class Quantity>
Quantity draw_named(const Varying<Quantity>& varying, std::uint64_t seed, std::string_view item,
                    std::string_view what) {
  if (const auto* fixed = std::get_if<Quantity>(&varying.law)) return *fixed;
  RandomStream stream(seed, fmt::format("{}/{}", item, what));
  return draw(varying, stream);
}

/// Whole pages, rounded down (a host of 32 GB holds a VM of 32 GB), at least one.
Bytes whole_pages(Bytes amount) {
  const std::uint64_t page = Pages::size().count();
  return Bytes(std::max<std::uint64_t>(amount.count() / page, 1) * page);
}

template <class Group>
std::vector<NamedGroup> groups_of(const std::vector<Group>& items) {
  std::vector<NamedGroup> groups;
  groups.reserve(items.size());
  for (const Group& item : items) groups.push_back({item.name, item.count, item.numbered});
  return groups;
}

template <class Group>
std::uint64_t total_of(const std::vector<Group>& items) {
  std::uint64_t total = 0;
  for (const Group& item : items) total += item.count;
  return total;
}

class Expander {
 public:
  Expander(const Scenario& scenario, ScenarioProblems& problems)
      : scenario_(scenario), problems_(problems) {}

  Instance run() {
    out_.networks = scenario_.cluster.networks.empty() ? scenario_.platform.networks
                                                       : scenario_.cluster.networks;
    const bool countable = totals_allowed();
    unique_names();
    networks();
    memory_settings();
    device_settings();
    if (!countable) return std::move(out_);
    hosts_.emplace("host", groups_of(scenario_.cluster.hosts));
    vms_.emplace("VM", groups_of(scenario_.vms));
    report_collisions(*hosts_, {{"cluster"}, {"hosts"}}, "host");
    report_collisions(*vms_, {{"vms"}}, "VM");
    resolve_references();
    page_behaviour();
    // Placement and what follows need every number to be right.
    if (problems_.any()) return std::move(out_);
    expand_hosts();
    expand_vms();
    expand_jobs();
    if (problems_.any()) return std::move(out_);
    expand_moves();
    expand_faults();
    expand_constraints();
    return std::move(out_);
  }

 private:
  using Where = std::vector<PathStep>;

  static Where at(std::string_view list, std::size_t item, std::string_view key) {
    return {{list}, {{}, item}, {key}};
  }

  bool totals_allowed() {
    bool good = true;
    const auto check_total = [&](std::uint64_t total, std::uint64_t most, const Where& where,
                                 std::string_view what) {
      if (total <= most) return;
      good = false;
      problems_.add(Problem::too_many, where,
                    fmt::format("{} {} in all; write at most {}", total, what, most));
    };
    check_total(total_of(scenario_.cluster.hosts), limits::hosts, {{"cluster"}, {"hosts"}},
                "hosts");
    check_total(total_of(scenario_.vms), limits::vms, {{"vms"}}, "VMs");
    check_total(total_of(scenario_.jobs), limits::jobs, {{"jobs"}}, "jobs");
    return good;
  }

  template <class Item>
  void unique(const std::vector<Item>& items, const Where& list, std::string_view noun) {
    std::map<std::string_view, std::size_t> first;
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (items[i].name.empty()) continue;
      const auto [found, is_new] = first.emplace(items[i].name, i);
      if (!is_new) same_name(list, i, noun, items[i].name);
    }
  }
  void same_name(Where list, std::size_t item, std::string_view noun, std::string_view name) {
    list.push_back({{}, item});
    list.push_back({"name"});
    problems_.add(Problem::duplicate_name, list,
                  fmt::format("there are two {}s called {}; give each a name of its own", noun,
                              in_quotes(name)));
  }

  void unique_names() {
    unique(scenario_.jobs, {{"jobs"}}, "job");
    unique(scenario_.migrations, {{"migrations"}}, "migration");
    unique(scenario_.cluster.networks, {{"cluster"}, {"networks"}}, "network");
    unique(scenario_.platform.networks, {{"platform"}, {"networks"}}, "network");
    // Jobs are called like VMs are: job0 of a group must be no other job.
    if (total_of(scenario_.jobs) <= limits::jobs) {
      const NameTable jobs("job", groups_of(scenario_.jobs));
      for (const NameTable::Collision& collision : jobs.collisions()) {
        if (scenario_.jobs[collision.first].name == scenario_.jobs[collision.second].name) continue;
        same_name({{"jobs"}}, collision.second, "job", collision.name);
      }
    }
  }

  void report_collisions(const NameTable& table, const Where& list, std::string_view noun) {
    for (const NameTable::Collision& collision : table.collisions()) {
      same_name(list, collision.second, noun, collision.name);
    }
  }

  void networks() {
    if (problems_.has_errors_in("platform") || problems_.has_errors_in("cluster")) return;
    const bool own = !scenario_.cluster.networks.empty();
    const Where list = own ? Where{{"cluster"}, {"networks"}} : Where{{"platform"}, {"networks"}};
    const std::uint64_t hosts = total_of(scenario_.cluster.hosts);
    for (std::size_t i = 0; i < out_.networks.size(); ++i) {
      const auto* fly = std::get_if<Dragonfly>(&out_.networks[i].topology);
      if (fly == nullptr) continue;
      // Each factor is at most 100,000 (17 bits): three fit, and the fourth is only needed if the
      // product of three is below the number of hosts.
      std::uint64_t places = std::uint64_t{fly->groups} * fly->chassis * fly->routers;
      if (places < hosts) places *= fly->hosts_per_router;
      Where where = list;
      where.push_back({{}, i});
      where.push_back({"topology"});
      if (fly->groups > fly->routers) {
        problems_.add(
            Problem::small_topology, where,
            fmt::format("this dragonfly has {} groups and {} routers in each chassis, and "
                        "the routers of a group's first chassis lead to the other groups, "
                        "one each; write at most as many groups as routers",
                        fly->groups, fly->routers));
      }
      if (places >= hosts) continue;
      problems_.add(Problem::small_topology, where,
                    fmt::format("this dragonfly has places for {} hosts, and there are {}; write "
                                "more groups, chassis, routers or hosts_per_router",
                                places, hosts));
    }
    if (problems_.has_errors_in("migrations")) return;
    for (std::size_t i = 0; i < scenario_.migrations.size(); ++i) {
      const Transport transport = scenario_.migrations[i].transport;
      const auto index = static_cast<std::size_t>(transport);
      std::string carriers;
      bool carried = false;
      for (const Network& network : out_.networks) {
        carried = carried || std::find(network.carries.begin(), network.carries.end(), transport) !=
                                 network.carries.end();
        for (const Transport other : network.carries) {
          if (!carriers.empty()) carriers += ", ";
          carriers += fmt::format("{} ({})", to_name(other), network.name);
        }
      }
      if (!carried) {
        problems_.add(Problem::no_carrier, at("migrations", i, "transport"),
                      fmt::format("no network carries {}; carried: {}", to_name(transport),
                                  carriers.empty() ? "nothing" : carriers));
      }
      if (scenario_.platform.streams[index].bandwidth == Bandwidth()) {
        problems_.add(
            Problem::no_stream, at("migrations", i, "transport"),
            fmt::format("the platform '{}' does not say what one stream of {} reaches; add "
                        "streams.{}.bandwidth to it, or choose another transport",
                        scenario_.platform.name, to_name(transport), to_name(transport)));
      }
    }
  }

  /// What QEMU (about 9.0) refuses to combine: `migrate_caps_check` and `migrate_rdma_caps_check`
  /// of migration/options.c; what would have no effect; and constants that only these settings
  /// need.
  void memory_settings() {
    if (problems_.has_errors_in("migrations")) return;
    for (std::size_t i = 0; i < scenario_.migrations.size(); ++i) {
      const Migration& migration = scenario_.migrations[i];
      const MemoryOptions& memory = migration.memory;
      const auto where = [&](std::string_view key) {
        return Where{{"migrations"}, {{}, i}, {"memory"}, {key}};
      };
      const auto refuse = [&](std::string_view key, std::string_view message) {
        problems_.add(Problem::refused_by_qemu, where(key), std::string(message));
      };
      const auto pointless = [&](std::string_view key, std::string message) {
        problems_.add(Problem::contradiction, where(key), std::move(message));
      };
      const bool rdma = migration.transport == Transport::rdma;
      const bool many = memory.streams > 1;
      const bool switches_by_mode =
          memory.mode == MemoryMode::postcopy || memory.mode == MemoryMode::hybrid;
      const bool switches_on_stall = std::find(memory.on_stall.begin(), memory.on_stall.end(),
                                               OnStall::postcopy) != memory.on_stall.end();
      const std::string_view switch_key = switches_by_mode ? "mode" : "on_stall";

      if (rdma && many) {
        refuse(
            "streams",
            "QEMU does not use RDMA and multifd together; write streams: 1, or another transport");
      }
      if (rdma && memory.compression == Compression::xbzrle) {
        refuse("compression",
               "QEMU does not use RDMA and XBZRLE together; write compression: none, or another "
               "transport");
      }
      if (rdma && (switches_by_mode || switches_on_stall)) {
        refuse(switch_key,
               fmt::format(
                   "QEMU does not use RDMA and post-copy together; {}, or choose another transport",
                   switches_by_mode ? "write mode: precopy" : "leave out postcopy"));
      }
      if (many && (switches_by_mode || switches_on_stall)) {
        refuse(switch_key,
               fmt::format("QEMU's post-copy does not work with multifd; write streams: 1, or {}",
                           switches_by_mode ? "mode: precopy" : "leave out postcopy"));
      }
      if (many && memory.compression == Compression::xbzrle) {
        refuse("compression",
               "QEMU does not use XBZRLE and multifd together; write streams: 1, or compression: "
               "zstd");
      }
      if (!many && memory.compression == Compression::zstd) {
        refuse("compression",
               rdma
                   ? "QEMU compresses with zstd in multifd streams only, and does not use RDMA and "
                     "multifd together; write compression: none, or another transport"
                   : "QEMU compresses with zstd in multifd streams only; write streams: 2 or more, "
                     "or compression: none");
      }
      if (memory.mode != MemoryMode::precopy) {
        const std::string_view mode = to_name(memory.mode);
        if (memory.auto_converge) {
          pointless(
              "auto_converge",
              fmt::format("only rounds of pre-copy throttle a guest, and mode {} has too few; "
                          "leave it out, or write mode: precopy",
                          mode));
        }
        if (memory.compression == Compression::xbzrle) {
          pointless("compression",
                    fmt::format("XBZRLE begins with the second round of pre-copy, and mode {} has "
                                "none; write compression: none, or mode: precopy",
                                mode));
        }
      }
      for (std::size_t k = 1; k < memory.on_stall.size(); ++k) {
        const OnStall before = memory.on_stall[k - 1];
        const OnStall action = memory.on_stall[k];
        const bool never =
            before == OnStall::abort || (before == OnStall::postcopy && action != OnStall::abort);
        if (!never) continue;
        Where entry = where("on_stall");
        entry.push_back({{}, k});
        problems_.add(
            Problem::contradiction, entry,
            fmt::format("{} would never happen: nothing stalls after {}; write it before, "
                        "or leave it out",
                        to_name(action), to_name(before)));
        break;
      }
      memory_costs(i, switches_by_mode || (switches_on_stall && memory.mode == MemoryMode::precopy),
                   switch_key);
    }
  }

  void memory_costs(std::size_t migration, bool switches, std::string_view switch_key) {
    if (problems_.has_errors_in("platform")) return;
    const Platform& platform = scenario_.platform;
    const MemoryOptions& memory = scenario_.migrations[migration].memory;
    if (switches && platform.hypervisor.postcopy_switch == Duration::zero()) {
      problems_.add(
          Problem::no_cost, {{"migrations"}, {{}, migration}, {"memory"}, {switch_key}},
          fmt::format("the platform '{}' does not say how long the guest pauses when "
                      "post-copy takes it to its new host; add hypervisor.postcopy_switch "
                      "to it, or do without post-copy",
                      platform.name));
    }
    if (memory.compression != Compression::none &&
        compression_costs(platform, memory.compression).speed == Bandwidth()) {
      const std::string_view method = to_name(memory.compression);
      problems_.add(Problem::no_cost,
                    {{"migrations"}, {{}, migration}, {"memory"}, {"compression"}},
                    fmt::format("the platform '{}' does not say what {} makes of guest memory; add "
                                "compression.{}: {{ratio: ..., speed: ...}} to it, or write "
                                "compression: none",
                                platform.name, method, method));
    }
  }

  /// What QEMU refuses with a virtual function that stays: post-copy
  /// (docs/devel/migration/vfio.rst: "currently not supported for VFIO devices"); and the constants
  /// that each way needs.
  void device_settings() {
    if (problems_.has_errors_in("migrations")) return;
    for (std::size_t i = 0; i < scenario_.migrations.size(); ++i) {
      const Migration& migration = scenario_.migrations[i];
      const MemoryOptions& memory = migration.memory;
      const bool by_mode = memory.mode == MemoryMode::postcopy || memory.mode == MemoryMode::hybrid;
      const bool on_stall = std::find(memory.on_stall.begin(), memory.on_stall.end(),
                                      OnStall::postcopy) != memory.on_stall.end();
      if (migration.device == DeviceStrategy::vfio && (by_mode || on_stall)) {
        problems_.add(
            Problem::refused_by_qemu, at("migrations", i, "device"),
            fmt::format("QEMU does no post-copy while a VFIO device is attached; {}, or "
                        "device: detach",
                        by_mode ? "write mode: precopy" : "leave postcopy out of on_stall"));
      }
      device_costs(i);
    }
  }

  void device_costs(std::size_t migration) {
    if (problems_.has_errors_in("platform")) return;
    const HypervisorCosts& costs = scenario_.platform.hypervisor;
    std::string_view key;
    switch (scenario_.migrations[migration].device) {
      case DeviceStrategy::detach: return;
      case DeviceStrategy::failover:
        if (costs.failover.throughput > Ratio(0)) return;
        key = "failover: {redirect: ..., throughput: ...}";
        break;
      case DeviceStrategy::vfio:
        if (costs.vfio.state > Bytes()) return;
        key = "vfio: {state: ..., save: ..., load: ...}";
        break;
    }
    problems_.add(
        Problem::no_cost, at("migrations", migration, "device"),
        fmt::format("the platform '{}' does not say what {} costs; add hypervisor.{} to "
                    "it, or write device: detach",
                    scenario_.platform.name, to_name(scenario_.migrations[migration].device), key));
  }

  /// Only `detach` takes IVShmem away, and QEMU moves no guest that has it in its default role.
  void keeps_no_ivshmem(std::size_t migration, const std::vector<std::uint32_t>& vms) {
    if (scenario_.migrations[migration].device == DeviceStrategy::detach) return;
    for (const std::uint32_t vm : vms) {
      if (out_.vms[vm].ivshmem == Bytes()) continue;
      problems_.add(
          Problem::refused_by_qemu, at("migrations", migration, "device"),
          fmt::format("{} has an IVShmem device, which {} leaves where it is, and QEMU "
                      "disables migration with one in peer mode; write ivshmem: 0B for "
                      "the VM, or device: detach",
                      out_.vms[vm].name, to_name(scenario_.migrations[migration].device)));
      return;
    }
  }

  /// `when` needs ranks that are seen to compute.
  void has_moments(std::size_t migration, const std::vector<std::uint32_t>& vms) {
    const RankMoment when = scenario_.migrations[migration].when;
    if (when == RankMoment::any) return;
    for (const std::uint32_t vm : vms) {
      const JobSpec* first = nullptr;
      for (const JobId job : out_.vms[vm].jobs) {
        if (first == nullptr && out_.jobs[job.index].communicates()) first = &out_.jobs[job.index];
      }
      if (first == nullptr) {
        problems_.add(
            Problem::no_job, at("migrations", migration, "when"),
            fmt::format("{} has no ranks that send messages, and nobody knows when it "
                        "computes; leave out when, or give it a job whose workload is not "
                        "timed",
                        out_.vms[vm].name));
        return;
      }
      if (when == RankMoment::computing && !computes(first->workload.type)) {
        problems_.add(Problem::contradiction, at("migrations", migration, "when"),
                      fmt::format("{} in {} never computes; write when: communicating, or leave it "
                                  "out",
                                  to_name(first->workload.type), out_.vms[vm].name));
        return;
      }
    }
  }

  /// The items, or nothing after a report.
  std::optional<ItemRanges> resolve(const NameTable& table, std::string_view list,
                                    const Reference& reference, const Where& where) {
    if (reference.text.empty()) return std::nullopt;  // not written or not readable: reported
    const auto ranges = table.resolve(reference.text);
    if (ranges) return *ranges;
    const Problem problem = ranges.error().problem;
    const bool may_be_consequence = problem == Problem::unknown_reference ||
                                    problem == Problem::index_beyond ||
                                    problem == Problem::named_twice;
    if (!may_be_consequence || !problems_.names_uncertain(list)) {
      problems_.add(problem, where, ranges.error().message);
    }
    return std::nullopt;
  }

  void resolve_references() {
    constexpr std::string_view host_list = "cluster.hosts";
    for (std::size_t i = 0; i < scenario_.vms.size(); ++i) {
      vms_on_.push_back(resolve(*hosts_, host_list, scenario_.vms[i].on, at("vms", i, "on")));
    }
    for (std::size_t i = 0; i < scenario_.jobs.size(); ++i) {
      job_vms_.push_back(
          resolve(*vms_, "vms", scenario_.jobs[i].vms, {{"jobs"}, {{}, i}, {"on"}, {"vms"}}));
    }
    for (std::size_t i = 0; i < scenario_.migrations.size(); ++i) {
      const Migration& migration = scenario_.migrations[i];
      migration_vms_.push_back(
          migration.evacuate && migration.vms.text.empty()
              ? std::optional<ItemRanges>(vms_->all())
              : resolve(*vms_, "vms", migration.vms, at("migrations", i, "vms")));
      const auto hosts_at = [&](const std::optional<Reference>& hosts, std::string_view key) {
        return hosts ? resolve(*hosts_, host_list, *hosts, at("migrations", i, key))
                     : std::optional<ItemRanges>();
      };
      evacuated_.push_back(hosts_at(migration.evacuate, "evacuate"));
      swapped_with_.push_back(hosts_at(migration.swap_with, "swap_with"));
      migration_to_.push_back(
          migration.to ? resolve(*hosts_, host_list, *migration.to, at("migrations", i, "to"))
                       : std::optional<ItemRanges>(hosts_->all()));
    }
    for (std::size_t i = 0; i < scenario_.constraints.size(); ++i) {
      const Constraint& constraint = scenario_.constraints[i];
      std::vector<std::optional<ItemRanges>>& lists = constraint_vms_.emplace_back();
      const auto add = [&](const std::vector<Reference>& list, std::string_view key) {
        for (std::size_t k = 0; k < list.size(); ++k) {
          lists.push_back(
              resolve(*vms_, "vms", list[k], {{"constraints"}, {{}, i}, {key}, {{}, k}}));
        }
      };
      add(constraint.before, "before");
      add(constraint.together, "together");
      add(constraint.apart, "apart");
    }
    for (std::size_t i = 0; i < scenario_.faults.size(); ++i) {
      const Fault& fault = scenario_.faults[i];
      const bool of_phase = fault.journal == 0 && !fault.of_cluster();
      fault_vms_.push_back(of_phase ? resolve(*vms_, "vms", fault.vm, at("faults", i, "vm"))
                                    : std::optional<ItemRanges>());
      const auto [key, hosts] = faulty_hosts(fault);
      fault_hosts_.push_back(fault.of_cluster()
                                 ? resolve(*hosts_, host_list, *hosts, at("faults", i, key))
                                 : std::optional<ItemRanges>());
    }
    split_and_sums();
  }

  void workload_fits(std::size_t job, std::uint64_t ranks) {
    const Workload& workload = scenario_.jobs[job].workload;
    // Without what is wrong with it already.
    if (problems_.has_errors_in(fmt::format("jobs.{}.workload", scenario_.jobs[job].name))) return;
    if (ranks <= limits::ranks) {
      if (const auto refused = refused_ranks(workload, static_cast<std::uint32_t>(ranks))) {
        problems_.add(Problem::unfit_ranks, {{"jobs"}, {{}, job}, {"workload"}}, *refused);
      }
    }
    if (problems_.has_errors_in("platform")) return;
    if (const auto missing = missing_time(workload, scenario_.platform.compute)) {
      problems_.add(
          Problem::no_cost, {{"jobs"}, {{}, job}, {"workload"}},
          fmt::format("the platform '{}' does not say {}", scenario_.platform.name, *missing));
    }
  }

  /// Sums that must be small before anything is expanded.
  void split_and_sums() {
    std::uint64_t ranks = 0;
    for (std::size_t i = 0; i < scenario_.jobs.size(); ++i) {
      if (!job_vms_[i]) continue;
      const Job& job = scenario_.jobs[i];
      const std::uint64_t vms = job_vms_[i]->size();
      if (vms % job.count != 0) {
        problems_.add(Problem::uneven_split, {{"jobs"}, {{}, i}, {"on"}},
                      fmt::format("{} VMs cannot be divided evenly among {} jobs; write a count "
                                  "that divides {}, or another number of VMs",
                                  vms, job.count, vms));
      }
      ranks += vms * ranks_per_vm(i);
      if (vms % job.count == 0) workload_fits(i, vms / job.count * ranks_per_vm(i));
    }
    if (ranks > limits::ranks) {
      problems_.add(Problem::too_many, {{"jobs"}},
                    fmt::format("{} ranks in all; write at most {}", ranks, limits::ranks));
    }
    std::uint64_t moves = 0;
    std::uint64_t candidates = 0;
    std::set<std::string_view> lists;
    for (std::size_t i = 0; i < scenario_.migrations.size(); ++i) {
      const Migration& migration = scenario_.migrations[i];
      // How many an evacuation or an exchange moves is known when the VMs are on their hosts.
      if (migration_vms_[i] && !migration.evacuate && !migration.swap_with) {
        moves += migration_vms_[i]->size();
      }
      if (migration_to_[i] && lists.insert(migration.to ? migration.to->text : "").second) {
        candidates += migration_to_[i]->size();
      }
    }
    if (moves > limits::moves) {
      problems_.add(Problem::too_many, {{"migrations"}},
                    fmt::format("{} moves in all; write at most {}", moves, limits::moves));
    }
    if (candidates > limits::candidates) {
      problems_.add(Problem::too_many, {{"migrations"}},
                    fmt::format("{} hosts to choose from in all; write fewer different `to`, or at "
                                "most {} hosts",
                                candidates, limits::candidates));
    }
    std::uint64_t faults = 0;
    for (const auto& vms : fault_vms_) faults += vms ? vms->size() : 0;
    for (const auto& hosts : fault_hosts_) faults += hosts ? hosts->size() : 0;
    if (faults > limits::faults) {
      problems_.add(Problem::too_many, {{"faults"}},
                    fmt::format("{} faults in all; write at most {}", faults, limits::faults));
    }
  }

  void page_behaviour() {
    std::vector<bool> busy(vms_->size(), false);
    bool jobs_known = !problems_.has_errors_in("jobs");
    for (const auto& vms : job_vms_) {
      if (!vms) {
        jobs_known = false;
        continue;
      }
      for (const ItemRanges::Range& range : vms->ranges()) {
        for (std::uint32_t vm = range.first; vm <= range.last; ++vm) busy[vm] = true;
      }
    }
    const bool sizes_known = !problems_.has_errors_in("vms");
    for (std::size_t i = 0; i < scenario_.vms.size(); ++i) {
      const VmGroup& group = scenario_.vms[i];
      const PageBehaviour& pages = group.pages;
      const auto where = [&](std::string_view key) {
        return Where{{"vms"}, {{}, i}, {"pages"}, {key}};
      };
      const std::uint32_t first = vms_->first_of(i);
      const bool in_job = std::any_of(busy.begin() + first, busy.begin() + first + group.count,
                                      [](bool is_busy) { return is_busy; });
      if (jobs_known && !in_job && may_be_positive(pages.dirty_rate)) {
        problems_.add(Problem::no_job, where("dirty_rate"),
                      fmt::format("{} is in no job, and dirty_rate counts only while ranks run; "
                                  "write idle_dirty_rate, or a job with ranks in it",
                                  group.name));
      }
      if (!sizes_known) continue;
      const bool dirties =
          may_be_positive(pages.dirty_rate) || may_be_positive(pages.idle_dirty_rate);
      if (dirties && !may_be_positive(pages.working_set)) {
        problems_.add(Problem::working_set_size, where("working_set"),
                      "a VM that dirties memory has a working set; write how much memory it "
                      "dirties again and again, such as working_set: 200MiB");
      }
      const auto* memory = std::get_if<Bytes>(&group.memory.law);
      const auto* working_set = std::get_if<Bytes>(&pages.working_set.law);
      if (memory != nullptr && working_set != nullptr) {
        const Bytes written = non_zero(*memory, pages.zero);
        if (*working_set > written) {
          problems_.add(Problem::working_set_size, where("working_set"),
                        fmt::format("{} is more than the {} that were ever written (memory {}, "
                                    "zero {}); write at most {}",
                                    to_text(*working_set), to_text(written), to_text(*memory),
                                    to_text(pages.zero), to_text(written)));
        }
      }
    }
  }

  static Bytes non_zero(Bytes memory, Ratio zero) { return memory - memory * zero.value(); }

  void expand_hosts() {
    for (const HostGroup& group : scenario_.cluster.hosts) {
      for (std::uint32_t i = 0; i < group.count; ++i) {
        HostSpec& host = out_.hosts.emplace_back();
        host.name = group.name;
        if (group.numbered) host.name += std::to_string(i);
        host.cores = group.cores;
        host.memory = group.memory;
        host.virtual_functions = group.virtual_functions;
        host.ivshmem = group.ivshmem;
        host.sockets = group.numa.count;
      }
    }
  }

  void expand_vms() {
    out_.vms.reserve(vms_->size());
    for (const VmGroup& group : scenario_.vms) {
      for (std::uint32_t i = 0; i < group.count; ++i) {
        VmSpec& vm = out_.vms.emplace_back();
        vm.name = group.name;
        if (group.numbered) vm.name += std::to_string(i);
        vm.vcpus = group.vcpus;
        vm.virtual_function = group.virtual_functions > 0;
        vm.ivshmem = group.ivshmem;
        vm.socket = group.numa.number;
        vm.containers = group.containers;
        vm.zero = group.pages.zero;
        const std::string stream = "vms/" + vm.name;
        const std::uint64_t seed = scenario_.seed;
        vm.memory = whole_pages(draw_named(group.memory, seed, stream, "memory"));
        vm.working_set = std::min(draw_named(group.pages.working_set, seed, stream, "working_set"),
                                  non_zero(vm.memory, vm.zero));
        vm.dirty_rate = draw_named(group.pages.dirty_rate, seed, stream, "dirty_rate");
        vm.idle_dirty_rate =
            draw_named(group.pages.idle_dirty_rate, seed, stream, "idle_dirty_rate");
      }
    }
    place_vms();
  }

  void place_vms() {
    std::vector<Room> used(out_.hosts.size());
    std::vector<std::size_t> by_group(scenario_.vms.size());
    for (std::size_t i = 0; i < by_group.size(); ++i) by_group[i] = i;
    // In turn first: those places are fixed. Then those that fill, by name: the order in the file
    // decides nothing.
    std::stable_sort(by_group.begin(), by_group.end(), [&](std::size_t a, std::size_t b) {
      const VmGroup& first = scenario_.vms[a];
      const VmGroup& second = scenario_.vms[b];
      if (first.spread != second.spread) return first.spread == Spread::round_robin;
      return first.spread == Spread::pack && first.name < second.name;
    });
    std::vector<std::size_t> last_group(out_.hosts.size());
    for (const std::size_t group : by_group) {
      if (scenario_.vms[group].spread == Spread::round_robin) {
        place_in_turn(group, used, last_group);
      } else {
        place_packed(group, used, last_group);
      }
    }
    report_overfull(used, last_group);
    if (!problems_.any()) check_sockets();
  }

  /// What is kept on a socket at the start fits there.
  void check_sockets() {
    std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint64_t> used;
    std::set<std::size_t> reported;
    for (std::uint32_t i = 0; i < out_.vms.size(); ++i) {
      const VmSpec& vm = out_.vms[i];
      if (!vm.socket) continue;
      const HostSpec& host = out_.hosts[vm.host.index];
      const std::uint32_t cores = host.cores / host.sockets;
      const std::uint64_t needed = used[{vm.host.index, *vm.socket}] += vm.vcpus;
      const std::size_t group = vms_->group_of(i);
      if (*vm.socket >= host.sockets) {
        if (!reported.insert(group).second) continue;
        problems_.add(Problem::does_not_fit, at("vms", group, "numa"),
                      fmt::format("{} is to be on socket {}, and {} has {}, counted from 0; write "
                                  "another socket, or numa of the host",
                                  vm.name, *vm.socket, host.name, host.sockets));
      } else if (needed > cores && reported.insert(group).second) {
        problems_.add(Problem::does_not_fit, at("vms", group, "numa"),
                      fmt::format("the VMs kept on socket {} of {} need {} cores, more than the {} "
                                  "there; write another socket, or numa: any",
                                  *vm.socket, host.name, needed, cores));
      }
    }
  }

  void place_in_turn(std::size_t group, std::vector<Room>& used,
                     std::vector<std::size_t>& last_group) {
    const std::uint32_t count = scenario_.vms[group].count;
    const std::vector<std::uint32_t> hosts = vms_on_[group]->items(count);
    for (std::uint32_t i = 0; i < count; ++i) {
      VmSpec& vm = out_.vms[vms_->first_of(group) + i];
      vm.host = HostId{hosts[i % hosts.size()]};
      used[vm.host.index].add(room_of(vm));
      last_group[vm.host.index] = group;
    }
  }

  void place_packed(std::size_t group, std::vector<Room>& used,
                    std::vector<std::size_t>& last_group) {
    const std::uint32_t count = scenario_.vms[group].count;
    const std::vector<std::uint32_t> hosts = vms_on_[group]->items();
    std::size_t next = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
      VmSpec& vm = out_.vms[vms_->first_of(group) + i];
      Room after;
      for (; next < hosts.size(); ++next) {
        after = used[hosts[next]];
        after.add(room_of(vm));
        if (room_of(out_.hosts[hosts[next]]).holds(after)) break;
      }
      if (next == hosts.size()) {
        problems_.add(Problem::does_not_fit, at("vms", group, "on"),
                      fmt::format("{} of {} VMs fill {}, and {} has no place; write more hosts, or "
                                  "larger ones",
                                  i, count, in_quotes(scenario_.vms[group].on.text), vm.name));
        return;
      }
      vm.host = HostId{hosts[next]};
      used[hosts[next]] = after;
      last_group[hosts[next]] = group;
    }
  }

  void report_overfull(const std::vector<Room>& used, const std::vector<std::size_t>& last_group) {
    // One report for each group of VMs: the first host that is too full, and how many more are.
    std::map<std::size_t, std::pair<std::uint32_t, std::size_t>> overfull;
    for (std::uint32_t host = 0; host < used.size(); ++host) {
      if (room_of(out_.hosts[host]).holds(used[host])) continue;
      const auto [found, is_new] = overfull.emplace(last_group[host], std::pair{host, 0});
      if (!is_new) ++found->second.second;
    }
    for (const auto& [group, first] : overfull) {
      const auto& [host, more] = first;
      problems_.add(
          Problem::does_not_fit, at("vms", group, "on"),
          fmt::format("the VMs placed on {} need {}{}; place fewer VMs there, or give it more",
                      out_.hosts[host].name, lack(used[host], room_of(out_.hosts[host])),
                      more > 0 ? fmt::format(" (likewise on {} more)", more) : ""));
    }
  }

  /// Containers in each of the job's VMs, by the first of them.
  [[nodiscard]] std::uint32_t containers_of(std::size_t job) const {
    const std::vector<ItemRanges::Range>& vms = job_vms_[job]->ranges();
    return vms.empty() ? 0 : scenario_.vms[vms_->group_of(vms.front().first)].containers;
  }
  [[nodiscard]] std::uint32_t ranks_per_vm(std::size_t job) const {
    return scenario_.jobs[job].ranks * std::max(containers_of(job), 1U);
  }

  /// Rank numbers tell VM and container, so a job's VMs have equally many containers.
  void equal_containers(std::size_t job, const std::vector<std::uint32_t>& vms) {
    const std::uint32_t containers = containers_of(job);
    for (const std::uint32_t vm : vms) {
      if (out_.vms[vm].containers == containers) continue;
      problems_.add(Problem::contradiction, {{"jobs"}, {{}, job}, {"on"}},
                    fmt::format("{} has {} containers and {} has {}; give the VMs of a job equally "
                                "many, or write two jobs",
                                out_.vms[vms.front()].name, containers, out_.vms[vm].name,
                                out_.vms[vm].containers));
      return;
    }
  }

  /// The regions of a VM's jobs are parts of its device.
  void expand_regions() {
    for (JobSpec& job : out_.jobs) {
      if (group_of_job(job).ivshmem) continue;
      bool any = false;
      for (const VmId vm : job.vms) {
        const VmSpec& spec = out_.vms[vm.index];
        if (spec.ivshmem == Bytes()) continue;
        const Bytes part(spec.ivshmem.count() / spec.jobs.size());
        job.ivshmem = any ? std::min(job.ivshmem, part) : part;
        any = true;
      }
    }
    std::set<std::size_t> reported;
    for (const VmSpec& vm : out_.vms) {
      std::uint64_t sum = 0;
      for (const JobId id : vm.jobs) sum = add_saturated(sum, out_.jobs[id.index].ivshmem.count());
      if (sum <= vm.ivshmem.count()) continue;
      for (const JobId id : vm.jobs) {
        const std::size_t group = job_group_[id.index];
        if (!scenario_.jobs[group].ivshmem || out_.jobs[id.index].ivshmem == Bytes()) continue;
        if (!reported.insert(group).second) break;
        problems_.add(
            Problem::does_not_fit, at("jobs", group, "ivshmem"),
            fmt::format("the regions of the jobs in {} are {} together, and its IVShmem device has "
                        "{}; write a smaller one, or ivshmem of the VM",
                        vm.name, to_text(Bytes(sum)), to_text(vm.ivshmem)));
        break;
      }
    }
  }
  [[nodiscard]] const Job& group_of_job(const JobSpec& job) const {
    return scenario_.jobs[job_group_[static_cast<std::size_t>(&job - out_.jobs.data())]];
  }

  /// Whoever chooses how ranks reach each other needs to know what that costs.
  void channel_costs(std::size_t job) {
    const Job& group = scenario_.jobs[job];
    const bool chosen = group.channels.mode != ChannelChoices{}.mode ||
                        group.channels.device != ChannelChoices{}.device ||
                        group.channels.eager_threshold.size || group.ivshmem;
    if (!chosen || !scenario_.platform.channels.empty()) return;
    const bool region = group.ivshmem.has_value();
    problems_.add(Problem::no_cost, at("jobs", job, region ? "ivshmem" : "channels"),
                  fmt::format("the platform '{}' does not say what channels between ranks cost; "
                              "add channels to it, or leave this out",
                              scenario_.platform.name));
  }

  void expand_jobs() {
    for (std::size_t i = 0; i < scenario_.jobs.size(); ++i) {
      const Job& group = scenario_.jobs[i];
      channel_costs(i);
      equal_containers(i, job_vms_[i]->items());
      const std::size_t ranks = ranks_per_vm(i);
      const std::vector<std::uint32_t> vms = job_vms_[i]->items();
      const std::size_t part = vms.size() / group.count;
      for (std::uint32_t n = 0; n < group.count; ++n) {
        const JobId id{static_cast<std::uint32_t>(out_.jobs.size())};
        JobSpec& job = out_.jobs.emplace_back();
        job.name = group.name;
        if (group.numbered) job.name += std::to_string(n);
        job_group_.push_back(i);
        job.ranks_per_vm = static_cast<std::uint32_t>(ranks);
        job.containers = containers_of(i);
        job.channels = group.channels;
        job.ivshmem = group.ivshmem.value_or(Bytes());
        job.workload = group.workload;
        job.strategy = group.strategy;
        job.suspend = group.suspend;
        job.reconnect = group.reconnect;
        for (std::size_t k = n * part; k < (n + 1) * part; ++k) {
          job.vms.push_back(VmId{vms[k]});
          out_.vms[vms[k]].jobs.push_back(id);
        }
        RandomStream stream(scenario_.seed, "jobs/" + job.name + "/next_call");
        job.next_call.reserve(part * ranks);
        for (std::size_t rank = 0; rank < part * ranks; ++rank) {
          job.next_call.push_back(draw(group.workload.timed.next_call, stream));
        }
      }
    }
    expand_regions();
  }

  /// VMs that go to the same hosts.
  struct Leg {
    std::vector<std::uint32_t> vms;
    HostList to;
  };

  [[nodiscard]] std::vector<std::uint32_t> vms_on(const std::vector<std::uint32_t>& vms,
                                                  const std::vector<bool>& hosts) const {
    std::vector<std::uint32_t> there;
    for (const std::uint32_t vm : vms) {
      if (hosts[out_.vms[vm].host.index]) there.push_back(vm);
    }
    return there;
  }

  /// The list of `to`, shared by the migrations that write the same.
  HostList hosts_to(std::size_t migration) {
    const Migration& entry = scenario_.migrations[migration];
    // A reference has no line end in it.
    std::string name = entry.to ? entry.to->text : "";
    if (entry.evacuate) name += '\n' + entry.evacuate->text;
    const auto found = host_lists_.find(name);
    if (found != host_lists_.end()) return found->second;
    std::vector<bool> left_out(out_.hosts.size(), false);
    if (entry.evacuate) {
      for (const std::uint32_t host : evacuated_[migration]->items()) left_out[host] = true;
    }
    std::vector<HostId> hosts;
    for (const std::uint32_t host : migration_to_[migration]->items()) {
      if (!left_out[host]) hosts.push_back(HostId{host});
    }
    return host_lists_.emplace(name, HostList(std::move(hosts))).first->second;
  }

  std::vector<Leg> legs_of(std::size_t migration) {
    const std::vector<std::uint32_t> vms = migration_vms_[migration]->items();
    if (swapped_with_[migration]) return swap_legs(migration, vms);
    if (!evacuated_[migration]) return {{vms, hosts_to(migration)}};
    std::vector<bool> emptied(out_.hosts.size(), false);
    for (const std::uint32_t host : evacuated_[migration]->items()) emptied[host] = true;
    return {{vms_on(vms, emptied), hosts_to(migration)}};
  }

  /// The hosts of `vms`, in the order of their VMs, change places with those of `swap_with`.
  std::vector<Leg> swap_legs(std::size_t migration, const std::vector<std::uint32_t>& vms) {
    std::vector<std::uint32_t> here;
    std::vector<bool> seen(out_.hosts.size(), false);
    for (const std::uint32_t vm : vms) {
      const std::uint32_t host = out_.vms[vm].host.index;
      if (!seen[host]) here.push_back(host);
      seen[host] = true;
    }
    const std::vector<std::uint32_t> there = swapped_with_[migration]->items();
    const Where where = at("migrations", migration, "swap_with");
    for (const std::uint32_t host : there) {
      if (!seen[host]) continue;
      problems_.add(Problem::contradiction, where,
                    fmt::format("{} would change places with itself: VMs of this migration are on "
                                "it; write other hosts",
                                out_.hosts[host].name));
      return {};
    }
    if (here.size() != there.size()) {
      problems_.add(Problem::contradiction, where,
                    fmt::format("the VMs of this migration are on {} hosts, and {} are to change "
                                "places with them; write as many",
                                here.size(), there.size()));
      return {};
    }
    std::vector<std::uint32_t> all(out_.vms.size());
    for (std::uint32_t vm = 0; vm < all.size(); ++vm) all[vm] = vm;
    std::vector<Leg> legs;
    for (std::size_t i = 0; i < here.size(); ++i) {
      std::vector<bool> only_here(out_.hosts.size(), false);
      std::vector<bool> only_there = only_here;
      only_here[here[i]] = true;
      only_there[there[i]] = true;
      legs.push_back({vms_on(vms, only_here), {HostId{there[i]}}});
      legs.push_back({vms_on(all, only_there), {HostId{here[i]}}});
    }
    return legs;
  }

  /// The key that says where a migration's VMs go.
  [[nodiscard]] std::string_view destination_key(std::size_t migration) const {
    const Migration& entry = scenario_.migrations[migration];
    if (entry.swap_with) return "swap_with";
    return entry.evacuate && !entry.to ? "evacuate" : "to";
  }

  void expand_moves() {
    moved_.assign(out_.vms.size(), false);
    unplugged_.assign(out_.vms.size(), false);
    struct Planned {
      std::uint32_t vm;
      StartTime at;
      std::size_t migration;
      std::optional<HostId> only;  ///< the one host that it may go to
    };
    std::vector<Planned> planned;
    for (std::size_t i = 0; i < scenario_.migrations.size(); ++i) {
      const Migration& migration = scenario_.migrations[i];
      for (const Leg& leg : legs_of(i)) {
        if (planned.size() + leg.vms.size() > limits::moves) {
          problems_.add(Problem::too_many, {{"migrations"}},
                        fmt::format("{} moves in all; write at most {}",
                                    planned.size() + leg.vms.size(), limits::moves));
          return;
        }
        has_destination(i, leg.vms, leg.to);
        keeps_no_ivshmem(i, leg.vms);
        has_moments(i, leg.vms);
        const auto only = leg.to.size() == 1 ? std::optional(leg.to[0]) : std::nullopt;
        for (const std::uint32_t vm : leg.vms) {
          moved_[vm] = true;
          if (migration.device != DeviceStrategy::vfio) unplugged_[vm] = true;
          planned.push_back({vm, migration.at, i, only});
          if (!migration.at.never) out_.moves.push_back(to_move(migration, VmId{vm}, leg.to));
        }
      }
    }
    std::stable_sort(planned.begin(), planned.end(), [](const Planned& a, const Planned& b) {
      return std::tie(a.vm, a.at.never, a.at.at) < std::tie(b.vm, b.at.never, b.at.at);
    });
    std::set<std::pair<std::size_t, std::size_t>> reported_twice;
    std::map<std::size_t, std::pair<std::uint32_t, std::size_t>> stay;
    for (std::size_t k = 0; k < planned.size(); ++k) {
      const Planned& move = planned[k];
      const bool first_of_vm = k == 0 || planned[k - 1].vm != move.vm;
      const Migration& migration = scenario_.migrations[move.migration];
      if (first_of_vm) {
        if (move.only == out_.vms[move.vm].host) {
          const auto [found, is_new] = stay.emplace(move.migration, std::pair{move.vm, 0});
          if (!is_new) ++found->second.second;
        }
        continue;
      }
      const Planned& before = planned[k - 1];
      if (move.at.never || before.at != move.at ||
          !reported_twice.emplace(before.migration, move.migration).second) {
        continue;
      }
      problems_.add(Problem::moved_twice, at("migrations", move.migration, "at"),
                    fmt::format("{} is moved by '{}' and by '{}', both at {}; give them different "
                                "times, or different VMs",
                                out_.vms[move.vm].name, scenario_.migrations[before.migration].name,
                                migration.name, to_text(move.at.at)));
    }
    for (const auto& [migration, first] : stay) {
      const auto& [vm, more] = first;
      problems_.add(Problem::stays_in_place,
                    at("migrations", migration, destination_key(migration)),
                    fmt::format("{} is on {} already{}; write another host", out_.vms[vm].name,
                                out_.hosts[out_.vms[vm].host.index].name,
                                more > 0 ? fmt::format(" (likewise {} more)", more) : ""));
    }
  }

  static MoveSpec to_move(const Migration& migration, VmId vm, const HostList& candidates) {
    MoveSpec move;
    move.migration = migration.name;
    move.vm = vm;
    move.candidates = candidates;
    move.place = migration.place;
    move.at = migration.at;
    move.when = migration.when;
    move.transfer.transport = migration.transport;
    move.transfer.device = migration.device;
    move.transfer.mode = migration.memory.mode;
    move.transfer.downtime_limit = migration.memory.downtime_limit;
    move.transfer.bandwidth_limit = migration.memory.bandwidth_limit;
    move.transfer.pin_all = migration.memory.pin_all;
    move.transfer.max_rounds = static_cast<int>(migration.memory.max_rounds);
    move.transfer.auto_converge = migration.memory.auto_converge;
    move.transfer.compression = migration.memory.compression;
    move.transfer.streams = migration.memory.streams;
    move.transfer.on_stall = migration.memory.on_stall;
    move.timeouts = migration.timeouts;
    move.retry = migration.retry;
    return move;
  }

  /// Each VM must fit on some host of the destination when that is empty, and all together on all.
  void has_destination(std::size_t migration, const std::vector<std::uint32_t>& vms,
                       const HostList& candidates) {
    std::set<Room> kinds;
    Room together;
    for (const HostId host : candidates) {
      const Room room = room_of(out_.hosts[host.index]);
      kinds.insert(room);
      together.add(room);
    }
    if (vms.empty()) return;
    const Where where = at("migrations", migration, destination_key(migration));
    const Migration& entry = scenario_.migrations[migration];
    if (candidates.empty()) {
      problems_.add(Problem::no_destination, where,
                    "the hosts that are emptied are all that the VMs could go to; write others");
      return;
    }
    const std::string to = entry.swap_with ? out_.hosts[candidates[0].index].name
                           : entry.to      ? entry.to->text
                                           : "any";
    Room needed;
    // Of a group only the memory differs between VMs: the largest stands for all.
    std::map<std::size_t, std::uint32_t> largest;
    for (const std::uint32_t vm : vms) {
      needed.add(room_of(out_.vms[vm]));
      const auto [found, is_new] = largest.emplace(vms_->group_of(vm), vm);
      if (!is_new && out_.vms[vm].memory > out_.vms[found->second].memory) found->second = vm;
    }
    bool each_fits = true;
    for (const auto& [group, vm] : largest) {
      const Room room = room_of(out_.vms[vm]);
      if (std::any_of(kinds.begin(), kinds.end(),
                      [&](const Room& kind) { return kind.holds(room); })) {
        continue;
      }
      each_fits = false;
      problems_.add(
          Problem::no_destination, where,
          fmt::format("no host of {} can hold {}: it needs {}; write hosts with more",
                      in_quotes(to), out_.vms[vm].name,
                      lack(room, *std::max_element(kinds.begin(), kinds.end(), by_memory))));
    }
    if (each_fits && !together.holds(needed)) {
      problems_.add(Problem::no_destination, where,
                    fmt::format("{} cannot hold the {} VMs of this migration: together they need "
                                "{}; write more hosts, or fewer VMs",
                                in_quotes(to), vms.size(), lack(needed, together)));
    }
  }
  static bool by_memory(const Room& a, const Room& b) { return a.memory < b.memory; }

  void expand_faults() {
    for (std::size_t i = 0; i < scenario_.faults.size(); ++i) {
      const Fault& fault = scenario_.faults[i];
      if (fault.journal > 0) {
        out_.controller_downs.push_back({fault.journal, fault.controller_down, fault.last_record});
        continue;
      }
      if (fault.of_cluster()) {
        expand_cluster_fault(i, fault);
        continue;
      }
      const bool needs_function =
          fault.phase == Phase::detach_vf || fault.phase == Phase::attach_vf;
      const bool needs_ivshmem =
          fault.phase == Phase::remove_ivshmem || fault.phase == Phase::add_ivshmem;
      bool reported = false;
      for (const std::uint32_t item : fault_vms_[i]->items()) {
        const VmSpec& vm = out_.vms[item];
        const bool happens = moved_[item] &&
                             (!needs_function || (vm.virtual_function && unplugged_[item])) &&
                             (!needs_ivshmem || vm.ivshmem.count() > 0);
        if (!happens && !reported) {
          reported = true;
          const std::string why = !moved_[item]   ? "no migration moves it"
                                  : needs_ivshmem ? "it has no IVShmem device"
                                  : vm.virtual_function
                                      ? "its virtual function moves with it (device: vfio)"
                                      : "it has no virtual function";
          problems_.add(
              Problem::fault_without_move, at("faults", i, "vm"),
              fmt::format("{} never comes to the phase {}: {}; name other VMs, or another "
                          "phase",
                          vm.name, to_name(fault.phase), why));
        }
        FaultSpec& spec = out_.faults.emplace_back();
        spec.phase = fault.phase;
        spec.vm = VmId{item};
        spec.fail = fault.fail;
        spec.stall = fault.stall;
      }
    }
    std::stable_sort(out_.controller_downs.begin(), out_.controller_downs.end(),
                     [](const ControllerDownSpec& x, const ControllerDownSpec& y) {
                       return x.record < y.record;
                     });
  }

  /// The key that names the hosts of a fault of the cluster, and they.
  static std::pair<std::string_view, const Reference*> faulty_hosts(const Fault& fault) {
    if (!fault.host_down.text.empty()) return {"host_down", &fault.host_down};
    if (!fault.link_down.text.empty()) return {"link_down", &fault.link_down};
    if (!fault.slow_link.text.empty()) return {"slow_link", &fault.slow_link};
    return {"late_libvirt", &fault.late_libvirt};
  }

  void expand_cluster_fault(std::size_t index, const Fault& fault) {
    using Kind = ClusterFaultSpec::Kind;
    ClusterFaultSpec spec;
    spec.kind = !fault.host_down.text.empty()   ? Kind::host_down
                : !fault.link_down.text.empty() ? Kind::link_down
                : !fault.slow_link.text.empty() ? Kind::slow_link
                                                : Kind::late_libvirt;
    spec.from = TimePoint::at(fault.at);
    if (fault.lasts > Duration::zero()) spec.until = spec.from + fault.lasts;
    spec.factor = fault.factor;
    spec.delay = fault.delay;
    if (!fault.network.empty()) {
      const auto named = std::find_if(out_.networks.begin(), out_.networks.end(),
                                      [&](const Network& n) { return n.name == fault.network; });
      if (named == out_.networks.end()) {
        std::string names;
        for (const Network& network : out_.networks) {
          names += (names.empty() ? "" : ", ") + network.name;
        }
        problems_.add(Problem::unknown_reference, at("faults", index, "network"),
                      fmt::format("there is no network '{}'; there are: {}", fault.network, names));
        return;
      }
      spec.network = static_cast<std::uint32_t>(named - out_.networks.begin());
    }
    if (!fault_hosts_[index]) return;
    for (const std::uint32_t host : fault_hosts_[index]->items()) {
      spec.host = HostId{host};
      out_.cluster_faults.push_back(spec);
    }
  }

  void expand_constraints() {
    for (std::size_t i = 0; i < scenario_.constraints.size(); ++i) {
      const Constraint& constraint = scenario_.constraints[i];
      ConstraintSpec& spec = out_.constraints.emplace_back();
      spec.deadline = constraint.deadline;
      const std::vector<std::optional<ItemRanges>>& lists = constraint_vms_[i];
      const auto add = [&](std::vector<VmId>& vms, const ItemRanges& items) {
        for (const std::uint32_t vm : items.items()) vms.push_back(VmId{vm});
      };
      std::string_view key = "deadline";
      if (!constraint.before.empty()) {
        key = "before";
        spec.kind = ConstraintSpec::Kind::before;
        add(spec.vms, *lists[0]);
        add(spec.then, *lists[1]);
      } else if (lists.empty()) {
        spec.kind = ConstraintSpec::Kind::deadline;
      } else {
        const bool together = !constraint.together.empty();
        key = together ? "together" : "apart";
        spec.kind = together ? ConstraintSpec::Kind::together : ConstraintSpec::Kind::apart;
        for (const auto& list : lists) add(spec.vms, *list);
      }
      check_constraint(at("constraints", i, key), key, spec);
    }
  }

  void check_constraint(const Where& where, std::string_view key, const ConstraintSpec& spec) {
    if (spec.kind == ConstraintSpec::Kind::deadline) return;
    std::vector<VmId> all = spec.vms;
    all.insert(all.end(), spec.then.begin(), spec.then.end());
    std::sort(all.begin(), all.end());
    const auto twice = std::adjacent_find(all.begin(), all.end());
    if (twice != all.end()) {
      problems_.add(Problem::named_twice, where,
                    fmt::format("{} is named twice; write it once", out_.vms[twice->index].name));
    } else if (all.size() < 2) {
      problems_.add(Problem::contradiction, where,
                    fmt::format("{} is alone here; {} takes at least two VMs",
                                out_.vms[all.front().index].name, key));
    }
  }

  const Scenario& scenario_;
  ScenarioProblems& problems_;
  Instance out_;
  std::optional<NameTable> hosts_;
  std::optional<NameTable> vms_;
  std::vector<std::optional<ItemRanges>> vms_on_;
  std::vector<std::optional<ItemRanges>> job_vms_;
  std::vector<std::optional<ItemRanges>> migration_vms_;
  std::vector<std::optional<ItemRanges>> migration_to_;
  std::vector<std::optional<ItemRanges>> evacuated_;
  std::vector<std::optional<ItemRanges>> swapped_with_;
  std::vector<std::vector<std::optional<ItemRanges>>> constraint_vms_;
  std::map<std::string, HostList> host_lists_;  ///< by the texts of `to` and `evacuate`
  std::vector<std::optional<ItemRanges>> fault_vms_;
  std::vector<std::optional<ItemRanges>> fault_hosts_;
  std::vector<std::size_t> job_group_;  ///< by job
  std::vector<bool> moved_;
  std::vector<bool> unplugged_;  ///< moved, and its virtual function does not stay attached
};

/// For a scenario that the reader accepted: any problem is the program's.
class NoProblems final : public ScenarioProblems {
 public:
  void add(Problem /*problem*/, const std::vector<PathStep>& /*where*/,
           std::string message) override {
    check(false, "a scenario that was never checked is expanded: " + message);
  }
  [[nodiscard]] bool names_uncertain(std::string_view /*list*/) const override { return false; }
  [[nodiscard]] bool has_errors_in(std::string_view /*key*/) const override { return false; }
  [[nodiscard]] bool any() const override { return false; }
};

}  // namespace

Instance expand_checked(const Scenario& scenario, ScenarioProblems& problems) {
  return Expander(scenario, problems).run();
}

Instance expand(const Scenario& scenario) {
  NoProblems none;
  return expand_checked(scenario, none);
}

}  // namespace ferry
