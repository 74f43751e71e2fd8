// VMs that cannot be moved apart.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "core/scenario/instance.hpp"

namespace ferry {

/// Groups of VMs that are joined, directly or through others.
class VmGroups {
 public:
  explicit VmGroups(std::size_t vms) : parent_(vms) {
    std::iota(parent_.begin(), parent_.end(), std::uint32_t{0});
  }
  void join(const std::vector<VmId>& vms) {
    for (const VmId vm : vms) parent_[root(vm.index)] = root(vms.front().index);
  }
  /// VMs of one job: a wave must not split them.
  void join_jobs(const Instance& instance) {
    for (const JobSpec& job : instance.jobs) join(job.vms);
  }
  /// VMs of `together`.
  void join_constraints(const Instance& instance) {
    for (const ConstraintSpec& constraint : instance.constraints) {
      if (constraint.kind == ConstraintSpec::Kind::together) join(constraint.vms);
    }
  }
  /// The same for all of a group.
  std::uint32_t root(std::uint32_t vm) {
    while (parent_[vm] != vm) vm = parent_[vm] = parent_[parent_[vm]];
    return vm;
  }

 private:
  std::vector<std::uint32_t> parent_;
};

}  // namespace ferry
