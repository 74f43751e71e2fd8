// The keys of `jobs[].workload`: which type has which.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "core/scenario/describe_values.hpp"
#include "core/scenario/scenario.hpp"

namespace ferry {

/// What the benchmarks themselves measure: 1 B (allreduce: one number of 4 B) to 1 MiB, doubling.
inline std::vector<Bytes> osu_sizes(WorkloadType type) {
  std::vector<Bytes> sizes;
  for (std::uint64_t size = type == WorkloadType::osu_allreduce ? 4 : 1; size <= 1U << 20U;
       size *= 2) {
    sizes.push_back(Bytes(size));
  }
  return sizes;
}

/// Whether the type is written and is none: which keys it should have cannot be said then.
template <class Visitor>
bool has_unknown_type(Visitor& v) {
  if constexpr (requires { v.peek("type"); }) {
    const auto* written = v.peek("type");
    constexpr auto& words = EnumWords<WorkloadType>::words;
    return written != nullptr &&
           std::find(words.begin(), words.end(), written->text) == words.end();
  } else {
    return false;
  }
}

/// Whose a key is.
struct KeyOwners {
  bool here = false;       ///< of the type that is written
  bool required = false;   ///< by it
  std::string_view whose;  ///< for people: "graph500"
};

/// One key of some types. False if it is not given; what does not belong, or is missing, is
/// reported. Written only if `present`.
template <class Visitor, class T, class Rule>
bool describe_owned(Visitor& v, const KeyOwners& owners, std::string_view key, T& member,
                    const Rule& rule, bool present, std::string_view default_text,
                    std::string_view doc) {
  const bool unknown = has_unknown_type(v);
  if (owners.required && !unknown) return v.required(key, member, rule, doc);
  v.present_if(owners.here && present);
  const bool given = v.optional_as(key, member, rule, default_text, doc);
  if (given && !owners.here && !unknown) {
    v.complain(key, Problem::contradiction,
               fmt::format("this type of workload has no {}; leave it out, or write type: {}", key,
                           owners.whose));
  }
  return given;
}

template <class Visitor>
void describe_osu(Visitor& v, Workload& workload) {
  const bool here = is_osu(workload.type);
  describe_owned(v, {here, false, "osu_latency"}, "warm_up", workload.warm_up,
                 MaybeNumber{{0U, limits::iterations}}, workload.warm_up.has_value(),
                 "the benchmark's, by size",
                 "osu_*: operations of each size before those that are measured.");
  describe_owned(v, {here, false, "osu_latency"}, "rounds", workload.rounds,
                 Between{1U, limits::iterations}, true, "1",
                 "osu_*: how often all sizes are gone through.");
  const bool sized = describe_owned(v, {here, false, "osu_latency"}, "sizes", workload.sizes,
                                    SizeList{{Bytes(0), limits::message}}, true,
                                    "1B (osu_allreduce: 4B) to 1MiB, doubling",
                                    "osu_*: the messages' sizes, in this order.");
  if (here && !sized) workload.sizes = osu_sizes(workload.type);
}

template <class Visitor>
void describe_loops(Visitor& v, Workload& workload) {
  const bool overlap = workload.type == WorkloadType::overlap;
  const bool iterate = workload.type == WorkloadType::iterate;
  describe_owned(v, {overlap || iterate, false, "iterate"}, "message", workload.message,
                 Between{Bytes(0), limits::message}, true, "8B",
                 "overlap, iterate: a message's size; of collectives a rank's part.");
  describe_owned(v, {overlap, false, "overlap"}, "exchanges", workload.exchanges,
                 Between{1U, limits::iterations}, true, "1",
                 "overlap: messages both ways before each computation.");
  describe_owned(v, {overlap, overlap, "overlap"}, "share", workload.share,
                 Between{Ratio(0), Ratio(0.99)}, true, "none; required with overlap",
                 "overlap: the part of an iteration's time without a migration that is "
                 "computation; the exchanges are the rest.");
  describe_owned(v, {iterate, iterate, "iterate"}, "compute", workload.compute, any_time, true,
                 "none; required with iterate", "iterate: the computation before each collective.");
  describe_owned(v, {iterate, false, "iterate"}, "jitter", workload.jitter, share, true, "0%",
                 "iterate: each computation lasts from 1 - jitter to 1 + jitter times as long.");
  describe_owned(v, {iterate, false, "iterate"}, "collective", workload.collective, Word{}, true,
                 "allreduce", "iterate: the collective.");
}

template <class Visitor>
void describe(Visitor& v, Workload& workload) {
  v.about("What a job's ranks do. Which keys there are depends on the type.");
  v.optional("type", workload.type, Word{},
             "timed: no messages, a stand-in whose ranks answer a migration request after a given "
             "time. The others run: the OSU benchmarks, a loop with a growing share of "
             "computation, a loop of computation and a collective, kernels of the NAS Parallel "
             "Benchmarks, Graph500's searches, a trace of SimGrid.");
  const WorkloadType type = workload.type;
  describe_owned(v, {type == WorkloadType::timed, false, "timed"}, "next_call",
                 workload.timed.next_call, any_time, true, "0s",
                 "timed: time from a migration request to the rank's next MPI call, which is where "
                 "a progress engine notices it; one draw for each rank.");
  describe_owned(v, {is_nas(type), is_nas(type), "nas_lu"}, "class", workload.nas_class, Word{},
                 true, "none; required with nas_*", "nas_*: the size of the problem.");
  const bool loops = type == WorkloadType::overlap || type == WorkloadType::iterate;
  const bool counts = loops || is_osu(type) || type == WorkloadType::graph500 ||
                      (is_nas(type) && type != WorkloadType::nas_ep);
  describe_owned(v, {counts, loops, "iterate"}, "iterations", workload.iterations,
                 MaybeNumber{{1U, limits::iterations}}, workload.iterations.has_value(),
                 "the benchmark's; required with overlap and iterate",
                 "Operations of each size (osu_*), turns of the loop (overlap, iterate, nas_* but "
                 "nas_ep), or searches (graph500).");
  describe_osu(v, workload);
  describe_loops(v, workload);
  const bool graph = type == WorkloadType::graph500;
  describe_owned(v, {graph, graph, "graph500"}, "scale", workload.scale, Between{1U, 42U}, true,
                 "none; required with graph500",
                 "graph500: the binary logarithm of the number of vertices.");
  describe_owned(v, {graph, false, "graph500"}, "edge_factor", workload.edge_factor,
                 Between{1U, 64U}, true, "16", "graph500: edges for each vertex.");
  const bool trace = type == WorkloadType::trace;
  describe_owned(v, {trace, trace, "trace"}, "file", workload.file, FreeText{1}, true,
                 "none; required with trace",
                 "trace: a time-independent trace of SimGrid, by a name relative to this file.");
}

}  // namespace ferry
