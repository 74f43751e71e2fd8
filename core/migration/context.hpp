// What the steps of migrations share: the world, the reservations, the records and the journal.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "core/ports/job_runtime.hpp"
#include "core/ports/journal.hpp"
#include "core/ports/recorder.hpp"
#include "core/ports/world.hpp"
#include "core/scenario/instance.hpp"
#include "core/topology/inventory.hpp"

namespace ferry {

/// References live as long as the session. `mutex` guards `inventory`, `epochs` and `journal`.
struct MigrationContext {
  World& world;
  const Instance& instance;
  JobRuntime& jobs;
  Recorder& recorder;
  Journal& journal;
  Inventory& inventory;
  Mutex& mutex;
  std::vector<std::uint64_t>& epochs;  ///< by job: the last one given out
  /// Told, without `mutex`, when a VM's memory is on its destination and its links are free again.
  std::function<void(VmId)> memory_moved = {};

  /// Writes what is about to be done, durable before this returns.
  void intend(std::string_view record) {
    Lock lock(mutex);
    journal.append(record);
    journal.sync();
  }
  /// Writes what has happened; durable with the next intent at the latest.
  void note(std::string_view record) {
    Lock lock(mutex);
    journal.append(record);
  }
};

}  // namespace ferry
