#include "core/mpi/requests.hpp"

#include "core/units/check.hpp"

namespace ferry::mpi {

void Requests::give_back(Operation& operation) {
  operation.reset();
  operation.generation = operation.generation + 1 == 0 ? 1 : operation.generation + 1;
  free_.push_back(operation.index);
}

void Requests::grow() {
  check(made_ + chunk <= most_requests, "a rank has no more than 16 million open requests");
  chunks_.push_back(std::make_unique<Operation[]>(chunk));
  for (std::uint32_t i = 0; i < chunk; ++i) chunks_.back()[i].index = made_ + i;
  for (std::uint32_t i = chunk; i-- > 0;) free_.push_back(made_ + i);
  made_ += chunk;
}

}  // namespace ferry::mpi
