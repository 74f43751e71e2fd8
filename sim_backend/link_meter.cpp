#include "sim_backend/link_meter.hpp"

#include "core/units/check.hpp"

namespace ferry {

void LinkMeter::add(const LinkMap::Route& route, Bytes bytes) {
  if (bytes == Bytes()) return;
  for (const LinkId link : route) {
    if (link.index >= carried_.size()) carried_.resize(link.index + 1);
    std::vector<Bytes>& intervals = carried_[link.index];
    if (intervals.size() <= present_) intervals.resize(present_ + 1);
    intervals[present_] += bytes;
  }
}

TimePoint LinkMeter::boundary() const {
  return TimePoint::at(Duration::nanoseconds(interval_.count_nanoseconds() *
                                             static_cast<std::int64_t>(present_ + 1)));
}

void LinkMeter::begin_next_interval() {
  if (++present_ < most_intervals) return;
  static_assert(most_intervals % 2 == 0, "intervals become one two by two");
  for (std::vector<Bytes>& intervals : carried_) {
    for (std::size_t i = 0; i < intervals.size(); ++i) {
      if (i % 2 == 0) {
        intervals[i / 2] = intervals[i];
      } else {
        intervals[i / 2] += intervals[i];
      }
    }
    intervals.resize((intervals.size() + 1) / 2);
  }
  interval_ += interval_;
  present_ /= 2;
}

LinkUsage LinkMeter::usage(const LinkMap& links, const Instance& instance) const {
  LinkUsage usage;
  usage.interval = interval_;
  for (std::uint32_t i = 0; i < carried_.size(); ++i) {
    if (carried_[i].empty()) continue;
    const LinkId link{i};
    usage.links.push_back({links.network(link).name, links.place(link, instance),
                           links.bandwidth(link), carried_[i]});
  }
  return usage;
}

}  // namespace ferry
