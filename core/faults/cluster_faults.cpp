#include "core/faults/cluster_faults.hpp"

#include <algorithm>

namespace ferry {
namespace {

bool holds(const ClusterFaultSpec& fault, TimePoint now) {
  return fault.from <= now && now < fault.until;
}

}  // namespace

ClusterFaults::ClusterFaults(const Instance& instance)
    : empty_(instance.cluster_faults.empty()), of_host_(empty_ ? 0 : instance.hosts.size()) {
  for (const ClusterFaultSpec& fault : instance.cluster_faults) {
    of_host_[fault.host.index].push_back(fault);
  }
}

bool ClusterFaults::is_down(HostId host, TimePoint now) const {
  return !empty_ && down_from(host, now) == now;
}

TimePoint ClusterFaults::down_from(HostId host, TimePoint since) const {
  TimePoint first = TimePoint::never();
  if (empty_) return first;
  for (const ClusterFaultSpec& fault : of_host_[host.index]) {
    if (fault.kind != Kind::host_down || fault.until <= since) continue;
    first = std::min(first, std::max(fault.from, since));
  }
  return first;
}

Ratio ClusterFaults::link_share(std::uint32_t network, HostId host, TimePoint now) const {
  Ratio left(1);
  if (empty_) return left;
  for (const ClusterFaultSpec& fault : of_host_[host.index]) {
    if (!holds(fault, now) || fault.kind == Kind::late_libvirt) continue;
    if (fault.network && *fault.network != network) continue;
    left = Ratio(fault.kind == Kind::slow_link ? left.value() * fault.factor.value() : 0.0);
  }
  return left;
}

Ratio ClusterFaults::share(const LinkPair& path, TimePoint now) const {
  return std::min(link_share(path.network, path.from, now), link_share(path.network, path.to, now));
}

TimePoint ClusterFaults::next_change(HostId host, TimePoint now) const {
  TimePoint next = TimePoint::never();
  for (const ClusterFaultSpec& fault : of_host_[host.index]) {
    if (fault.from > now) next = std::min(next, fault.from);
    if (fault.until > now) next = std::min(next, fault.until);
  }
  return next;
}

TimePoint ClusterFaults::next_change(const LinkPair& path, TimePoint now) const {
  if (empty_) return TimePoint::never();
  return std::min(next_change(path.from, now), next_change(path.to, now));
}

TimePoint ClusterFaults::up_from(const LinkPair& path, TimePoint since) const {
  TimePoint at = since;
  while (at != TimePoint::never() && share(path, at) == Ratio(0)) at = next_change(path, at);
  return at;
}

TimePoint ClusterFaults::given_up(HostId host, TimePoint asked, Duration patience) const {
  const TimePoint down = down_from(host, asked);
  if (down == asked || down == TimePoint::never()) return down;
  TimePoint back = down;
  while (back != TimePoint::never() && is_down(host, back)) back = next_change(host, back);
  return std::min(down + patience, back);
}

TimePoint ClusterFaults::breaks(const LinkPair& path, TimePoint since, Duration patience) const {
  TimePoint first = TimePoint::never();
  if (empty_) return first;
  for (const HostId end : {path.from, path.to}) {
    const TimePoint down = down_from(end, since);
    const TimePoint heard = given_up(end, since, patience);
    first = std::min(first, down == since ? since + patience : heard);
  }
  for (TimePoint at = since; at < first; at = next_change(path, at)) {
    if (share(path, at) > Ratio(0)) continue;
    const TimePoint up = up_from(path, at);
    if (up == TimePoint::never() || up - at >= patience) return std::min(first, at + patience);
    at = up;
  }
  return first;
}

ClusterFaults::Wait ClusterFaults::wait_for(std::span<const HostId> hosts, TimePoint now,
                                            TimePoint done, Duration patience) const {
  Wait wait{done, std::nullopt};
  if (empty_) return wait;
  for (const HostId host : hosts) {
    const TimePoint down = down_from(host, now);
    if (down >= done && down != now) continue;
    const TimePoint heard = given_up(host, now, patience);
    if (wait.silent && heard >= wait.until) continue;
    wait = {heard, host};
  }
  return wait;
}

Duration ClusterFaults::carried(const LinkPair& path, TimePoint since, TimePoint until) const {
  if (empty_) return until - since;
  Duration whole = Duration::zero();
  while (since < until) {
    const TimePoint next = std::min(until, next_change(path, since));
    whole += (next - since) * share(path, since).value();
    since = next;
  }
  return whole;
}

TimePoint ClusterFaults::carried_by(const LinkPair& path, TimePoint since, Duration whole) const {
  if (empty_) return since + whole;
  while (since != TimePoint::never()) {
    const double left = share(path, since).value();
    const TimePoint next = next_change(path, since);
    const TimePoint done = left > 0 ? since + whole * (1 / left) : TimePoint::never();
    if (done <= next) return done;
    if (left > 0) whole -= (next - since) * left;
    since = next;
  }
  return since;
}

TimePoint ClusterFaults::answered(HostId host, TimePoint asked, TimePoint done) const {
  if (empty_) return done;
  for (const ClusterFaultSpec& fault : of_host_[host.index]) {
    const bool delays = fault.kind == Kind::late_libvirt && fault.delay > Duration::zero();
    if (delays && holds(fault, asked)) done = done + fault.delay;
  }
  for (bool later = true; later;) {
    later = false;
    for (const ClusterFaultSpec& fault : of_host_[host.index]) {
      const bool silent = fault.kind == Kind::late_libvirt && fault.delay == Duration::zero();
      if (!silent || !holds(fault, done)) continue;
      done = fault.until;
      later = true;
    }
  }
  return done;
}

std::vector<TimePoint> ClusterFaults::changes(HostId host) const {
  std::vector<TimePoint> times;
  if (empty_) return times;
  for (TimePoint at = TimePoint::at(Duration::nanoseconds(-1));;) {
    at = next_change(host, at);
    if (at == TimePoint::never()) return times;
    times.push_back(at);
  }
}

}  // namespace ferry
