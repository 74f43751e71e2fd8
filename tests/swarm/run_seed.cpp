#include "tests/swarm/run_seed.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <nlohmann/json.hpp>
#include <system_error>

#include "controller/surviving_run.hpp"
#include "core/record/journal_file.hpp"
#include "core/record/summary.hpp"
#include "core/record/tables.hpp"
#include "sim_backend/sim_world.hpp"

namespace ferry {
namespace {

using Json = nlohmann::json;

/// Seconds of real time after which a run has hung.
constexpr unsigned patience = 60;

std::string all_tables(const RunRecords& records, const Instance& instance) {
  const std::vector<MoveAccount> accounts = account_moves(records);
  return spans_csv(records, instance) + rounds_csv(records, instance) +
         migrations_csv(accounts, instance) + jobs_csv(records, instance) +
         ranks_csv(records, instance) + summary_csv(summarise(records, accounts, {}));
}

/// Looks where the VMs are when something goes wrong with hosts or links.
void watch(World& world, const Instance& instance, std::vector<Sighting>& sightings) {
  std::vector<std::size_t> order(instance.cluster_faults.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return instance.cluster_faults[a].from < instance.cluster_faults[b].from;
  });
  for (const std::size_t fault : order) {
    if (world.clock.sleep_until(instance.cluster_faults[fault].from) == Wake::cancelled) return;
    Sighting& sighting = sightings.emplace_back();
    sighting.fault = fault;
    for (std::uint32_t vm = 0; vm < instance.vms.size(); ++vm) {
      sighting.hosts.push_back(world.hypervisor.inspect(VmId{vm}).host);
    }
  }
}

Aftermath run_in_world(World& world, const Drawn& drawn, RunRecords& records) {
  Aftermath aftermath;
  aftermath.drawn = &drawn;
  std::vector<ControllerDown> downs;
  for (const ControllerDownSpec& down : drawn.instance.controller_downs) {
    downs.push_back({{down.record, when_of(down.last_record)}, down.away});
  }
  const std::unique_ptr<Task> watcher =
      world.executor.spawn("watcher", [&] { watch(world, drawn.instance, aftermath.sightings); });
  const SurvivingRun run = run_through_downs(
      world, drawn.scenario, drawn.instance, drawn.plan, downs, {}, {}, records, drawn.programs,
      [&](Session& session, Surroundings&, const std::function<void()>& go) {
        go();
        aftermath.held.clear();
        aftermath.memory_free.clear();
        for (std::uint32_t vm = 0; vm < drawn.instance.vms.size(); ++vm) {
          aftermath.held.push_back(session.inventory().hosts_of(VmId{vm}));
        }
        for (std::uint32_t host = 0; host < drawn.instance.hosts.size(); ++host) {
          aftermath.memory_free.push_back(session.inventory().free(HostId{host}).memory);
        }
      });
  watcher->cancel();
  watcher->join();
  records.drop_mutex();
  const auto contents = read_journal(run.journal);
  if (contents) aftermath.journal = contents->records;
  aftermath.controllers = run.controllers;
  aftermath.unsettled = run.unsettled;
  aftermath.suspensions = run.suspensions;
  for (std::uint32_t vm = 0; vm < drawn.instance.vms.size(); ++vm) {
    aftermath.vms.push_back(world.hypervisor.inspect(VmId{vm}));
  }
  aftermath.records = &records;
  return aftermath;
}

/// Whether a packet may have gone to a device or a host that was no longer there, or over a link
/// that never came back. Draining is there so that none does otherwise: nothing is sent twice.
bool may_lose_packets(const Instance& instance) {
  const auto cooperates = [](const JobSpec& job) { return job.strategy != Strategy::none; };
  const auto takes_packets = [](const ClusterFaultSpec& fault) {
    return fault.kind == ClusterFaultSpec::Kind::host_down ||
           (fault.kind == ClusterFaultSpec::Kind::link_down && fault.until == TimePoint::never());
  };
  return !std::all_of(instance.jobs.begin(), instance.jobs.end(), cooperates) ||
         std::any_of(instance.cluster_faults.begin(), instance.cluster_faults.end(), takes_packets);
}

Json run_and_judge(const Drawn& drawn) {
  Json told;
  const SimStatistics statistics =
      run_simulated(drawn.instance, drawn.scenario.platform, SimOptions{}, [&](World& world) {
        RunRecords records;
        const Aftermath aftermath = run_in_world(world, drawn, records);
        const Judgement judgement = judge(aftermath);
        told["journal"] = aftermath.journal;
        told["bytes"] = all_tables(records, drawn.instance);
        told["controllers"] = aftermath.controllers;
        told["wrong"] = judgement.wrong;
        told["jobs"] = {judgement.jobs_ended, judgement.jobs_stopped, judgement.ranks_blocked};
        told["hits"] = Json::array();
        for (const auto& [cell, count] : judgement.hits) {
          told["hits"].push_back(
              {static_cast<int>(cell.first), static_cast<int>(cell.second), count});
        }
      });
  if (statistics.packets_lost > 0 && !may_lose_packets(drawn.instance)) {
    told["wrong"].push_back(fmt::format("{} packets were lost", statistics.packets_lost));
  }
  return told;
}

[[noreturn]] void be_child(int pipe, const Drawn& drawn) {
  alarm(patience);
  std::string text;
  try {
    text = run_and_judge(drawn).dump();
  } catch (const std::exception& error) {
    text = Json{{"wrong", {std::string("it threw: ") + error.what()}}}.dump();
  }
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t written = write(pipe, text.data() + done, text.size() - done);
    if (written < 0 && errno != EINTR) break;
    if (written > 0) done += static_cast<std::size_t>(written);
  }
  _exit(0);
}

std::string read_all(int pipe) {
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t count = read(pipe, buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(count));
  }
}

}  // namespace

SeedRun run_seed(const Drawn& drawn) {
  int ends[2];
  if (pipe(ends) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
  const pid_t child = fork();
  if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (child == 0) {
    close(ends[0]);
    be_child(ends[1], drawn);
  }
  close(ends[1]);
  const std::string text = read_all(ends[0]);
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  SeedRun run;
  if (WIFSIGNALED(status)) {
    run.judgement.wrong.push_back(WTERMSIG(status) == SIGALRM
                                      ? fmt::format("it had not ended after {} s", patience)
                                      : fmt::format("it was killed by signal {} ({})",
                                                    WTERMSIG(status), strsignal(WTERMSIG(status))));
    return run;
  }
  const Json told = Json::parse(text, nullptr, false);
  if (told.is_discarded()) {
    run.judgement.wrong.push_back("it told nothing");
    return run;
  }
  run.judgement.wrong = told.at("wrong").get<std::vector<std::string>>();
  if (!told.contains("journal")) return run;
  run.journal = told.at("journal").get<std::vector<std::string>>();
  run.bytes = told.at("bytes").get<std::string>();
  for (const std::string& record : run.journal) run.bytes += record + "\n";
  run.controllers = told.at("controllers").get<std::size_t>();
  run.judgement.jobs_ended = told.at("jobs").at(0).get<int>();
  run.judgement.jobs_stopped = told.at("jobs").at(1).get<int>();
  run.judgement.ranks_blocked = told.at("jobs").at(2).get<int>();
  for (const Json& hit : told.at("hits")) {
    const Cell cell{static_cast<Phase>(hit[0].get<int>()),
                    static_cast<FaultKind>(hit[1].get<int>())};
    run.judgement.hits[cell] = hit[2].get<int>();
  }
  return run;
}

}  // namespace ferry
