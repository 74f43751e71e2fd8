#include "hw_backend/verbs/registration_cache.hpp"

#include <malloc.h>

#include <algorithm>

#include "core/units/check.hpp"

namespace ferry::verbs {
namespace {

bool covers(const Registration& all, std::uintptr_t begin, std::uintptr_t end, bool writable) {
  return all.begin <= begin && end <= all.end && (all.writable || !writable);
}

}  // namespace

std::size_t RegistrationCache::size_of(const Entry& entry) {
  return entry.registration.end - entry.registration.begin;
}

Result<RegistrationCache::Use> RegistrationCache::use(const void* data, std::size_t size,
                                                      bool writable) {
  const auto address = reinterpret_cast<std::uintptr_t>(data);
  const std::uintptr_t begin = address & ~(page_bytes - 1);
  const std::uintptr_t end = (address + size + page_bytes - 1) & ~(page_bytes - 1);
  // One that covers it begins at most `longest_` before.
  auto candidate = by_begin_.lower_bound(begin > longest_ ? begin - longest_ : 0);
  for (; candidate != by_begin_.end() && candidate->first <= begin; ++candidate) {
    const Use found = candidate->second;
    if (found->stale || !covers(found->registration, begin, end, writable)) continue;
    if (found->users++ == 0) {
      const auto place = place_in_unused_.find(&*found);
      unused_.erase(place->second);
      place_in_unused_.erase(place);
      unused_bytes_ -= size_of(*found);
    }
    return found;
  }
  for (;;) {
    Result<Registration> added = registrar_.add(begin, end, writable);
    if (!added && remove_oldest_unused()) continue;
    if (!added) return tl::unexpected(added.error());
    ++made_;
    entries_.push_front({.registration = *added, .users = 1});
    const Use made = entries_.begin();
    by_begin_.emplace(added->begin, made);
    longest_ = std::max(longest_, size_of(*made));
    return made;
  }
}

void RegistrationCache::release(Use use) {
  check(use->users > 0, "a registration is released as often as it was used");
  if (--use->users != 0) return;
  if (use->stale || size_of(*use) > kept_.count()) return remove(use);
  unused_.push_back(use);
  place_in_unused_[&*use] = std::prev(unused_.end());
  unused_bytes_ += size_of(*use);
  while (unused_bytes_ > kept_.count() && remove_oldest_unused()) {
  }
}

bool RegistrationCache::remove_oldest_unused() {
  if (unused_.empty()) return false;
  const Use oldest = unused_.front();
  unused_bytes_ -= size_of(*oldest);
  place_in_unused_.erase(&*oldest);
  unused_.pop_front();
  remove(oldest);
  return true;
}

void RegistrationCache::remove(Use use) {
  registrar_.remove(use->registration);
  const auto [first, last] = by_begin_.equal_range(use->registration.begin);
  const auto place =
      std::find_if(first, last, [use](const auto& one) { return one.second == use; });
  by_begin_.erase(place);
  entries_.erase(use);
}

void RegistrationCache::forget(const void* data, std::size_t size) {
  const auto begin = reinterpret_cast<std::uintptr_t>(data);
  for (Entry& entry : entries_) {
    if (entry.registration.begin < begin + size && begin < entry.registration.end) {
      entry.stale = true;
    }
  }
  std::list<Use> gone;
  for (const Use each : unused_) {
    if (each->stale) gone.push_back(each);
  }
  for (const Use each : gone) {
    const auto place = place_in_unused_.find(&*each);
    unused_.erase(place->second);
    place_in_unused_.erase(place);
    unused_bytes_ -= size_of(*each);
    remove(each);
  }
}

void RegistrationCache::clear() {
  for (const Entry& entry : entries_) registrar_.remove(entry.registration);
  entries_.clear();
  by_begin_.clear();
  unused_.clear();
  place_in_unused_.clear();
  unused_bytes_ = 0;
  longest_ = 0;
}

void keep_freed_memory_mapped() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
#endif
}

}  // namespace ferry::verbs
