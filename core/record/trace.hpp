// A run as a trace that Perfetto and chrome://tracing open.
#pragma once

#include <string>

#include "core/record/run_records.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

/// Trace Event Format (JSON object form): one track per VM that moved, in the order of names, with
/// a complete event per span. Viewers refuse events of one track that overlap without nesting, so
/// such a span goes to a further track of its VM. Times are microseconds with three decimals.
std::string trace_json(const RunRecords& records, const Instance& instance);

}  // namespace ferry
