#include "core/memory/throttling.hpp"

#include <algorithm>

namespace ferry {

bool AutoConverge::synchronised(TimePoint now, Bytes dirtied, Bytes sent) {
  dirtied_ += dirtied;
  sent_ += sent;
  if (now - looked_ <= period) return false;
  const bool high = dirtied_ > sent_ * trigger.value();
  looked_ = now;
  dirtied_ = sent_ = Bytes(0);
  if (!high || ++high_ < high_periods) return false;
  high_ = 0;
  const int before = percent_;
  percent_ = before == 0 ? first_percent : std::min(before + further_percent, most_percent);
  return percent_ != before;
}

}  // namespace ferry
