// What a run of the swarm may have come to, by the fault table, and whether it did.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/migration/fault_table.hpp"
#include "core/record/run_records.hpp"
#include "tests/swarm/draw.hpp"

namespace ferry {

/// Where a VM was when something went wrong in the cluster.
struct Sighting {
  std::size_t fault = 0;      ///< index in `Instance::cluster_faults`
  std::vector<HostId> hosts;  ///< by VM
};

/// All that a run left.
struct Aftermath {
  const Drawn* drawn = nullptr;
  const RunRecords* records = nullptr;
  std::vector<std::string> journal;
  std::size_t controllers = 0;
  std::vector<std::string> unsettled;
  std::size_t suspensions = 0;
  std::vector<Sighting> sightings;
  std::vector<VmInspection> vms;
  std::vector<std::vector<HostId>> held;  ///< by VM
  std::vector<Bytes> memory_free;         ///< by host, of the reservations
};

using Cell = std::pair<Phase, FaultKind>;

struct Judgement {
  std::vector<std::string> wrong;  ///< sentences
  std::map<Cell, int> hits;        ///< faults that struck a VM in that phase
  int jobs_ended = 0;              ///< of those that send messages: came to their end
  int ranks_blocked = 0;           ///< times that a rank could not go on because of a move
  int jobs_stopped = 0;            ///< could not, for a reason that the run gave
};

/// Pure: compares what happened with what may.
Judgement judge(const Aftermath& aftermath);

}  // namespace ferry
