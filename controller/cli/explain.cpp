#include "controller/cli/explain.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "controller/cli/text_table.hpp"
#include "core/channel/costs.hpp"
#include "core/channel/explanation.hpp"
#include "core/record/csv.hpp"
#include "core/scenario/describe_values.hpp"
#include "core/scenario/report.hpp"

namespace ferry {
namespace {

constexpr std::array<Bytes, 9> shown_sizes = {Bytes(0),         Bytes(64),       Bytes::kibi(1),
                                              Bytes::kibi(4),   Bytes::kibi(16), Bytes::kibi(64),
                                              Bytes::kibi(256), Bytes::mebi(1),  Bytes::mebi(4)};
constexpr std::size_t shown_jobs = 10;

std::string_view word(ChannelMode mode) {
  return EnumWords<ChannelMode>::words[static_cast<std::size_t>(mode)];
}
std::string_view word(ChannelDevice device) {
  return EnumWords<ChannelDevice>::words[static_cast<std::size_t>(device)];
}
std::string threshold_text(const ChannelChoices& channels) {
  const std::optional<Bytes>& size = channels.eager_threshold.size;
  return size ? to_text(*size) : "auto";
}

/// One job with what its descriptions need.
struct JobView {
  const Scenario& scenario;
  const Instance& instance;
  const ExplainedJob& explained;
  const JobSpec& job = instance.jobs[explained.job.index];
  Duration call = call_time(job, scenario.platform.mpi.runtime);

