#include "tests/agent/machine.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <optional>

#include "controller/session.hpp"
#include "controller/surroundings.hpp"
#include "core/migration/journal_history.hpp"
#include "core/ports/world_error.hpp"
#include "core/record/journal_file.hpp"
#include "core/scenario/expand.hpp"
#include "hw_backend/agent/agent_jobs.hpp"
#include "hw_backend/agent/in_process_control.hpp"
#include "hw_backend/agent/rank_keeper.hpp"
#include "hw_backend/agent/socket_control.hpp"
#include "hw_backend/threads/threads_world.hpp"
#include "tests/scratch_folder.hpp"

namespace ferry::agent {

namespace fs = std::filesystem;

Machine::Machine() = default;

Machine::~Machine() {
  while (!agents_.empty()) kill_agent(agents_.begin()->first);
  std::error_code error;
  for (const fs::directory_entry& vm : fs::directory_iterator(folder_, error)) {
    for (const fs::directory_entry& job : fs::directory_iterator(vm.path() / "jobs", error)) {
      for (std::uint32_t rank = 0; rank < 64; ++rank) kill_rank(job.path(), rank);
    }
  }
  for (const fs::directory_entry& region : fs::directory_iterator("/dev/shm", error)) {
    // Of ranks that were killed.
    const bool is_ours = region.path().filename().string().find(name()) != std::string::npos;
    if (is_ours) fs::remove(region.path(), error);
  }
}

fs::path Machine::state(VmId vm) const { return folder_ / ("vm" + std::to_string(vm.index)); }

void Machine::start_agent(VmId vm) {
  const std::string channel = "unix:" + state(vm).string() + ".channel";
  const std::string folder = state(vm);
  const pid_t agent = fork();
  if (agent == 0) {
    execl(FERRY_AGENT, "ferry-agent", "--channel", channel.c_str(), "--state", folder.c_str(),
          nullptr);
    _exit(127);
  }
  ASSERT_GT(agent, 0);
  agents_[vm] = agent;
}

void Machine::kill_agent(VmId vm) {
  ::kill(agents_.at(vm), SIGKILL);
  waitpid(agents_.at(vm), nullptr, 0);
  agents_.erase(vm);
}

std::unique_ptr<Control> Machine::control(VmId vm, Executor& executor) const {
  return std::make_unique<SocketControl>(executor, connecting_to(state(vm).string() + ".channel"));
}

std::vector<fs::path> Machine::jobs(VmId vm) const {
  std::vector<fs::path> all;
  std::error_code error;
  for (const fs::directory_entry& job : fs::directory_iterator(state(vm) / "jobs", error)) {
    if (!job.path().filename().string().starts_with('.')) all.push_back(job.path());
  }
  return all;
}

std::vector<pid_t> Machine::rank_processes(VmId vm) const {
  std::vector<pid_t> all;
  for (const fs::path& job : jobs(vm)) {
    for (std::uint32_t rank = 0; rank < 64; ++rank) {
      std::ifstream keeper(job / ("keeper." + std::to_string(rank)));
      pid_t process = 0;
      if (!(keeper >> process) || process <= 0) continue;
      std::ifstream children(fmt::format("/proc/{0}/task/{0}/children", process));
      pid_t child = 0;
      if (children >> child) all.push_back(child);
    }
  }
  return all;
}

AgentRun::AgentRun(const std::string& scenario)
    : loaded(read_scenario(scenario, fs::path(FERRY_SOURCE) / "test.yaml").value()),
      instance(expand(loaded.scenario)),
      plan(make_plan(loaded.scenario, instance).value()),
      programs(prepare_jobs(loaded.scenario, instance).value()) {}

void lose_messages(AgentRun& run, std::uint32_t seed) {
  struct Links {
    std::vector<std::unique_ptr<Control>> inner;
    std::atomic<std::uint32_t> count = 0;
  };
  const auto links = std::make_shared<Links>();
  run.link = [links, seed](VmId /*vm*/, std::unique_ptr<Control> control) {
    links->inner.push_back(std::move(control));
    return make_faulty_control(
        *links->inner.back(), [links, seed](bool, std::span<const std::byte>) {
          const std::uint32_t turn = (links->count++ + seed) % 7;
          return turn == 0 ? Fate::dropped : turn == 3 ? Fate::repeated : Fate::delivered;
        });
  };
  run.after = [links] { links->inner.clear(); };
}

const JobRecord& AgentRun::job() const { return records.jobs().at(0); }

void AgentRun::run(Machine& machine) {
  ThreadsOptions options;
  options.speed = speed;
  try {
    run_threads(instance, loaded.scenario.platform, options, [&](World& world) {
      records = RunRecords(world.executor.make_mutex());
      MemoryJournal memory(journal);
      std::optional<JournalFile> file;
      if (!journal_file.empty()) file.emplace(journal_file);
      Journal& written = file ? static_cast<Journal&>(*file) : memory;
      std::vector<VmId> vms;
      for (std::uint32_t i = 0; i < instance.vms.size(); ++i) vms.push_back(VmId{i});
      AgentJobsOptions jobs;
      jobs.run = run_name.empty() ? machine.name() : run_name;
      jobs.controller = controller;
      jobs.taken_over = !journal.empty();
      jobs.arguments = {program, "{job}", fault};
      if (!rank_arguments.empty()) jobs.arguments = rank_arguments;
      jobs.description = loaded.resolved;
      jobs.patience = patience;
      const auto open = [&](VmId vm) {
        std::unique_ptr<Control> control = machine.control(vm, world.executor);
        return link ? link(vm, std::move(control)) : std::move(control);
      };
      const struct After {
        const std::function<void()>& call;
        ~After() {
          if (call) call();
        }
      } ending{after};
      AgentJobs agents(world, instance, vms, open, jobs);
      Surroundings surroundings(world, loaded.scenario, instance, records, programs, &agents);
      Session session(surroundings.world(), surroundings.jobs(), instance, plan, written, records,
                      {});
      if (!journal.empty()) {
        const auto contents = read_journal(journal);
        const auto history = read_history(contents.value().records, instance);
        const auto resumed = session.resume(history.value());
        if (!resumed) throw WorldError(resumed.error());
      }
      std::unique_ptr<Task> other;
      if (beside) other = world.executor.spawn("beside", [&] { beside(world); });
      surroundings.communicating().start();
      session.run();
      surroundings.communicating().finish(records.moves(), records);
      suspensions = surroundings.suspensions();
      if (other != nullptr) other->join();
      journal = memory.text();
    });
  } catch (const WorldError& error) {
    broken = error.what();
  }
  records.drop_mutex();
}

}  // namespace ferry::agent
