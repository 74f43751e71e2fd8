#include "core/mpi/requests.hpp"

#include "core/units/check.hpp"

namespace ferry::mpi {

void Requests::grow() {
  check(made_ + chunk <= most_requests, "a rank has no more than 16 million open requests");
  chunks_.push_back(std::make_unique<Operation[]>(chunk));
  for (std::uint32_t i = chunk; i-- > 0;) {
    Operation& operation = chunks_.back()[i];
    operation.index = made_ + i;
    operation.state = Operation::State::complete;
    operation.match_links.next = free_;
    free_ = &operation;
  }
  made_ += chunk;
}

}  // namespace ferry::mpi
