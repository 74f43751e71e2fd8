#include "core/scenario/workload.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

#include "core/scenario/nas_problem.hpp"
#include "core/scenario/platform.hpp"

namespace ferry {
namespace {

constexpr std::string_view class_letters = "SWABCD";

std::string who(std::string_view kernel, NasClass name) {
  return fmt::format("{} class {}", kernel, class_letters[static_cast<std::size_t>(name)]);
}

std::string powers_of_two(std::string_view kernel, std::uint32_t ranks) {
  return fmt::format("{} needs a power of two of ranks, and these are {}; write {} or {}", kernel,
                     ranks, std::bit_floor(ranks), std::bit_ceil(ranks));
}

std::optional<std::string> at_most(const std::string& kernel, std::uint32_t most,
                                   std::uint32_t ranks) {
  if (ranks <= most) return std::nullopt;
  return fmt::format(
      "{} divides among at most {} ranks, and these are {}; write fewer, or a "
      "larger class",
      kernel, most, ranks);
}

/// LU's grid of ranks is as square as can be, x the longer side; each has at least 4 points along
/// each axis (NPB 3.3 LU/proc_grid.f, subdomain.f).
std::uint32_t most_lu_ranks(std::uint32_t points) {
  const std::uint32_t along_axis = std::bit_floor(points / 4);
  return along_axis * along_axis;
}

/// `nas_lu.C`
std::string kernel_and_class(const Workload& workload) {
  constexpr std::array<std::string_view, nas_kernel_count> kernels = {"nas_lu", "nas_ep", "nas_is",
                                                                      "nas_mg", "nas_cg", "nas_ft"};
  return fmt::format("{}.{}",
                     kernels[static_cast<std::size_t>(workload.type) -
                             static_cast<std::size_t>(WorkloadType::nas_lu)],
                     class_letters[static_cast<std::size_t>(workload.nas_class)]);
}

std::optional<std::string> refused_nas(const Workload& workload, std::uint32_t ranks) {
  const NasClass name = workload.nas_class;
  const bool power_of_two = std::has_single_bit(ranks);
  switch (workload.type) {
    case WorkloadType::nas_lu:
      if (!power_of_two) return powers_of_two("LU", ranks);
      return at_most(who("LU", name), most_lu_ranks(of_class(lu_problems, name).points), ranks);
    case WorkloadType::nas_ep:
      // Batches of 2^16 pairs (`mk`), at least one each.
      return at_most(who("EP", name), 1U << (of_class(ep_problems, name).log_pairs - 16), ranks);
    case WorkloadType::nas_is: {
      const IsProblem& problem = of_class(is_problems, name);
      if (!power_of_two) return powers_of_two("IS", ranks);
      if (ranks < problem.least_ranks) {
        return fmt::format(
            "{} needs at least {} ranks, and these are {}; write more, or a "
            "smaller class",
            who("IS", name), problem.least_ranks, ranks);
      }
      return at_most(who("IS", name), problem.most_ranks, ranks);
    }
    case WorkloadType::nas_mg: {
      if (!power_of_two) return powers_of_two("MG", ranks);
      // Two points along each axis of a rank on the finest grid.
      const std::uint32_t log_most = 3 * (of_class(mg_problems, name).log_points - 1);
      return at_most(who("MG", name), log_most > 31 ? ~0U : 1U << log_most, ranks);
    }
    case WorkloadType::nas_cg:
      if (!power_of_two) return powers_of_two("CG", ranks);
      return at_most(who("CG", name), std::bit_floor(of_class(cg_problems, name).rows), ranks);
    case WorkloadType::nas_ft:
      // Planes along z; beyond them NPB divides in two dimensions, which is not done here.
      if (!power_of_two) return powers_of_two("FT", ranks);
      return at_most(who("FT", name), of_class(ft_problems, name).z, ranks);
    default: return std::nullopt;
  }
}

}  // namespace

std::optional<std::string> refused_ranks(const Workload& workload, std::uint32_t ranks) {
  switch (workload.type) {
    case WorkloadType::osu_latency:
    case WorkloadType::osu_bw:
      if (ranks == 2) return std::nullopt;
      return fmt::format(
          "it measures between two ranks, and these are {}; write two VMs with "
          "ranks: 1, or one with ranks: 2",
          ranks);
    case WorkloadType::osu_bcast:
    case WorkloadType::osu_allreduce:
      if (ranks >= 2) return std::nullopt;
      return "it measures among several ranks, and there is one; write more VMs or ranks";
    case WorkloadType::overlap:
      if (ranks % 2 == 0) return std::nullopt;
      return fmt::format(
          "its ranks exchange messages in pairs, and these are {}; write an even "
          "number",
          ranks);
    default: return refused_nas(workload, ranks);
  }
}

std::optional<std::string> missing_time(const Workload& workload, const ComputeTimes& times) {
  if (is_nas(workload.type)) {
    if (times.iteration(workload.type, workload.nas_class) > Duration::zero()) return std::nullopt;
    return fmt::format("how long this kernel computes; add compute.{} to it",
                       kernel_and_class(workload));
  }
  if (workload.type == WorkloadType::graph500 && times.graph500_edge == Duration::zero()) {
    return "how long an edge takes; add compute.graph500_edge to it";
  }
  if (workload.type == WorkloadType::trace && times.trace_million == Duration::zero()) {
    return "how long a trace computes; add compute.trace_million to it";
  }
  return std::nullopt;
}

namespace {

/// What only messages between ranks cost.
bool is_of_messages(std::string_view path) {
  constexpr std::array<std::string_view, 6> prefixes = {
      "platform.channels.", "platform.mpi.call",   "platform.mpi.lock",
      "platform.mpi.poll",  "platform.mpi.reduce", "platform.mpi.eager_thresholds."};
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](std::string_view prefix) { return path.starts_with(prefix); });
}

}  // namespace

bool concerns(std::string_view path, const Workload& workload) {
  if (is_of_messages(path)) return workload.type != WorkloadType::timed;
  constexpr std::string_view compute = "platform.compute.";
  if (!path.starts_with(compute)) return true;
  path.remove_prefix(compute.size());
  if (is_nas(workload.type)) return path == kernel_and_class(workload);
  if (workload.type == WorkloadType::graph500) return path == "graph500_edge";
  return workload.type == WorkloadType::trace && path == "trace_million";
}

}  // namespace ferry
