// Which channels join two ranks, and which of them serves which message: a pure function of where
// they are, what the job wants, and the profiles.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/channel/choice.hpp"
#include "core/ports/fabric.hpp"
#include "core/ports/transport_profile.hpp"
#include "core/scenario/instance.hpp"
#include "core/scenario/platform.hpp"
#include "core/topology/locality.hpp"
#include "core/units/units.hpp"

namespace ferry {

/// What pairs of ranks have in common that are treated alike.
struct PairClass {
  Nearness nearness = Nearness::same_container;
  bool same_socket = true;         ///< true between hosts
  bool virtual_functions = false;  ///< both VMs have one
  bool ivshmem = false;            ///< both VMs have a device

  auto operator<=>(const PairClass&) const = default;
  static constexpr std::size_t count = 32;
  [[nodiscard]] std::size_t index() const {
    return static_cast<std::size_t>(nearness) * 8 + (same_socket ? 4U : 0U) +
           (virtual_functions ? 2U : 0U) + (ivshmem ? 1U : 0U);
  }
};

/// What a job wants, and what limits it.
struct ChannelPolicy {
  ChannelMode mode = ChannelMode::hybrid;
  ChannelDevice device = ChannelDevice::sriov;
  /// The largest message that goes eagerly; none: where the costs cross. The job's, for all
  /// channels, goes before the platform's, by Channel (zero: none).
  std::optional<Bytes> eager_threshold;
  std::array<Bytes, channel_count> eager_thresholds = {};
  Bytes ivshmem_part;  ///< of the job's region on a host, for each rank there; zero: it has none

  static ChannelPolicy of(const JobSpec& job, const Instance& instance, const MpiCosts& costs);
  bool operator==(const ChannelPolicy&) const = default;
};

/// One way for messages of a class of pairs.
struct Candidate {
  Choice choice;
  std::size_t smallest = 0;  ///< message that it may carry
  std::size_t largest = std::numeric_limits<std::size_t>::max();
  std::string bound;  ///< what sets `smallest` or `largest`, for people; empty: nothing
};

/// What serves a class of pairs, and why nothing else does.
struct Decision {
  PairClass pairs;
  Route route{std::string()};
  std::vector<Candidate> candidates;  ///< that `route` was chosen from
  /// By Channel: why no candidate uses it; empty if one does.
  std::array<std::string, channel_count> refusals;
};

/// Candidates are compared by `message_time`. Control packets go by the channel that is the fastest
/// for nothing. Rules, in the modes of Zhang, Lu and Panda (VEE 2017): `shm` carries packets and
/// `cma` is read within a container (or a VM without any), from one_layer on within a VM; `ivshmem`
/// joins VMs of a host from two_layer on; in hybrid the device competes with it between sockets;
/// everything else is the device's. Where something is missing, what serves pairs that are farther
/// apart takes its place.
///
/// With a threshold, smaller messages go eagerly and larger ones do not; nothing larger than a
/// packet does. A packet over IVShmem is at most a quarter of a rank's part of the region, so that
/// four fit.
[[nodiscard]] Decision decide(const PairClass& pairs, const ChannelPolicy& policy,
                              const ChannelProfiles& profiles);

/// `message_time` of a candidate's choice, whether it may carry such a message or not.
[[nodiscard]] Duration choice_time(const Choice& choice, const PairClass& pairs,
                                   const ChannelProfiles& profiles, Bytes size);

/// The decisions for one policy, each made when it is first asked for. Jobs of equal policies may
/// share it; from any task.
class RouteTable {
 public:
  RouteTable(ChannelPolicy policy, ChannelProfiles profiles);
  [[nodiscard]] const Decision& of(const PairClass& pairs) const;
  [[nodiscard]] const ChannelPolicy& policy() const { return policy_; }
  [[nodiscard]] const ChannelProfiles& profiles() const { return profiles_; }

 private:
  struct Entry {
    std::once_flag made;
    std::optional<Decision> decision;
  };
  ChannelPolicy policy_;
  ChannelProfiles profiles_;
  mutable std::array<Entry, PairClass::count> entries_;
};

/// The routes of one job by where its ranks are. Everything given outlives it.
class JobChannels final : public ChannelChooser {
 public:
  JobChannels(const JobSpec& job, const Instance& instance, const Locality& locality,
              std::shared_ptr<const RouteTable> table);
  [[nodiscard]] const Route& route(RankId from, RankId to) const override;
  [[nodiscard]] std::uint64_t generation() const override { return locality_.generation(); }

  [[nodiscard]] PairClass class_of(RankId from, RankId to) const;
  [[nodiscard]] RankSite site(RankId rank) const;
  /// Where a world is to open the rank's endpoint now.
  [[nodiscard]] RankPlace place(RankId rank) const;
  [[nodiscard]] const RouteTable& table() const { return *table_; }
  [[nodiscard]] const JobSpec& job() const { return job_; }

 private:
  const JobSpec& job_;
  const Instance& instance_;
  const Locality& locality_;
  std::shared_ptr<const RouteTable> table_;
};

}  // namespace ferry