  [[nodiscard]] Duration time(const Choice& choice, const PairClass& pairs, Bytes size) const {
    return predicted_time(choice, pairs, explained.table->profiles(), call, size);
  }
  [[nodiscard]] const TransportProfile& profile(Channel channel, const PairClass& pairs) const {
    return *explained.table->profiles().find(channel, pairs.same_socket);
  }
  [[nodiscard]] const std::string& vm_name(RankId rank) const {
    return instance.vms[job.vms[rank.index / job.ranks_per_vm].index].name;
  }
  [[nodiscard]] const std::string& host_name(RankId rank) const {
    const VmSpec& vm = instance.vms[job.vms[rank.index / job.ranks_per_vm].index];
    return instance.hosts[vm.host.index].name;
  }
  [[nodiscard]] std::string rank_text(RankId rank) const {
    return fmt::format("rank {} ({} on {})", rank.index, vm_name(rank), host_name(rank));
  }
};

std::string microseconds(Duration time) { return fmt::format("{:.2f}", 1e6 * time.to_seconds()); }

bool carries(const Candidate& candidate, Bytes size) {
  return candidate.smallest <= size.count() && size.count() <= candidate.largest;
}

bool is(const Choice& a, const Choice& b) {
  return a.protocol == b.protocol && a.channel == b.channel && a.data == b.data;
}

/// Those of candidates.
std::vector<Channel> used_channels(const Decision& decision) {
  std::vector<Channel> channels;
  for (const Channel channel : all_channels) {
    if (std::ranges::any_of(decision.candidates, [&](const Candidate& candidate) {
          return candidate.choice.data == channel;
        })) {
      channels.push_back(channel);
    }
  }
  return channels;
}

std::string indented(const std::string& text) {
  std::string result;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = text.find('\n', begin);
    if (end > begin) result += "  " + text.substr(begin, end - begin);
    result += '\n';
    begin = end + 1;
  }
  return result;
}

std::string ranges_table(const Decision& decision) {
  std::vector<std::vector<std::string>> rows;
  for (const ExplainedRange& range : explain_ranges(decision)) {
    rows.push_back(
        {to_text(Bytes(range.first)), range.last ? to_text(Bytes(*range.last)) : "any size",
         std::string(to_name(range.choice.data)), std::string(to_name(range.choice.channel)),
         std::string(to_name(range.choice.protocol)), range.ends});
  }
  return text_table({{"from", Align::right},
                     {"to", Align::right},
                     {"channel"},
                     {"control by"},
                     {"protocol"},
                     {"why no further"}},
                    rows, 98);
}

std::string times_table(const JobView& view, const Decision& decision) {
  std::vector<TextColumn> columns = {{"one way, us", Align::right}};
  for (const Candidate& candidate : decision.candidates) {
    columns.push_back({to_words(candidate.choice), Align::right});
  }
  std::vector<std::vector<std::string>> rows;
  for (const Bytes size : shown_sizes) {
    std::vector<std::string>& row = rows.emplace_back();
    row.push_back(to_text(size));
    const Choice& chosen = decision.route.choose(size.count());
    for (const Candidate& candidate : decision.candidates) {
      if (!carries(candidate, size)) {
        row.emplace_back("-");
        continue;
      }
      const std::string time = microseconds(view.time(candidate.choice, decision.pairs, size));
      row.push_back(is(candidate.choice, chosen) ? "*" + time : time);
    }
  }
  return text_table(columns, rows, 98);
}

std::string refusals_table(const Decision& decision) {
  std::vector<std::vector<std::string>> rows;
  for (const Channel channel : all_channels) {
    const std::string& reason = decision.refusals[static_cast<std::size_t>(channel)];
    if (!reason.empty()) rows.push_back({std::string(to_name(channel)), reason});
  }
  return text_table({{"not used"}, {"because"}}, rows, 98);
}

std::string pairs_text(const JobView& view, const AlikePairs& alike) {
  const Decision& decision = view.explained.table->of(alike.pairs);
  const std::string example =
      fmt::format("{} and {}", view.rank_text(alike.from), view.rank_text(alike.to));
  std::string text = "\n";
  text += paragraph(fmt::format("{}: {}", to_words(alike.pairs, view.job.containers > 0),
                                alike.count == 0 ? example
                                : alike.count == 1
                                    ? fmt::format("1 pair, {}", example)
                                    : fmt::format("{} pairs, such as {}", alike.count, example)));
  if (!decision.route.reaches())
    return text + "  Nothing joins them.\n" + indented(refusals_table(decision));
  std::string opening;
  for (const Channel channel : used_channels(decision)) {
    opening += fmt::format("{}{} {}", opening.empty() ? "Opening takes: " : ", ", to_name(channel),
                           to_text(view.profile(channel, alike.pairs).connect));
  }
  return text + indented(ranges_table(decision)) + "\n" +
         indented(times_table(view, decision) + opening + "\n\n" + refusals_table(decision));
}

std::string job_text(const JobView& view) {
  const JobSpec& job = view.job;
  const auto counted = [](std::size_t count, const char* noun) {
    return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
  };
  std::string places = counted(job.vms.size(), "VM");
  if (job.containers > 0) places += fmt::format(" with {} containers each", job.containers);
  std::string text = paragraph(fmt::format(
      "{}: {} in {}; mode {}, device {}, eager_threshold {}; every call takes "
      "{}{}",
      job.name, counted(job.vms.size() * job.ranks_per_vm, "rank"), places, word(job.channels.mode),
      word(job.channels.device), threshold_text(job.channels), to_text(view.call),
      job.strategy == Strategy::migration_thread ? " (with the migration thread's lock)" : ""));
  if (view.explained.pairs.empty()) text += "  It has one rank, and so no pairs.\n";
  for (const AlikePairs& alike : view.explained.pairs) text += pairs_text(view, alike);
  return text;
}

nlohmann::ordered_json pairs_json(const JobView& view, const AlikePairs& alike) {
  using Json = nlohmann::ordered_json;
  const Decision& decision = view.explained.table->of(alike.pairs);
  Json json = {{"nearness", to_name(alike.pairs.nearness)},
               {"same_socket", alike.pairs.same_socket},
               {"from_rank", alike.from.index},
               {"to_rank", alike.to.index},
               {"from_vm", view.vm_name(alike.from)},
               {"to_vm", view.vm_name(alike.to)}};
  if (alike.count > 0) json["pairs"] = alike.count;
  json["ranges"] = Json::array();
  for (const ExplainedRange& range : explain_ranges(decision)) {
    Json item = {{"first_bytes", range.first}};
    if (range.last) item["last_bytes"] = *range.last;
    item["channel"] = to_name(range.choice.data);
    item["control"] = to_name(range.choice.channel);
    item["protocol"] = to_name(range.choice.protocol);
    item["packet_bytes"] = range.choice.fragment;
    if (range.last) item["ends"] = range.ends;
    json["ranges"].push_back(std::move(item));
  }
  json["times"] = Json::array();
  for (const Candidate& candidate : decision.candidates) {
    Json item = {{"channel", to_name(candidate.choice.data)},
                 {"control", to_name(candidate.choice.channel)},
                 {"protocol", to_name(candidate.choice.protocol)}};
    for (const Bytes size : shown_sizes) {
      if (!carries(candidate, size)) continue;
      item["seconds_by_bytes"][fmt::to_string(size.count())] =
          view.time(candidate.choice, alike.pairs, size).to_seconds();
      const TransportProfile& data = view.profile(candidate.choice.data, alike.pairs);
      item["wire_seconds_by_bytes"][fmt::to_string(size.count())] =
          wire_time(candidate.choice, data, size).to_seconds();
    }
    json["times"].push_back(std::move(item));
  }
  json["connect_seconds"] = Json::object();
  for (const Channel channel : used_channels(decision)) {
    json["connect_seconds"][std::string(to_name(channel))] =
        view.profile(channel, alike.pairs).connect.to_seconds();
  }
  json["not_used"] = Json::object();
  for (const Channel channel : all_channels) {
    const std::string& reason = decision.refusals[static_cast<std::size_t>(channel)];
    if (!reason.empty()) json["not_used"][std::string(to_name(channel))] = reason;
  }
  return json;
}

/// The jobs that are asked for.
tl::expected<std::vector<JobId>, std::string> jobs_of(const Instance& instance,
                                                      const ExplainRequest& request) {
  if (instance.jobs.empty()) {
    return tl::unexpected(std::string("the scenario has no jobs; channels join ranks of jobs"));
  }
  std::vector<JobId> jobs;
  for (std::uint32_t i = 0; i < instance.jobs.size(); ++i) {
    if (!request.job || instance.jobs[i].name == *request.job) jobs.push_back(JobId{i});
  }
  if (!jobs.empty()) return jobs;
  std::vector<std::string_view> names;
  for (const JobSpec& job : instance.jobs) names.push_back(job.name);
  const std::string_view near = nearest(*request.job, names);
  if (!near.empty()) {
    return tl::unexpected(
        fmt::format("--job {}: there is no such job; did you mean {}?", *request.job, near));
  }
  if (names.size() > shown_jobs) names.resize(shown_jobs);
  return tl::unexpected(fmt::format("--job {}: there is no such job; one of {} would be right",
                                    *request.job, listed(names)));
}

/// What is wrong with the ranks that are asked for; empty if nothing.
std::string wrong_ranks(const JobSpec& job, std::pair<std::uint32_t, std::uint32_t> ranks) {
  const std::uint64_t count = std::uint64_t{job.ranks_per_vm} * job.vms.size();
  const auto& [from, to] = ranks;
  if (from == to) {
    return fmt::format("--from {} --to {}: a rank needs no channel to itself; name two", from, to);
  }
  const std::uint32_t beyond = from >= count ? from : to;
  if (beyond < count) return "";
  return fmt::format("--{} {}: job {} has {} ranks, counted from 0", from >= count ? "from" : "to",
                     beyond, job.name, count);
}

}  // namespace

