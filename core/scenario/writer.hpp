// The visitor that writes: a scenario as YAML with every default written out and the platform
// inlined, its sources kept; a cluster file in the same way. Reading it again gives the same.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/scenario/cluster_file.hpp"
#include "core/scenario/describe_values.hpp"
#include "core/scenario/document.hpp"

namespace ferry {

std::string write_resolved(const Scenario& scenario, const std::vector<SourcedConstant>& constants);
std::string write_resolved(const ClusterFile& cluster);

/// A value of a description as YAML text, as the dump and the schema's defaults show it.
std::string to_yaml(std::uint32_t value);
std::string to_yaml(std::uint64_t value);
std::string to_yaml(bool value);
std::string to_yaml(Duration value);
std::string to_yaml(Bytes value);
std::string to_yaml(Bandwidth value);  ///< `none` if unlimited
std::string to_yaml(Ratio value);
std::string to_yaml(const std::string& value);
std::string to_yaml(const Reference& value);
std::string to_yaml(const std::optional<Reference>& value);  ///< `any` if absent
std::string to_yaml(const StartTime& value);
std::string to_yaml(const Limit& value);  ///< `unlimited` if absent
std::string to_yaml(const Traffic& value);
std::string to_yaml(const Sockets& value);
std::string to_yaml(const SocketChoice& value);          ///< `any` if absent
std::string to_yaml(const EagerThreshold& value);        ///< `auto` if absent
std::string to_yaml(const std::optional<Bytes>& value);  ///< it must be there
std::string to_yaml(const PciFunctions& value);
std::string to_yaml(const Varying<Duration>& value);
std::string to_yaml(const Varying<Bytes>& value);
std::string to_yaml(const Varying<Bandwidth>& value);

}  // namespace ferry
