// The kinds of error that a user's file can have. Each has at least one bad file among the tests.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace ferry {

enum class Problem : std::uint8_t {
  // the file and its text
  unreadable_file,    ///< missing, a folder, no permission
  too_large,          ///< more bytes than are read
  not_text,           ///< not UTF-8, or control characters
  empty,              ///< nothing in it
  yaml_syntax,        ///< the YAML parser gave up here
  too_deep,           ///< nested beyond the limit
  too_many_nodes,     ///< aliases that explode, or simply too much
  several_documents,  ///< `---` twice
  odd_key,            ///< a key that is no plain text
  odd_tag,            ///< `!!something`
  recursive_alias,    ///< an alias inside its own anchor
  duplicate_key,      ///< the same key twice in a mapping
  // one value
  missing_version,  ///< no `ferry: 1`
  wrong_version,    ///< a version that this program does not read
  unknown_key,      ///< misspelt
  missing_key,      ///< required and absent
  unsupported,      ///< known to the format, not to this version
  wrong_type,       ///< a list where a mapping should be, and so on
  no_value,         ///< `key:` with nothing behind
  bad_quantity,     ///< unit missing or unknown, negative, not a number
  bad_number,       ///< not a whole number
  out_of_range,     ///< a number or quantity beyond its limits
  unknown_value,    ///< not one of the words that are allowed
  bad_name,         ///< characters that a name cannot have
  bad_text,         ///< a text that is empty or too long
  bad_uri,          ///< no URI, or not one of what is wanted
  bad_address,      ///< no PCI function
  bad_law,          ///< a random quantity that is not well formed
  bad_constant,     ///< {value, source, kind} incomplete
  contradiction,    ///< keys that exclude each other, or need each other
  empty_list,       ///< a list that needs an item
  // names and references
  duplicate_name,     ///< two items of one name
  bad_reference,      ///< not a reference at all
  unknown_reference,  ///< names what does not exist
  index_beyond,       ///< vm7 of four
  reversed_range,     ///< [7-3]
  named_twice,        ///< the same item twice in one reference
  // what cannot work together
  too_many,            ///< more VMs, hosts, ranks, moves than there may be
  does_not_fit,        ///< more on a host than it has
  no_destination,      ///< no host that the VM could go to
  stays_in_place,      ///< a migration to the host where the VM is
  moved_twice,         ///< two migrations of one VM at one time
  no_carrier,          ///< no network carries the transport
  no_stream,           ///< the platform has no constants for the transport
  no_cost,             ///< the platform lacks a constant that a memory setting needs
  refused_by_qemu,     ///< memory settings that QEMU does not combine
  no_job,              ///< dirty_rate without ranks
  working_set_size,    ///< more than the memory that was written; or missing
  uneven_split,        ///< jobs do not divide the VMs
  unfit_ranks,         ///< a workload that cannot run on so many ranks
  fault_without_move,  ///< a fault in a migration that does not take place
  small_topology,      ///< a network with too few places for the hosts
  // a cluster
  not_in_cluster,   ///< a host or VM of the scenario that the cluster file does not have
  no_device,        ///< the cluster file names no device where the scenario has one
  no_ranks,         ///< a job that cooperates, where no ranks run
  pretended_fault,  ///< a fault that only pretended worlds have
  // settings and studies
  bad_setting,     ///< not `path=value`, or the value is not YAML
  unmatched_path,  ///< a path that matches nothing
  not_varied,  ///< a claim, except or together about a path or value that the study does not vary
  bad_variation,    ///< {from, to, steps} that cannot be
  bad_claim,        ///< not exactly one form
  nothing_random,   ///< repetitions that would all be equal
  too_many_errors,  ///< the list was cut
};
inline constexpr std::size_t problem_count = static_cast<std::size_t>(Problem::too_many_errors) + 1;

/// The enumerator's name, for tests and logs.
std::string_view to_name(Problem problem);

}  // namespace ferry
