#include "sim_backend/cores.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

namespace ferry {

std::vector<double> share_cores(double cores, std::span<const CoreUse> uses) {
  std::vector<std::size_t> by_thread(uses.size());
  std::iota(by_thread.begin(), by_thread.end(), std::size_t{0});
  const auto of_a_thread = [&](std::size_t i) {
    return uses[i].threads > 0 ? uses[i].demand / uses[i].threads : 0.0;
  };
  std::stable_sort(by_thread.begin(), by_thread.end(),
                   [&](std::size_t a, std::size_t b) { return of_a_thread(a) < of_a_thread(b); });
  double threads = 0;
  for (const CoreUse& use : uses) threads += use.threads;
  std::vector<double> parts(uses.size(), 0);
  // The most modest threads first: what they leave is divided among the others.
  for (const std::size_t i : by_thread) {
    const double fair = threads > 0 ? cores / threads : 0;
    parts[i] = std::min(uses[i].demand, fair * uses[i].threads);
    cores = std::max(0.0, cores - parts[i]);
    threads -= uses[i].threads;
  }
  return parts;
}

CorePool::User::User(CorePool& pool, std::function<CoreUse()> use,
                     std::function<void()> part_changed)
    : pool_(pool), use_(std::move(use)), part_changed_(std::move(part_changed)) {
  pool_.users_.push_back(this);
  pool_.share();
}

CorePool::User::~User() {
  std::erase(pool_.users_, this);
  pool_.share();
}

void CorePool::share() {
  std::vector<CoreUse> uses;
  uses.reserve(users_.size());
  for (const User* const user : users_) uses.push_back(user->use_());
  const std::vector<double> parts = share_cores(cores_, uses);
  std::vector<User*> changed;
  for (std::size_t i = 0; i < users_.size(); ++i) {
    users_[i]->useful_ = std::max(uses[i].demand, uses[i].useful);
    if (users_[i]->cores_ == parts[i]) continue;
    users_[i]->cores_ = parts[i];
    changed.push_back(users_[i]);
  }
  for (User* const user : changed) user->part_changed_();
}

}  // namespace ferry
