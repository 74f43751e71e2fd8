#include "core/record/trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "core/record/natural_order.hpp"

namespace ferry {
namespace {

std::string json_text(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string microseconds(Duration time) {
  const std::int64_t ns = time.count_nanoseconds();
  return fmt::format("{}.{:03}", ns / 1000, ns % 1000);
}

/// The ends of the spans that are open in one track, outermost first.
using Track = std::vector<TimePoint>;

/// Whether a span from `start` to `end` nests in the track's open spans; opens it if so.
bool place(Track& track, TimePoint start, TimePoint end) {
  while (!track.empty() && track.back() <= start) track.pop_back();
  if (!track.empty() && track.back() < end) return false;
  track.push_back(end);
  return true;
}

}  // namespace

std::string trace_json(const RunRecords& records, const Instance& instance) {
  std::map<std::string_view, std::vector<SpanRecord>, NaturalLess> by_vm;
  for (const SpanRecord& span : records.spans()) {
    by_vm[instance.vms[span.vm.index].name].push_back(span);
  }
  std::map<HostId, std::string> hosts;  // quoted once
  std::string text = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n";
  text += R"({"ph":"M","pid":1,"name":"process_name","args":{"name":"migrations"}})";
  std::size_t next_track = 1;
  for (auto& [vm, spans] : by_vm) {
    std::stable_sort(spans.begin(), spans.end(), [](const SpanRecord& a, const SpanRecord& b) {
      if (a.start != b.start) return a.start < b.start;
      if (a.end != b.end) return a.end > b.end;  // the outer one first
      return a.phase < b.phase;
    });
    const std::size_t first_track = next_track;
    std::vector<Track> tracks;
    for (const SpanRecord& span : spans) {
      std::size_t i = 0;
      while (i < tracks.size() && !place(tracks[i], span.start, span.end)) ++i;
      if (i == tracks.size()) {
        tracks.emplace_back(Track{span.end});
        const std::string name = i == 0 ? std::string(vm) : fmt::format("{} (overlapping)", vm);
        const std::size_t id = next_track++;
        fmt::format_to(std::back_inserter(text),
                       ",\n{{\"ph\":\"M\",\"pid\":1,\"tid\":{0},\"name\":\"thread_name\",\"args\":"
                       "{{\"name\":{1}}}}},\n{{\"ph\":\"M\",\"pid\":1,\"tid\":{0},\"name\":"
                       "\"thread_sort_index\",\"args\":{{\"sort_index\":{0}}}}}",
                       id, json_text(name));
      }
      std::string& host = hosts[span.host];
      if (host.empty()) host = json_text(instance.hosts[span.host.index].name);
      fmt::format_to(
          std::back_inserter(text),
          ",\n{{\"ph\":\"X\",\"pid\":1,\"tid\":{},\"cat\":\"phase\",\"name\":\"{}\",\"ts\":"
          "{},\"dur\":{},\"args\":{{\"host\":{},\"outcome\":\"{}\"}}}}",
          first_track + i, to_name(span.phase), microseconds(span.start.since_start()),
          microseconds(span.end - span.start), host, to_name(span.outcome));
    }
  }
  text += "\n]}\n";
  return text;
}

}  // namespace ferry
