#include "hw_backend/ranks/working_processor.hpp"

#include <ctime>

#include "hw_backend/threads/thread_executor.hpp"

namespace ferry::ranks {
namespace {

Duration processor_time() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return Duration::nanoseconds(static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 +
                               time.tv_nsec);
}

volatile double kept_result = 0;

/// Arithmetic that no compiler leaves out: some microseconds, between two looks at the clock.
double work_a_little(double value) {
  for (int i = 0; i < 1000; ++i) value = value * 0.999999 + 1e-6;
  kept_result = value;
  return value;
}

}  // namespace

Wake WorkingProcessor::compute(std::optional<VmId> /*vm*/, Duration work) {
  const Parker* const parker = parker_of_this_thread();
  const Duration end = processor_time() + work;
  double value = 1;
  while (processor_time() < end) {
    if (parker != nullptr && parker->ends_waits()) return Wake::cancelled;
    value = work_a_little(value);
  }
  return Wake::timed_out;
}

}  // namespace ferry::ranks
