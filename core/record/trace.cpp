#include "core/record/trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/record/name_order.hpp"

namespace ferry {
namespace {

std::string json_text(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// By hand, as `append_csv_seconds`: a trace has two of these for every span.
void append_microseconds(std::string& text, Duration time) {
  const std::int64_t ns = time.count_nanoseconds();
  text += fmt::format_int(ns / 1000).c_str();
  const auto rest = static_cast<unsigned>(ns % 1000);
  text += {'.', static_cast<char>('0' + rest / 100), static_cast<char>('0' + rest / 10 % 10),
           static_cast<char>('0' + rest % 10)};
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
  const NameOrder order(instance);
  std::vector<std::vector<SpanRecord>> by_place(instance.vms.size());
  for (const SpanRecord& span : records.spans()) by_place[order.of(span.vm)].push_back(span);
  std::vector<std::string> hosts(instance.hosts.size());  // quoted once
  std::string text = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n";
  text += R"({"ph":"M","pid":1,"name":"process_name","args":{"name":"migrations"}})";
  std::size_t next_track = 1;
  for (std::vector<SpanRecord>& spans : by_place) {
    if (spans.empty()) continue;
    const std::string& vm = instance.vms[spans.front().vm.index].name;
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
        const std::string name = i == 0 ? vm : fmt::format("{} (overlapping)", vm);
        const std::size_t id = next_track++;
        fmt::format_to(std::back_inserter(text),
                       ",\n{{\"ph\":\"M\",\"pid\":1,\"tid\":{0},\"name\":\"thread_name\",\"args\":"
                       "{{\"name\":{1}}}}},\n{{\"ph\":\"M\",\"pid\":1,\"tid\":{0},\"name\":"
                       "\"thread_sort_index\",\"args\":{{\"sort_index\":{0}}}}}",
                       id, json_text(name));
      }
      std::string& host = hosts[span.host.index];
      if (host.empty()) host = json_text(instance.hosts[span.host.index].name);
      text += ",\n{\"ph\":\"X\",\"pid\":1,\"tid\":";
      text += fmt::format_int(first_track + i).c_str();
      text += ",\"cat\":\"phase\",\"name\":\"";
      text += to_name(span.phase);
      text += "\",\"ts\":";
      append_microseconds(text, span.start.since_start());
      text += ",\"dur\":";
      append_microseconds(text, span.end - span.start);
      text += ",\"args\":{\"host\":";
      text += host;
      text += ",\"outcome\":\"";
      text += to_name(span.outcome);
      text += "\"}}";
    }
  }
  text += "\n]}\n";
  return text;
}

}  // namespace ferry
