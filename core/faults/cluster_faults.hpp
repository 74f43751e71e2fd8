// What is wrong with hosts, links and hypervisors at any moment: the part of `faults:` that
// pretended worlds play. All of it is known before the run begins, so that it is a function of time
// and nobody has to be told of a change: a wait asks how long it may last.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/scenario/instance.hpp"

namespace ferry {

/// The two ends of what goes over a network, and the network (its index in `Instance::networks`).
struct LinkPair {
  std::uint32_t network = 0;
  HostId from;
  HostId to;
};

class ClusterFaults {
 public:
  explicit ClusterFaults(const Instance& instance);
  /// Nothing ever goes wrong.
  [[nodiscard]] bool empty() const { return empty_; }

  [[nodiscard]] bool is_down(HostId host, TimePoint now) const;
  /// When the host is down, or will next be: `since` itself if it is down then.
  [[nodiscard]] TimePoint down_from(HostId host, TimePoint since) const;

  /// What is left of the bandwidth of the host's link; 0: it is down, or the host is.
  [[nodiscard]] Ratio link_share(std::uint32_t network, HostId host, TimePoint now) const;
  /// Of both ends: the smaller one.
  [[nodiscard]] Ratio share(const LinkPair& path, TimePoint now) const;
  /// The next moment after `now` at which the share of either end may be another.
  [[nodiscard]] TimePoint next_change(const LinkPair& path, TimePoint now) const;
  /// When both ends are up: `since` itself, or later; never.
  [[nodiscard]] TimePoint up_from(const LinkPair& path, TimePoint since) const;

  /// When somebody who has waited for an answer of the host since `asked` gives it up: at once if
  /// it is down then; else `patience` after it went down, or when it is back, having forgotten.
  [[nodiscard]] TimePoint given_up(HostId host, TimePoint asked, Duration patience) const;
  /// A wait for something that these hosts do together and would have done by `done`.
  struct Wait {
    TimePoint until;
    std::optional<HostId> silent;  ///< it went down meanwhile: nothing is done, and `until` it is
                                   ///< given up
  };
  [[nodiscard]] Wait wait_for(std::span<const HostId> hosts, TimePoint now, TimePoint done,
                              Duration patience) const;
  /// When a connection that is used from `since` on breaks: it does not bear `patience` without a
  /// byte going through, nor an end that went down.
  [[nodiscard]] TimePoint breaks(const LinkPair& path, TimePoint since, Duration patience) const;

  /// How long the path's whole bandwidth would need for what goes through from `since` to `until`.
  [[nodiscard]] Duration carried(const LinkPair& path, TimePoint since, TimePoint until) const;
  /// When so much has gone through; never.
  [[nodiscard]] TimePoint carried_by(const LinkPair& path, TimePoint since, Duration whole) const;

  /// What libvirt on `host` was asked at `asked` and would have done by `done`: when it has.
  [[nodiscard]] TimePoint answered(HostId host, TimePoint asked, TimePoint done) const;

  /// Every moment at which something about the host or its links changes, ascending.
  [[nodiscard]] std::vector<TimePoint> changes(HostId host) const;

 private:
  using Kind = ClusterFaultSpec::Kind;
  [[nodiscard]] TimePoint next_change(HostId host, TimePoint now) const;

  bool empty_;
  std::vector<std::vector<ClusterFaultSpec>> of_host_;  ///< in the order of the file
};

}  // namespace ferry
