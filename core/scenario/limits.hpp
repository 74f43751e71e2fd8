// The largest things that a user's file may ask for. They keep a slip of the keyboard ("a count of
// millions of millions") from becoming an allocation, and leave every sum of two values in range.
#pragma once

#include <cstdint>

#include "core/units/units.hpp"

namespace ferry::limits {

inline constexpr std::uint32_t hosts = 100'000;
inline constexpr std::uint32_t vms = 1'000'000;
inline constexpr std::uint32_t jobs = 1'000'000;
inline constexpr std::uint32_t ranks = 10'000'000;  ///< of all jobs
inline constexpr std::uint32_t ranks_per_vm = 4096;
inline constexpr std::uint32_t moves = 4'000'000;        ///< VMs of all migrations together
inline constexpr std::uint32_t faults = 1'000'000;       ///< VMs and hosts of all faults together
inline constexpr std::uint64_t candidates = 50'000'000;  ///< hosts of all migrations' `to` together
inline constexpr std::uint32_t iterations = 1'000'000'000;  ///< of a workload's loops
inline constexpr std::uint32_t cores = 65'536;
inline constexpr std::uint32_t sockets = 1024;     ///< of a host
inline constexpr std::uint32_t containers = 4096;  ///< in a VM
inline constexpr Bytes packet = Bytes::mebi(64);
inline constexpr std::uint32_t virtual_functions = 4096;                  ///< of a host
inline constexpr std::uint32_t cells = 1'000'000;                         ///< of a study
inline constexpr Bytes memory = Bytes(1ULL << 50U);                       ///< 1 PiB
inline constexpr Bytes message = Bytes(1ULL << 40U);                      ///< of a workload
inline constexpr Duration time = Duration::milliseconds(36'000'000'000);  ///< 10,000 h
inline constexpr Bandwidth bandwidth = Bandwidth::bytes_per_second(100e12);

}  // namespace ferry::limits
