// The place of every VM and job among its like in natural order of names, worked out once for
// tables that sort by it.
#pragma once

#include <cstdint>
#include <vector>

#include "core/scenario/instance.hpp"

namespace ferry {

class NameOrder {
 public:
  explicit NameOrder(const Instance& instance);

  [[nodiscard]] std::uint32_t of(VmId vm) const { return vms_[vm.index]; }
  [[nodiscard]] std::uint32_t of(JobId job) const { return jobs_[job.index]; }

 private:
  std::vector<std::uint32_t> vms_;
  std::vector<std::uint32_t> jobs_;
};

}  // namespace ferry
