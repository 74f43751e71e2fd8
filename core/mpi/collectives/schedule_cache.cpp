#include "core/mpi/collectives/schedule_cache.hpp"

#include <algorithm>

namespace ferry::mpi {
namespace {

bool has_sizes_of(const CollectiveShape& shape) {
  return !shape.sizes.empty() || !shape.receive_sizes.empty();
}

}  // namespace

bool ScheduleCache::Entry::is_for(const CollectiveShape& shape) const {
  return kind == shape.kind && size == shape.size && root == shape.root &&
         element == shape.element && has_sizes == has_sizes_of(shape) &&
         (!has_sizes || (std::ranges::equal(sizes, shape.sizes) &&
                         std::ranges::equal(receive_sizes, shape.receive_sizes)));
}

const std::shared_ptr<const Schedule>* ScheduleCache::find(const CollectiveShape& shape) {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const std::size_t index = last_ + i < entries_.size() ? last_ + i : last_ + i - entries_.size();
    if (!entries_[index].is_for(shape)) continue;
    last_ = index;
    entries_[index].used = ++uses_;
    return &entries_[index].schedule;
  }
  return nullptr;
}

std::shared_ptr<Schedule> ScheduleCache::make(const CollectiveShape& shape) {
  if (entries_.size() < most_schedules) {
    last_ = entries_.size();
    entries_.emplace_back();
  } else {
    last_ = oldest();
  }
  Entry& entry = entries_[last_];
  entry.kind = shape.kind;
  entry.root = shape.root;
  entry.size = shape.size;
  entry.element = static_cast<std::uint32_t>(shape.element);
  entry.has_sizes = has_sizes_of(shape);
  entry.sizes.assign(shape.sizes.begin(), shape.sizes.end());
  entry.receive_sizes.assign(shape.receive_sizes.begin(), shape.receive_sizes.end());
  entry.used = ++uses_;
  // Memory of a schedule that nobody uses any more is used again.
  if (entry.schedule == nullptr || entry.schedule.use_count() > 1)
    entry.schedule = std::make_shared<Schedule>();
  entry.attachment = nullptr;
  return std::const_pointer_cast<Schedule>(entry.schedule);
}

std::shared_ptr<void>* ScheduleCache::attachment(const Schedule& schedule) {
  if (last_ < entries_.size() && entries_[last_].schedule.get() == &schedule) {
    return &entries_[last_].attachment;
  }
  for (Entry& entry : entries_) {
    if (entry.schedule.get() == &schedule) return &entry.attachment;
  }
  return nullptr;
}

std::size_t ScheduleCache::oldest() const {
  const auto entry = std::min_element(
      entries_.begin(), entries_.end(),
      [](const Entry& left, const Entry& right) { return left.used < right.used; });
  return static_cast<std::size_t>(entry - entries_.begin());
}

void ScheduleCache::trim() {
  while (entries_.size() > 1 && steps() > most_steps) {
    entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(oldest()));
    last_ = 0;
  }
}

void ScheduleCache::clear() {
  entries_.clear();
  last_ = 0;
}

std::size_t ScheduleCache::steps() const {
  std::size_t steps = 0;
  for (const Entry& entry : entries_) steps += entry.schedule->steps.size();
  return steps;
}

}  // namespace ferry::mpi
