#include "hw_backend/libvirt/migration_progress.hpp"

#include <libvirt/libvirt.h>

#include <algorithm>
#include <string_view>

namespace ferry {
namespace {

std::uint64_t number(const virTypedParameter& parameter) {
  switch (parameter.type) {
    case VIR_TYPED_PARAM_INT: return static_cast<std::uint64_t>(std::max(parameter.value.i, 0));
    case VIR_TYPED_PARAM_UINT: return parameter.value.ui;
    case VIR_TYPED_PARAM_LLONG: return static_cast<std::uint64_t>(std::max(parameter.value.l, 0LL));
    case VIR_TYPED_PARAM_ULLONG: return parameter.value.ul;
    default: return 0;
  }
}

}  // namespace

JobStatistics read_statistics(const _virTypedParameter* parameters, int count) {
  JobStatistics statistics;
  for (int i = 0; i < count; ++i) {
    const virTypedParameter& parameter = parameters[i];
    const std::string_view field = parameter.field;
    const std::uint64_t value = number(parameter);
    if (field == VIR_DOMAIN_JOB_MEMORY_PROCESSED) {
      statistics.processed = Bytes(value);
      statistics.known = true;
    } else if (field == VIR_DOMAIN_JOB_MEMORY_REMAINING) {
      statistics.remaining = Bytes(value);
    } else if (field == VIR_DOMAIN_JOB_DOWNTIME) {
      statistics.downtime = Duration::milliseconds(static_cast<std::int64_t>(value));
    } else if (field == VIR_DOMAIN_JOB_MEMORY_ITERATION) {
      statistics.iteration = static_cast<int>(value);
    } else if (field == VIR_DOMAIN_JOB_AUTO_CONVERGE_THROTTLE) {
      statistics.throttle = static_cast<int>(value);
    }
  }
  return statistics;
}

RoundReport RoundTracker::close_round(TimePoint at, const JobStatistics& statistics, Bytes dirty) {
  const Bytes sent = statistics.known ? statistics.processed - processed_ : Bytes();
  if (statistics.known) processed_ = std::max(processed_, statistics.processed);
  const RoundReport report{++rounds_, sent, at - round_began_, dirty};
  bytes_ += sent;
  round_began_ = at;
  return report;
}

std::optional<RoundReport> RoundTracker::iteration_begins(int iteration, TimePoint at,
                                                          const JobStatistics& statistics) {
  const bool first = iteration_ == 0;
  iteration_ = iteration;
  if (first) {
    round_began_ = at;
    return std::nullopt;
  }
  return close_round(at, statistics, statistics.remaining);
}

void RoundTracker::begin_again(TimePoint at) {
  round_began_ = at;
  processed_ = Bytes();
  iteration_ = 0;
}

RoundReport RoundTracker::finish(TimePoint at, const JobStatistics& statistics, bool postcopy) {
  RoundReport report = close_round(at, statistics, Bytes());
  // The event comes when the source has cleaned up as well; the stop-and-copy took the pause.
  if (statistics.known && !postcopy) report.time = std::min(report.time, statistics.downtime);
  return report;
}

}  // namespace ferry
