#include "core/mpi/workloads/nas.hpp"

#include "core/units/check.hpp"

namespace ferry::mpi {

std::uint32_t nas_iterations(WorkloadType kernel, NasClass problem) {
  switch (kernel) {
    case WorkloadType::nas_lu: return of_class(lu_problems, problem).iterations;
    case WorkloadType::nas_is: return of_class(is_problems, problem).iterations;
    case WorkloadType::nas_mg: return of_class(mg_problems, problem).iterations;
    case WorkloadType::nas_cg: return of_class(cg_problems, problem).iterations;
    case WorkloadType::nas_ft: return of_class(ft_problems, problem).iterations;
    default: return 1;
  }
}

void run_nas(const NasRun& run, Calls& calls) {
  switch (run.kernel) {
    case WorkloadType::nas_lu: return run_lu(run, calls);
    case WorkloadType::nas_ep: return run_ep(run, calls);
    case WorkloadType::nas_is: return run_is(run, calls);
    case WorkloadType::nas_mg: return run_mg(run, calls);
    case WorkloadType::nas_cg: return run_cg(run, calls);
    case WorkloadType::nas_ft: return run_ft(run, calls);
    default: check(false, "this is a kernel of NAS");
  }
}

Traffic nas_traffic(const NasRun& run, std::uint32_t ranks, std::uint32_t rank) {
  switch (run.kernel) {
    case WorkloadType::nas_lu: return lu_traffic(run, ranks, rank);
    case WorkloadType::nas_ep: return ep_traffic(run, ranks, rank);
    case WorkloadType::nas_is: return is_traffic(run, ranks, rank);
    case WorkloadType::nas_mg: return mg_traffic(run, ranks, rank);
    case WorkloadType::nas_cg: return cg_traffic(run, ranks, rank);
    case WorkloadType::nas_ft: return ft_traffic(run, ranks, rank);
    default: check(false, "this is a kernel of NAS");
  }
  return {};
}

}  // namespace ferry::mpi
