#include "core/channel/explanation.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/units/check.hpp"

namespace ferry {
namespace {

bool same(const Choice& a, const Choice& b) {
  return a.protocol == b.protocol && a.channel == b.channel && a.data == b.data;
}

const Candidate& candidate_of(const Decision& decision, const Choice& choice) {
  const auto found = std::ranges::find_if(decision.candidates, [&](const Candidate& candidate) {
    return same(candidate.choice, choice);
  });
  check(found != decision.candidates.end(), "a route is made of candidates");
  return *found;
}

}  // namespace

std::vector<ExplainedRange> explain_ranges(const Decision& decision) {
  std::vector<ExplainedRange> ranges;
  std::size_t first = 0;
  const auto route = decision.route.ranges();
  for (std::size_t i = 0; i < route.size(); ++i) {
    ExplainedRange& range = ranges.emplace_back();
    range.first = first;
    range.choice = route[i].choice;
    if (i + 1 == route.size()) break;
    range.last = route[i].last;
    first = route[i].last + 1;
    const Candidate& mine = candidate_of(decision, range.choice);
    const Candidate& next = candidate_of(decision, route[i + 1].choice);
    if (mine.largest == range.last) {
      range.ends = mine.bound;
    } else if (next.smallest == first) {
      range.ends = next.bound;
    } else {
      range.ends = fmt::format("then {} takes less time", to_words(next.choice));
    }
  }
  return ranges;
}

std::string to_words(const Choice& choice) {
  switch (choice.protocol) {
    case Protocol::eager: return fmt::format("eager by {}", to_name(choice.data));
    case Protocol::rendezvous_read: return fmt::format("a read by {}", to_name(choice.data));
    case Protocol::rendezvous_fragments:
      return fmt::format("fragments by {}", to_name(choice.data));
  }
  return "?";
}

std::string to_words(const PairClass& pairs, bool containers) {
  const std::string_view sockets = pairs.same_socket ? ", one socket" : ", two sockets";
  switch (pairs.nearness) {
    case Nearness::same_container:
      return fmt::format("one {}{}", containers ? "container" : "VM", sockets);
    case Nearness::same_vm: return fmt::format("two containers of one VM{}", sockets);
    case Nearness::same_host: return fmt::format("two VMs of one host{}", sockets);
    case Nearness::other_host: return "two hosts";
  }
  return "?";
}

Duration call_time(const JobSpec& job, const RuntimeCosts& costs) {
  return job.strategy == Strategy::migration_thread ? costs.call + costs.lock : costs.call;
}

Duration predicted_time(const Choice& choice, const PairClass& pairs,
                        const ChannelProfiles& profiles, Duration call, Bytes size) {
  return call + choice_time(choice, pairs, profiles, size);
}

}  // namespace ferry
