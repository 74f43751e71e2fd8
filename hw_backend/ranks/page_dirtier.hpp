// Makes a machine's memory what a scenario says of its VM: pages that are not zero, a working set
// that is written again and again.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "core/scenario/instance.hpp"
#include "core/units/units.hpp"

namespace ferry::ranks {

struct PagePlan {
  Bytes nonzero;        ///< of the whole machine; what it uses already counts
  Bytes working_set;    ///< of it so much is written again and again, page by page
  Bandwidth idle_rate;  ///< always; bytes of pages
  Bandwidth rate;       ///< on top of it, while a program runs
};
[[nodiscard]] PagePlan page_plan(const VmSpec& vm);

/// How many bytes to fill beyond the working set: what `plan` lacks, as far as there is room. All
/// of a machine's memory, what is free of it, and what can be had without swapping.
struct MachineMemory {
  Bytes all;
  Bytes free;
  Bytes available;
};
[[nodiscard]] Bytes bytes_to_fill(const PagePlan& plan, const MachineMemory& memory);
/// Of /proc/meminfo.
[[nodiscard]] MachineMemory machine_memory();

/// Of one process on a machine. What it fills stays until it ends.
class PageDirtier {
 public:
  /// Fills; blocks as long as writing so much takes. Throws WorldError if the system gives no
  /// memory.
  explicit PageDirtier(const PagePlan& plan);
  ~PageDirtier();
  PageDirtier(const PageDirtier&) = delete;
  PageDirtier& operator=(const PageDirtier&) = delete;

  void set_running(bool running) { running_ = running; }
  /// Pages written since the start, beside filling.
  [[nodiscard]] std::uint64_t pages_written() const { return written_; }

 private:
  void sweep();

  PagePlan plan_;
  std::byte* working_set_ = nullptr;
  std::byte* filled_ = nullptr;
  Bytes fill_;
  std::atomic<bool> running_ = false;
  std::atomic<bool> stopped_ = false;
  std::atomic<std::uint64_t> written_ = 0;
  std::thread thread_;
};

}  // namespace ferry::ranks
