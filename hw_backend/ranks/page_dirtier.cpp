#include "hw_backend/ranks/page_dirtier.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <string>

#include "core/ports/world_error.hpp"

namespace ferry::ranks {
namespace {

constexpr std::uint64_t page = 4096;
constexpr std::chrono::milliseconds tick{10};
/// What was missed while the machine was paused, or busy, is not made up for beyond this.
constexpr std::chrono::milliseconds most_behind{200};
/// Left to everything else on the machine.
constexpr Bytes reserve = Bytes::mebi(32);

Bytes less(Bytes from, Bytes what) {
  return from > what ? Bytes(from.count() - what.count()) : Bytes();
}

std::byte* take_memory(Bytes size) {
  if (size == Bytes()) return nullptr;
  void* const memory = mmap(nullptr, size.count(), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw WorldError("this machine has no memory for --pages");
  madvise(memory, size.count(), MADV_NOHUGEPAGE);  // what is written is counted in small pages
  return static_cast<std::byte*>(memory);
}

}  // namespace

PagePlan page_plan(const VmSpec& vm) {
  const double share = 1 - vm.zero.value();
  return {
      .nonzero = Bytes(static_cast<std::uint64_t>(static_cast<double>(vm.memory.count()) * share)),
      .working_set = vm.working_set,
      .idle_rate = vm.idle_dirty_rate,
      .rate = vm.dirty_rate};
}

Bytes bytes_to_fill(const PagePlan& plan, const MachineMemory& memory) {
  const Bytes used = less(memory.all, memory.free);
  const Bytes missing = less(less(plan.nonzero, used), plan.working_set);
  return std::min(missing, less(less(memory.available, reserve), plan.working_set));
}

MachineMemory machine_memory() {
  MachineMemory memory;
  std::ifstream file("/proc/meminfo");
  std::string name;
  for (std::uint64_t kibi = 0; file >> name >> kibi; file.ignore(100, '\n')) {
    if (name == "MemTotal:") memory.all = Bytes::kibi(kibi);
    if (name == "MemFree:") memory.free = Bytes::kibi(kibi);
    if (name == "MemAvailable:") memory.available = Bytes::kibi(kibi);
  }
  return memory;
}

PageDirtier::PageDirtier(const PagePlan& plan)
    : plan_(plan),
      working_set_(take_memory(plan.working_set)),
      fill_(bytes_to_fill(plan, machine_memory())) {
  for (std::uint64_t at = 0; at < plan_.working_set.count(); at += page) {
    working_set_[at] = std::byte{1};
  }
  filled_ = take_memory(fill_);
  for (std::uint64_t at = 0; at < fill_.count(); at += page) filled_[at] = std::byte{1};
  thread_ = std::thread([this] { sweep(); });
}

PageDirtier::~PageDirtier() {
  stopped_ = true;
  thread_.join();
  if (working_set_ != nullptr) munmap(working_set_, plan_.working_set.count());
  if (filled_ != nullptr) munmap(filled_, fill_.count());
}

/// One word of a page is enough: whoever tracks pages sees all of it.
void PageDirtier::sweep() {
  using Clock = std::chrono::steady_clock;
  const std::uint64_t pages = plan_.working_set.count() / page;
  std::uint64_t next = 0;
  double due = 0;
  Clock::time_point last = Clock::now();
  while (!stopped_ && pages > 0) {
    std::this_thread::sleep_for(tick);
    const Clock::time_point now = Clock::now();
    const std::chrono::duration<double> passed =
        std::min<std::chrono::duration<double>>(now - last, most_behind);
    last = now;
    const Bandwidth rate = running_ ? plan_.idle_rate + plan_.rate : plan_.idle_rate;
    due += passed.count() * rate.to_bytes_per_second() / static_cast<double>(page);
    for (; due >= 1; due -= 1, next = (next + 1) % pages, written_.fetch_add(1)) {
      std::uint64_t word = 0;
      std::memcpy(&word, working_set_ + next * page, sizeof(word));
      ++word;
      std::memcpy(working_set_ + next * page, &word, sizeof(word));
    }
  }
}

}  // namespace ferry::ranks
