// One run of a seed in the simulated world, in a child process: a process can have only one.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "tests/swarm/draw.hpp"
#include "tests/swarm/oracle.hpp"

namespace ferry {

/// What the child told.
struct SeedRun {
  std::vector<std::string> journal;
  std::string bytes;  ///< journal and every table, as files would have them
  std::size_t controllers = 0;
  Judgement judgement;
};

/// Blocks. What goes wrong with the child itself is in `judgement.wrong`.
SeedRun run_seed(const Drawn& drawn);

}  // namespace ferry
