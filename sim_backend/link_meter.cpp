#include "sim_backend/link_meter.hpp"

#include <algorithm>
#include <utility>

namespace ferry {

void LinkMeter::add(const LinkMap::Route& route, Bytes bytes) {
  for (const LinkId link : route) {
    if (link.index >= present_.size()) present_.resize(link.index + 1);
    present_[link.index] += bytes;
  }
}

TimePoint LinkMeter::boundary() const {
  return TimePoint::at(Duration::nanoseconds(interval_.count_nanoseconds() *
                                             static_cast<std::int64_t>(past_.size() + 1)));
}

void LinkMeter::begin_next_interval() {
  past_.push_back(std::move(present_));
  present_ = Interval(past_.back().size());
  if (past_.size() < most_intervals) return;
  static_assert(most_intervals % 2 == 0, "intervals become one two by two");
  for (std::size_t i = 0; i < most_intervals / 2; ++i) {
    Interval& first = past_[2 * i];
    const Interval& second = past_[2 * i + 1];
    first.resize(std::max(first.size(), second.size()));
    for (std::size_t link = 0; link < second.size(); ++link) first[link] += second[link];
    if (i > 0) past_[i] = std::move(first);
  }
  past_.resize(most_intervals / 2);
  interval_ += interval_;
}

LinkUsage LinkMeter::usage(const LinkMap& links, const Instance& instance) const {
  LinkUsage usage;
  usage.interval = interval_;
  for (std::uint32_t i = 0; i < links.link_count(); ++i) {
    const LinkId link{i};
    std::vector<Bytes> carried;
    for (const Interval& interval : past_) {
      carried.push_back(i < interval.size() ? interval[i] : Bytes());
    }
    carried.push_back(i < present_.size() ? present_[i] : Bytes());
    while (!carried.empty() && carried.back() == Bytes()) carried.pop_back();
    if (carried.empty()) continue;
    usage.links.push_back({links.network(link).name, links.place(link, instance),
                           links.bandwidth(link), std::move(carried)});
  }
  return usage;
}

}  // namespace ferry
