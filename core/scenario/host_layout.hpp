// How the cores of a host lie on sockets, from what users write for it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/scenario/scenario.hpp"

namespace ferry {

/// Of `SOCKETSxCORES`, such as `2x8`; or of hwloc's synthetic description of a machine, such as
/// `pack:2 numa:1 core:8 pu:2` (documented with hwloc: "Synthetic topologies"): its packages, or
/// its NUMA nodes if it names no packages, and their cores, or processing units if it names no
/// cores. None if it is neither, beyond `limits::sockets` or `limits::cores`, or if its sockets
/// differ.
std::optional<Sockets> sockets_of(std::string_view text);

/// The second of these. In a file of its own: programs for guests are linked without hwloc, and
/// refuse such descriptions (hw_backend/portable).
std::optional<Sockets> sockets_of_description(std::string_view text);

/// How many of a thing that is; 0 if it is not a whole number from 1 to `most`, without zeros
/// before it.
std::uint32_t count_of(std::string_view digits, std::uint32_t most);

}  // namespace ferry
