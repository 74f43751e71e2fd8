#include "core/channel/survey.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

namespace ferry {
namespace {

/// Some ranks that are alike.
struct Alike {
  std::uint64_t count = 0;
  RankId first;

  void add(const Alike& other) {
    first = count == 0 ? other.first : std::min(first, other.first);
    count += other.count;
  }
};

/// What a rank is to those in other VMs; to those on other hosts without its socket.
struct Kind {
  std::uint32_t socket = 0;
  bool virtual_function = false;
  bool ivshmem = false;
  auto operator<=>(const Kind&) const = default;
};
using Kinds = std::map<Kind, Alike>;

/// Pairs are counted when the second of two is met: of ranks in a VM, VMs on a host, and hosts.
class Survey {
 public:
  Survey(const JobSpec& job, const Instance& instance, const Locality& locality)
      : job_(job), instance_(instance), locality_(locality) {}

  std::vector<AlikePairs> run() {
    for (std::uint32_t place = 0; place < job_.vms.size(); ++place) look_at_vm(place);
    Kinds elsewhere;
    for (const auto& [host, kinds] : by_host_) {
      Kinds here;
      for (const auto& [kind, ranks] : kinds) {
        here[{0, kind.virtual_function, kind.ivshmem}].add(ranks);
      }
      meet(Nearness::other_host, elsewhere, here);
    }
    std::vector<AlikePairs> result;
    for (const auto& [order, pairs] : found_) result.push_back(pairs);
    return result;
  }

 private:
  using Bucket = std::pair<std::uint32_t, std::uint32_t>;  ///< container and socket

  void look_at_vm(std::uint32_t place) {
    const VmId vm = job_.vms[place];
    const bool function = locality_.has(vm, DeviceKind::virtual_function);
    const bool ivshmem = locality_.has(vm, DeviceKind::ivshmem);
    std::map<Bucket, Alike> before;
    Kinds here;
    const std::uint32_t first = place * job_.ranks_per_vm;
    for (std::uint32_t rank = first; rank < first + job_.ranks_per_vm; ++rank) {
      const RankSite site = site_of(job_, instance_.vms[vm.index], RankId{rank});
      const std::uint32_t socket = locality_.socket(vm, site.vcpu);
      for (const auto& [bucket, ranks] : before) {
        const Nearness nearness =
            bucket.first == site.container ? Nearness::same_container : Nearness::same_vm;
        add({nearness, bucket.second == socket, function, ivshmem}, ranks, {1, RankId{rank}});
      }
      before[{site.container, socket}].add({1, RankId{rank}});
      here[{socket, function, ivshmem}].add({1, RankId{rank}});
    }
    meet(Nearness::same_host, by_host_[locality_.host(vm)], here);
  }

  /// Counts the pairs of those that were met before with those `here`, who join them.
  void meet(Nearness nearness, Kinds& before, const Kinds& here) {
    for (const auto& [kind, ranks] : here) {
      for (const auto& [other, others] : before) {
        add({nearness, kind.socket == other.socket, kind.virtual_function && other.virtual_function,
             kind.ivshmem && other.ivshmem},
            others, ranks);
      }
    }
    for (const auto& [kind, ranks] : here) before[kind].add(ranks);
  }

  void add(const PairClass& pairs, const Alike& a, const Alike& b) {
    // Near ones first, one socket before two, those with all devices first.
    AlikePairs& entry = found_[std::tuple(pairs.nearness, !pairs.same_socket,
                                          !pairs.virtual_functions, !pairs.ivshmem)];
    if (entry.count == 0) {
      entry.pairs = pairs;
      entry.from = std::min(a.first, b.first);
      entry.to = std::max(a.first, b.first);
    }
    entry.count += a.count * b.count;
  }

  const JobSpec& job_;
  const Instance& instance_;
  const Locality& locality_;
  std::map<std::tuple<Nearness, bool, bool, bool>, AlikePairs> found_;
  std::map<HostId, Kinds> by_host_;
};

}  // namespace

std::vector<AlikePairs> survey(const JobSpec& job, const Instance& instance,
                               const Locality& locality) {
  return Survey(job, instance, locality).run();
}

}  // namespace ferry
