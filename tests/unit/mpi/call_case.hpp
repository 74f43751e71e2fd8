// Calls the collective of a `CollectiveCase` as one of its ranks.
#pragma once

#include "core/mpi/communicator.hpp"
#include "tests/unit/collectives/meaning.hpp"

namespace ferry::mpi {

/// Non-blocking; `memory` is this rank's and stays until the request is complete.
[[nodiscard]] Request start_case(Communicator in, const CollectiveCase& test, RankMemory& memory);
/// By the blocking call.
void run_case(Communicator in, const CollectiveCase& test, RankMemory& memory);
/// A collective of any kind, root and sizes up to about `largest` bytes or elements.
CollectiveCase random_case(Rank ranks, std::size_t largest, std::mt19937_64& random);

}  // namespace ferry::mpi
