// How our tasks learn that the engine's communications have ended: the ways that were tried, on one
// load. Each of N tasks sleeps a while and then sends parts of different size over a star's links,
// one after the other (as a VM's migration does).
//
//   streams       ours: tasks run inside the engine's step, parts extend one communication
//   callbacks     as ours, but each part is a communication of its own
//   waiters       an actor blocked in wait() for each flow; whoever wakes runs what is due
//   pump          one actor with a semaphore, woken by the engine's completion signals
//   actor_a_task  plain S4U: an actor for each task
//   wait_any      one actor in wait_any_for over all flows
//
// All end at the same simulated time, or the program fails.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <queue>
#include <simgrid/kernel/resource/Model.hpp>
#include <simgrid/s4u.hpp>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/ports/randomness.hpp"
#include "core/units/check.hpp"
#include "sim_backend/flows.hpp"
#include "sim_backend/sim_executor.hpp"
#include "tests/bench/side_by_side.hpp"

namespace {

using namespace ferry;
using namespace ferry::bench;
namespace s4u = simgrid::s4u;
namespace resource = simgrid::kernel::resource;

constexpr double link_bytes_per_second = 1.25e9;

struct Job {
  std::uint32_t from;
  std::uint32_t to;
  double start;
  std::vector<std::uint64_t> parts;
};

struct Load {
  std::uint32_t hosts;
  std::vector<Job> jobs;
};

Load load_of(std::uint32_t tasks, int parts) {
  RandomStream random(1, "load");
  Load load{.hosts = (tasks + 7) / 8, .jobs = {}};
  for (std::uint32_t i = 0; i < tasks; ++i) {
    const std::uint32_t from = i % load.hosts;
    Job job{.from = from, .to = (from + 1) % load.hosts, .start = random.next_unit(), .parts = {}};
    for (int k = 0; k < parts; ++k)
      job.parts.push_back(100'000'000 + random.next_below(100'000'000));
    load.jobs.push_back(std::move(job));
  }
  return load;
}

struct Star {
  std::unique_ptr<s4u::Engine> engine;
  std::vector<s4u::Host*> hosts;
};

Star make_star(const Load& load) {
  std::vector<std::string> words = {"bench", "--log=root.threshold:error",
                                    "--cfg=network/model:CM02", "--cfg=network/crosstraffic:0",
                                    "--cfg=contexts/stack-size:64"};
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  int count = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  Star star{std::make_unique<s4u::Engine>(&count, arguments.data()), {}};
  s4u::NetZone* const zone = s4u::create_star_zone("star");
  for (std::uint32_t i = 0; i < load.hosts; ++i) {
    s4u::Host* const host = zone->create_host(fmt::format("host{}", i), 1e9)->seal();
    s4u::Link* const link =
        zone->create_split_duplex_link(fmt::format("link{}", i), link_bytes_per_second)
            ->set_latency(0)
            ->seal();
    zone->add_route(host->get_netpoint(), nullptr, nullptr, nullptr,
                    {{link, s4u::LinkInRoute::Direction::UP}}, true);
    star.hosts.push_back(host);
  }
  zone->seal();
  return star;
}

/// Times `simulate`; it returns the simulated end.
Measured measure(const Load& load, const std::function<double(const Star&)>& simulate) {
  Measured measured;
  measured.seconds = seconds_of([&] {
    const Star star = make_star(load);
    measured.figure = simulate(star);
  });
  return measured;
}

// --- Ours ---

Measured ours(const Load& load, bool extend) {
  Measured measured;
  measured.seconds = seconds_of([&] {
    Instance instance;
    for (std::uint32_t i = 0; i < load.hosts; ++i) {
      HostSpec host;
      host.name = fmt::format("host{}", i);
      instance.hosts.push_back(host);
    }
    instance.networks.push_back(
        {.name = "star",
         .topology = ::ferry::Star{},
         .link = {Bandwidth::bytes_per_second(link_bytes_per_second), Duration::zero()},
         .carries = {Transport::tcp}});
    const SimOptions options;
    Scheduler scheduler;
    SimClock clock(scheduler);
    Flows flows(scheduler, instance, options);
    std::vector<std::unique_ptr<Task>> tasks;
    for (const Job& job : load.jobs) {
      tasks.push_back(scheduler.spawn("task", [&, job] {
        clock.sleep_until(TimePoint::at(Duration::seconds(job.start)));
        const Path path{NetworkId{0}, HostId{job.from}, HostId{job.to}};
        std::optional<Flows::Stream> stream;
        for (const std::uint64_t part : job.parts) {
          if (!extend || !stream) stream.emplace(flows, path);
          stream->send(Bytes(part), TimePoint::never());
        }
      }));
    }
    flows.run();
    measured.figure = scheduler.now().to_seconds();
  });
  return measured;
}

// --- The others: jobs as state machines, so that nothing but the way of waiting differs ---

struct Machine {
  const Job* job = nullptr;
  std::size_t next = 0;
  s4u::CommPtr flow;
};

/// Starts the next part; null once there is none left.
s4u::CommPtr next_part(const Star& star, Machine& machine) {
  const Job& job = *machine.job;
  if (machine.next == job.parts.size()) return nullptr;
  machine.flow =
      s4u::Comm::sendto_async(star.hosts[job.from], star.hosts[job.to], job.parts[machine.next++]);
  return machine.flow;
}

Measured actor_a_task(const Load& load) {
  return measure(load, [&](const Star& star) {
    double last = 0;
    for (const Job& job : load.jobs) {
      s4u::Actor::create("task", star.hosts[job.from], [&] {
        s4u::this_actor::sleep_for(job.start);
        for (const std::uint64_t part : job.parts) {
          s4u::Comm::sendto(star.hosts[job.from], star.hosts[job.to], part);
        }
        last = std::max(last, s4u::Engine::get_clock());
      });
    }
    star.engine->run();
    return last;
  });
}

/// Events of our own at known times, in order.
struct Timer {
  double at;
  std::size_t job;
  bool operator>(const Timer& other) const {
    return at > other.at || (at == other.at && job > other.job);
  }
};
using Timers = std::priority_queue<Timer, std::vector<Timer>, std::greater<>>;

Measured waiters(const Load& load) {
  return measure(load, [&](const Star& star) {
    std::vector<Machine> machines(load.jobs.size());
    std::vector<std::size_t> to_wait_for;  // flows that nobody waits for yet
    std::size_t idle = 0;
    double last = 0;
    s4u::SemaphorePtr work = s4u::Semaphore::create(0);
    // An actor takes over a flow and goes on with its task's next ones by itself.
    const auto waiter = [&] {
      for (;;) {
        ++idle;
        work->acquire();
        if (to_wait_for.empty()) return;
        Machine& machine = machines[to_wait_for.back()];
        to_wait_for.pop_back();
        do machine.flow->wait();
        while (next_part(star, machine) != nullptr);
        last = std::max(last, s4u::Engine::get_clock());
      }
    };
    std::size_t actors = 0;
    s4u::Actor::create("timers", star.hosts[0], [&] {
      Timers timers;
      for (std::size_t i = 0; i < load.jobs.size(); ++i) {
        machines[i].job = &load.jobs[i];
        timers.push({load.jobs[i].start, i});
      }
      for (; !timers.empty(); timers.pop()) {
        s4u::this_actor::sleep_until(timers.top().at);
        next_part(star, machines[timers.top().job]);
        to_wait_for.push_back(timers.top().job);
        if (idle == 0) {
          s4u::Actor::create("waiter", star.hosts[0], waiter);
          ++actors;
          s4u::this_actor::yield();
        }
        --idle;
        work->release();
      }
      // Until all have come home; then they find no flow and end.
      while (idle < actors) s4u::this_actor::sleep_for(1);
      for (std::size_t i = 0; i < actors; ++i) work->release();
    });
    star.engine->run();
    return last;
  });
}

Measured pump(const Load& load) {
  return measure(load, [&](const Star& star) {
    std::vector<Machine> machines(load.jobs.size());
    std::unordered_map<const s4u::Activity*, std::size_t> job_of;
    std::vector<std::size_t> ended;
    resource::Model* network = nullptr;
    for (resource::Model* const model : star.engine->get_all_models()) {
      if (model->get_name().starts_with("Network")) network = model;
    }
    std::unordered_map<const resource::Action*, std::size_t> by_action;
    s4u::SemaphorePtr wake = s4u::Semaphore::create(0);
    s4u::Engine::on_time_advance_cb([&](double) {
      const std::size_t before = ended.size();
      for (const resource::Action& action : *network->get_finished_action_set()) {
        const auto found = by_action.find(&action);
        if (found == by_action.end()) continue;
        ended.push_back(found->second);
        by_action.erase(found);
      }
      if (before == 0 && !ended.empty()) wake->release();
    });
    double last = 0;
    s4u::Actor::create("pump", star.hosts[0], [&] {
      Timers timers;
      for (std::size_t i = 0; i < load.jobs.size(); ++i) {
        machines[i].job = &load.jobs[i];
        timers.push({load.jobs[i].start, i});
      }
      std::size_t running = load.jobs.size();
      const auto step = [&](std::size_t job) {
        if (const s4u::CommPtr flow = next_part(star, machines[job])) {
          by_action[&network->get_started_action_set()->back()] = job;
        } else {
          --running;
        }
      };
      while (running > 0) {
        while (!timers.empty() && timers.top().at <= s4u::Engine::get_clock()) {
          step(timers.top().job);
          timers.pop();
        }
        const std::vector<std::size_t> now = std::exchange(ended, {});
        for (const std::size_t job : now) step(job);
        if (running == 0) break;
        if (timers.empty()) {
          wake->acquire();
        } else if (timers.top().at > s4u::Engine::get_clock()) {
          static_cast<void>(wake->acquire_timeout(timers.top().at - s4u::Engine::get_clock()));
        }
      }
      last = s4u::Engine::get_clock();
    });
    star.engine->run();
    return last;
  });
}

Measured wait_any(const Load& load) {
  return measure(load, [&](const Star& star) {
    double last = 0;
    s4u::Actor::create("pump", star.hosts[0], [&] {
      std::vector<Machine> machines(load.jobs.size());
      std::vector<s4u::CommPtr> flows;
      std::vector<std::size_t> jobs;
      Timers timers;
      for (std::size_t i = 0; i < load.jobs.size(); ++i) {
        machines[i].job = &load.jobs[i];
        timers.push({load.jobs[i].start, i});
      }
      while (!timers.empty() || !flows.empty()) {
        while (!timers.empty() && timers.top().at <= s4u::Engine::get_clock()) {
          flows.push_back(next_part(star, machines[timers.top().job]));
          jobs.push_back(timers.top().job);
          timers.pop();
        }
        const double timeout = timers.empty() ? -1 : timers.top().at - s4u::Engine::get_clock();
        if (flows.empty()) {
          s4u::this_actor::sleep_for(timeout);
          continue;
        }
        const ssize_t done = s4u::Comm::wait_any_for(flows, timeout);
        if (done < 0) continue;
        const auto index = static_cast<std::size_t>(done);
        if (const s4u::CommPtr next = next_part(star, machines[jobs[index]])) {
          flows[index] = next;
        } else {
          flows[index] = flows.back();
          flows.pop_back();
          jobs[index] = jobs.back();
          jobs.pop_back();
        }
      }
      last = s4u::Engine::get_clock();
    });
    star.engine->run();
    return last;
  });
}

void compare(std::uint32_t tasks, int parts) {
  const Load load = load_of(tasks, parts);
  const auto ours_extended = best_of(3, [&] { return ours(load, true); });
  const double flows = static_cast<double>(tasks) * parts;
  std::printf("%u tasks x %d parts: %.2f us a part; simulated end %.6f s\n", tasks, parts,
              ours_extended.seconds / flows * 1e6, ours_extended.figure);
  const auto against = [&](const char* name, const std::function<Measured()>& peer) {
    const Measured measured = best_of(3, peer);
    check(std::abs(measured.figure - ours_extended.figure) < 1e-5, "all simulate the same");
    report(fmt::format("executor_streams_against_{}_{}x{}", name, tasks, parts),
           ours_extended.seconds, measured.seconds, "s");
  };
  against("callbacks", [&] { return ours(load, false); });
  against("waiters", [&] { return waiters(load); });
  against("pump", [&] { return pump(load); });
  against("actor_a_task", [&] { return actor_a_task(load); });
  if (flows <= 5'000) against("wait_any", [&] { return wait_any(load); });
}

}  // namespace

int main() {
  compare(100, 20);
  compare(1'000, 5);
  compare(4'000, 5);
  return 0;
}
