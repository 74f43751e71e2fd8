// The problems of the NAS Parallel Benchmarks, by kernel and class: NPB 3.3, sys/setparams.c and
// the headers of each kernel (nas.nasa.gov/software/npb.html).
#pragma once

#include <array>
#include <cstdint>

#include "core/scenario/workload.hpp"

namespace ferry {

struct LuProblem {
  std::uint32_t points = 0;  ///< along each axis
  std::uint32_t iterations = 0;
};
struct EpProblem {
  std::uint32_t log_pairs = 0;  ///< log2 of pairs of random numbers
};
struct IsProblem {
  std::uint32_t log_keys = 0;     ///< log2 of all keys
  std::uint32_t log_buckets = 0;  ///< log2 of buckets
  std::uint32_t iterations = 10;
  std::uint32_t least_ranks = 1;
  std::uint32_t most_ranks = 1024;
};
struct MgProblem {
  std::uint32_t log_points = 0;  ///< log2 of points along each axis
  std::uint32_t iterations = 0;
};
struct CgProblem {
  std::uint32_t rows = 0;
  std::uint32_t nonzeros = 0;  ///< `nonzer`: of each generating vector
  std::uint32_t iterations = 0;
  static constexpr std::uint32_t inner_iterations = 25;  ///< `cgitmax`
};
struct FtProblem {
  std::uint32_t x = 0;
  std::uint32_t y = 0;
  std::uint32_t z = 0;
  std::uint32_t iterations = 0;
};

template <class Problem>
using ByClass = std::array<Problem, nas_class_count>;

inline constexpr ByClass<LuProblem> lu_problems = {
    {{12, 50}, {33, 300}, {64, 250}, {102, 250}, {162, 250}, {408, 300}}};
inline constexpr ByClass<EpProblem> ep_problems = {{{24}, {25}, {28}, {30}, {32}, {36}}};
inline constexpr ByClass<IsProblem> is_problems = {
    {{16, 9, 10, 1, 128}, {20, 10}, {23, 10}, {25, 10}, {27, 10}, {31, 10, 10, 4, 1024}}};
inline constexpr ByClass<MgProblem> mg_problems = {
    {{5, 4}, {7, 4}, {8, 4}, {8, 20}, {9, 20}, {10, 50}}};
inline constexpr ByClass<CgProblem> cg_problems = {{{1400, 7, 15},
                                                    {7000, 8, 15},
                                                    {14'000, 11, 15},
                                                    {75'000, 13, 75},
                                                    {150'000, 15, 75},
                                                    {1'500'000, 21, 100}}};
inline constexpr ByClass<FtProblem> ft_problems = {{{64, 64, 64, 6},
                                                    {128, 128, 32, 6},
                                                    {256, 256, 128, 6},
                                                    {512, 256, 256, 20},
                                                    {512, 512, 512, 20},
                                                    {2048, 1024, 1024, 25}}};

template <class Problem>
[[nodiscard]] constexpr const Problem& of_class(const ByClass<Problem>& problems, NasClass name) {
  return problems[static_cast<std::size_t>(name)];
}

}  // namespace ferry