tl::expected<std::vector<ExplainedJob>, std::string> explain(const Scenario& scenario,
                                                             const Instance& instance,
                                                             const ExplainRequest& request) {
  if (scenario.platform.channels.empty()) {
    return tl::unexpected(
        fmt::format("the platform '{}' does not say what channels between ranks cost; add channels "
                    "and mpi.call, mpi.lock, mpi.poll and mpi.reduce to it",
                    scenario.platform.name));
  }
  const auto jobs = jobs_of(instance, request);
  if (!jobs) return tl::unexpected(jobs.error());
  const Locality locality(instance);
  std::vector<std::shared_ptr<const RouteTable>> tables;
  std::vector<ExplainedJob> result;
  for (const JobId id : *jobs) {
    const JobSpec& job = instance.jobs[id.index];
    const ChannelPolicy policy = ChannelPolicy::of(job, instance, scenario.platform.mpi);
    const auto known =
        std::ranges::find_if(tables, [&](const auto& table) { return table->policy() == policy; });
    ExplainedJob& explained = result.emplace_back();
    explained.job = id;
    explained.table = known != tables.end()
                          ? *known
                          : tables.emplace_back(std::make_shared<const RouteTable>(
                                policy, scenario.platform.channels));
    if (!request.ranks) {
      explained.pairs = survey(job, instance, locality);
      continue;
    }
    if (const std::string wrong = wrong_ranks(job, *request.ranks); !wrong.empty()) {
      return tl::unexpected(wrong);
    }
    const RankId from{request.ranks->first};
    const RankId to{request.ranks->second};
    const JobChannels channels(job, instance, locality, explained.table);
    explained.pairs.push_back({channels.class_of(from, to), from, to, 0});
  }
  return result;
}

