#include "hw_backend/libvirt/whereabouts.hpp"

#include <algorithm>
#include <optional>

namespace ferry {

Whereabouts::Whereabouts(ClusterLink& link, const Instance& instance) : link_(link) {
  for (const VmSpec& vm : instance.vms) last_known_.push_back(vm.host);
}

HostId Whereabouts::last_known(VmId vm) const {
  const std::lock_guard guard(mutex_);
  return last_known_[vm.index];
}

void Whereabouts::set(VmId vm, HostId host) {
  const std::lock_guard guard(mutex_);
  last_known_[vm.index] = host;
}

Result<VmPlace> Whereabouts::find(VmId vm, TimePoint deadline) {
  bool everybody_answers = false;
  return look(vm, deadline, everybody_answers);
}

Result<VmPlace> Whereabouts::search(VmId vm, TimePoint deadline) {
  const TimePoint limit = std::min(deadline, link_.clock().now() + search_patience);
  for (;;) {
    bool everybody_answers = false;
    Result<VmPlace> found = look(vm, deadline, everybody_answers);
    if (found || found.error().kind != FailureKind::lost || everybody_answers) return found;
    const TimePoint again = link_.clock().now() + search_again;
    if (again >= limit) return found;
    const Wake wake = link_.pause(vm, again);
    if (wake == Wake::cancelled) {
      return tl::unexpected(ended_early(wake, "looking for " + link_.name(vm)));
    }
  }
}

Result<VmPlace> Whereabouts::look(VmId vm, TimePoint deadline, bool& everybody_answers) {
  const HostId expected = last_known(vm);
  Result<DomainState> there = link_.ask<DomainState>(
      vm, expected, "looking for " + link_.name(vm), deadline,
      [domain = link_.domain(vm)](HostConnections& host) { return look_at(host, domain); });
  if (there && there->running && !there->receives) return VmPlace{expected, std::move(*there)};
  if (!there && there.error().kind == FailureKind::cancelled) {
    return tl::unexpected(there.error());
  }
  const std::vector<Result<DomainState>> answers = link_.look_everywhere(vm, deadline);
  everybody_answers = std::ranges::all_of(
      answers, [](const Result<DomainState>& answer) { return answer.has_value(); });
  Result<VmPlace> found = choose(vm, answers);
  if (found) set(vm, found->host);
  return found;
}

Result<VmPlace> Whereabouts::choose(VmId vm, const std::vector<Result<DomainState>>& answers) {
  const auto host_at = [](std::size_t i) { return HostId{static_cast<std::uint32_t>(i)}; };
  std::optional<std::size_t> paused;
  std::string silent;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i]) {
      silent += (silent.empty() ? "" : ", ") + link_.name(host_at(i)) + " (" +
                answers[i].error().reason + ")";
      continue;
    }
    if (!answers[i]->active || answers[i]->receives) continue;
    if (answers[i]->running) return VmPlace{host_at(i), *answers[i]};
    // Where it was last, a paused domain is the VM itself.
    if (!paused || host_at(i) == last_known(vm)) paused = i;
  }
  if (paused) return VmPlace{host_at(*paused), *answers[*paused]};
  for (const Result<DomainState>& answer : answers) {
    if (answer || (answer.error().kind != FailureKind::timed_out &&
                   answer.error().kind != FailureKind::cancelled)) {
      continue;
    }
    return failure(answer.error().kind, answer.error().reason);  // nothing is known yet
  }
  if (!silent.empty()) {
    return failure(FailureKind::lost, "domain " + link_.domain(vm) + " of " + link_.name(vm) +
                                          " is on no host that answers; no answer from " + silent);
  }
  return failure(FailureKind::lost, "domain " + link_.domain(vm) + " of " + link_.name(vm) +
                                        " runs on none of the cluster's hosts");
}

}  // namespace ferry