std::string explained_text(const Scenario& scenario, const Instance& instance,
                           const std::vector<ExplainedJob>& jobs) {
  std::string text;
  for (std::size_t i = 0; i < jobs.size() && i < shown_jobs; ++i) {
    if (i > 0) text += "\n\n";
    text += job_text({scenario, instance, jobs[i]});
  }
  if (jobs.size() > shown_jobs) {
    text += fmt::format("\nand {} jobs more: --job NAME shows one, --csv and --json all\n",
                        jobs.size() - shown_jobs);
  }
  return text + "\n" +
         paragraph(
             "Times are from the sender's call to a receiver that waits, over open, idle "
             "channels; * marks the way that is used.");
}

std::string explained_csv(const Scenario& scenario, const Instance& instance,
                          const std::vector<ExplainedJob>& jobs) {
  CsvText csv({"job", "nearness", "same_socket", "pairs", "from_rank", "to_rank", "first_bytes",
               "last_bytes", "channel", "control", "protocol", "packet_bytes", "first_seconds",
               "last_seconds", "ends"});
  for (const ExplainedJob& explained : jobs) {
    const JobView view{scenario, instance, explained};
    for (const AlikePairs& alike : explained.pairs) {
      const auto begin = [&] {
        csv.field(view.job.name)
            .field(to_name(alike.pairs.nearness))
            .field(alike.pairs.same_socket ? "true" : "false")
            .count_if(alike.count > 0, alike.count)
            .count(alike.from.index)
            .count(alike.to.index);
      };
      const Decision& decision = explained.table->of(alike.pairs);
      for (const ExplainedRange& range : explain_ranges(decision)) {
        begin();
        const auto time = [&](std::size_t size) {
          return view.time(range.choice, alike.pairs, Bytes(size));
        };
        csv.count(range.first)
            .count_if(range.last.has_value(), range.last.value_or(0))
            .field(to_name(range.choice.data))
            .field(to_name(range.choice.channel))
            .field(to_name(range.choice.protocol))
            .count(range.choice.fragment)
            .seconds(time(range.first))
            .seconds_if(range.last.has_value(), time(range.last.value_or(range.first)))
            .field(range.ends);
        csv.end_row();
      }
      if (decision.route.reaches()) continue;
      begin();
      for (int empty = 0; empty < 8; ++empty) csv.field({});
      csv.field(decision.route.unreachable());
      csv.end_row();
    }
  }
  return csv.take();
}

std::string explained_json(const Scenario& scenario, const Instance& instance,
                           const std::vector<ExplainedJob>& jobs) {
  using Json = nlohmann::ordered_json;
  Json list = Json::array();
  for (const ExplainedJob& explained : jobs) {
    const JobView view{scenario, instance, explained};
    Json json = {
        {"job", view.job.name},
        {"ranks", view.job.vms.size() * view.job.ranks_per_vm},
        {"mode", word(view.job.channels.mode)},
        {"device", word(view.job.channels.device)},
        {"eager_threshold", threshold_text(view.job.channels)},
        {"call_seconds", view.call.to_seconds()},
        {"poll_seconds", scenario.platform.mpi.runtime.poll.to_seconds()},
        {"reduce_bytes_per_second", scenario.platform.mpi.runtime.reduce.to_bytes_per_second()},
        {"classes", Json::array()}};
    for (const AlikePairs& alike : explained.pairs) {
      json["classes"].push_back(pairs_json(view, alike));
    }
    list.push_back(std::move(json));
  }
  return Json{{"scenario", scenario.name}, {"jobs", std::move(list)}}.dump(2) + "\n";
}

}  // namespace ferry
