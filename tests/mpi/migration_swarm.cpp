#include "tests/mpi/migration_swarm.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <random>

#include "tests/mpi/mpi_job.hpp"

namespace ferry::mpi {
namespace {

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : random_(seed * 0x9e37'79b9'7f4a'7c15U + 1) {}
  std::uint64_t below(std::uint64_t end) { return random_() % end; }
  bool one_in(std::uint64_t count) { return below(count) == 0; }
  template <class T>
  T any_of(std::initializer_list<T> values) {
    return values.begin()[below(values.size())];
  }
  Duration up_to(Duration most) {
    return Duration::nanoseconds(
        static_cast<std::int64_t>(below(static_cast<std::uint64_t>(most.count_nanoseconds()) + 1)));
  }

 private:
  std::mt19937_64 random_;
};

MovingCluster draw_cluster(Draw& draw) {
  std::vector<std::uint32_t> hosts(2 + draw.below(5));
  for (std::uint32_t& host : hosts) host = static_cast<std::uint32_t>(draw.below(3));
  for (std::size_t i = 4; i < hosts.size(); ++i) hosts[i] = 3;  // a host has four functions
  MovingCluster cluster = moving_cluster(hosts, static_cast<std::uint32_t>(1 + draw.below(2)));
  JobSpec& job = cluster.instance.jobs.front();
  job.strategy = draw.any_of({Strategy::progress_engine, Strategy::migration_thread});
  job.suspend = draw.any_of({Suspend::peers, Suspend::peers, Suspend::job});
  job.reconnect = draw.any_of({Reconnect::lazy, Reconnect::eager});
  job.channels.mode = draw.any_of({ChannelMode::hybrid, ChannelMode::two_layer});
  job.channels.eager_threshold.size = draw.any_of({Bytes(256), Bytes::kibi(8)});
  return cluster;
}

SwarmStage draw_messages(Draw& draw, Rank ranks) {
  SwarmStage stage;
  stage.kind = draw.any_of({SwarmStage::Kind::messages, SwarmStage::Kind::wildcards});
  for (std::uint64_t left = draw.below(30); left > 0; --left) {
    SwarmStage::Message message;
    message.from = static_cast<Rank>(draw.below(static_cast<std::uint64_t>(ranks)));
    message.to = static_cast<Rank>(draw.below(static_cast<std::uint64_t>(ranks)));
    message.size = draw.below(draw.any_of({2U, 200U, 4'000U, 100'000U, 400'000U}));
    message.synchronous = draw.one_in(6);
    stage.messages.push_back(message);
  }
  return stage;
}

SwarmStage draw_stage(Draw& draw, Rank ranks, bool only_messages) {
  if (only_messages || draw.one_in(2)) return draw_messages(draw, ranks);
  SwarmStage stage;
  stage.kind =
      draw.any_of({SwarmStage::Kind::barrier, SwarmStage::Kind::bcast, SwarmStage::Kind::allreduce,
                   SwarmStage::Kind::alltoall, SwarmStage::Kind::dup, SwarmStage::Kind::split});
  stage.in_part = draw.one_in(2);
  stage.parts = static_cast<Rank>(1 + draw.below(3));
  stage.size = 8 * draw.below(draw.any_of({2U, 100U, 20'000U}));
  stage.root = static_cast<Rank>(draw.below(static_cast<std::uint64_t>(ranks)));
  stage.overlaps = draw.one_in(2);
  return stage;
}

/// No VM is in two moves; no host gets more than its four functions.
std::vector<SwarmMove> draw_moves(Draw& draw, const Instance& instance) {
  std::vector<VmId> vms = instance.jobs.front().vms;
  for (std::size_t i = vms.size(); i > 1; --i) std::swap(vms[i - 1], vms[draw.below(i)]);
  std::vector<int> taken(instance.hosts.size(), 0);
  for (const VmSpec& vm : instance.vms) ++taken[vm.host.index];
  const Duration scale = draw.any_of({Duration::microseconds(50), ms(1), ms(20), ms(200)});
  std::vector<SwarmMove> moves(1 + draw.below(3));
  for (SwarmMove& move : moves) {
    move.start = draw.up_to(scale);
    move.patience = draw.one_in(4) ? draw.up_to(ms(5)) : Duration::seconds(60);
    for (std::uint64_t left = 1 + draw.below(2); left > 0 && !vms.empty(); --left) {
      const VmId vm = vms.back();
      vms.pop_back();
      std::uint32_t host = static_cast<std::uint32_t>(draw.below(4));
      while (HostId{host} == instance.vms[vm.index].host || taken[host] == 4) host = (host + 1) % 4;
      ++taken[host];
      move.vms.push_back(vm);
      move.destinations.push_back(HostId{host});
    }
  }
  std::erase_if(moves, [](const SwarmMove& move) { return move.vms.empty(); });
  return moves;
}

/// One rank's part of a stage.
class StageOfRank {
 public:
  /// `world`: where it happens.
  StageOfRank(Communicator world, const SwarmStage& stage, std::size_t number,
              const std::function<void()>& work, std::optional<Communicator>& part)
      : world_(world), stage_(stage), number_(number), work_(work), part_(part) {}

  void run() {
    switch (stage_.kind) {
      case SwarmStage::Kind::messages:
      case SwarmStage::Kind::wildcards: return messages();
      case SwarmStage::Kind::barrier:
        if (!stage_.overlaps) return world_.barrier();
        return finish(world_.ibarrier());
      case SwarmStage::Kind::bcast: return bcast();
      case SwarmStage::Kind::allreduce: return allreduce();
      case SwarmStage::Kind::alltoall: return alltoall();
      case SwarmStage::Kind::dup: part_ = world_.dup(); return;
      case SwarmStage::Kind::split:
        part_ = world_.split(world_.rank() % stage_.parts, -world_.rank());
        return;
    }
  }

 private:
  void finish(Request request) {
    work_();
    for (int looks = 0; looks < 5; ++looks) {
      if (world_.test(request)) return;
    }
    world_.wait(request);
  }

  [[nodiscard]] std::vector<std::byte> content(std::size_t message) const {
    return bytes_like(stage_.messages[message].size, number_ * 100 + message);
  }
  void messages() {
    std::vector<std::size_t> receives;
    std::vector<Request> requests;
    std::vector<std::vector<std::byte>> sent;
    std::size_t longest = 0;
    for (const SwarmStage::Message& message : stage_.messages) {
      longest = std::max(longest, message.size);
    }
    for (std::size_t i = 0; i < stage_.messages.size(); ++i) {
      if (stage_.messages[i].to == world_.rank()) receives.push_back(i);
    }
    std::vector<std::vector<std::byte>> into(receives.size(), std::vector<std::byte>(longest));
    const auto tag = static_cast<Tag>(number_);
    std::size_t posted = 0;
    const auto post_receive = [&] {
      const Rank from = stage_.kind == SwarmStage::Kind::wildcards
                            ? any_source
                            : stage_.messages[receives[posted]].from;
      requests.push_back(world_.irecv(Buffer(into[posted].data(), longest), from, tag));
      ++posted;
    };
    // Some receives before the sends, some among them, some after.
    while (posted < receives.size() / 3) post_receive();
    std::vector<Request> sends;
    for (std::size_t i = 0; i < stage_.messages.size(); ++i) {
      const SwarmStage::Message& message = stage_.messages[i];
      if (message.from != world_.rank()) continue;
      sent.push_back(content(i));
      const ConstBuffer from(sent.back().data(), message.size);
      sends.push_back(message.synchronous ? world_.issend(from, message.to, tag)
                                          : world_.isend(from, message.to, tag));
      if (posted < receives.size() && i % 3 == 0) post_receive();
    }
    work_();
    while (posted < receives.size()) post_receive();
    std::vector<Status> statuses(requests.size());
    world_.wait_all(requests, statuses);
    world_.wait_all(sends);
    look_at(receives, statuses, into);
  }
  /// The n-th message that was received from a rank is the n-th that it sent.
  void look_at(std::vector<std::size_t> expected, const std::vector<Status>& statuses,
               std::vector<std::vector<std::byte>>& into) {
    for (std::size_t i = 0; i < statuses.size(); ++i) {
      const auto message = std::find_if(expected.begin(), expected.end(), [&](std::size_t each) {
        return stage_.messages[each].from == statuses[i].source;
      });
      ASSERT_NE(message, expected.end()) << "a message that was not sent";
      ASSERT_EQ(statuses[i].size, stage_.messages[*message].size);
      into[i].resize(statuses[i].size);
      ASSERT_TRUE(into[i] == content(*message)) << "message " << *message << " is not as it was";
      expected.erase(message);
    }
  }

  void bcast() {
    const std::vector<std::byte> bytes = bytes_like(stage_.size, number_);
    std::vector<std::byte> data(stage_.size);
    const Rank root = stage_.root % world_.size();
    if (world_.rank() == root) data = bytes;
    const Buffer buffer(data.data(), data.size());
    if (stage_.overlaps) {
      finish(world_.ibcast(buffer, root));
    } else {
      world_.bcast(buffer, root);
    }
    ASSERT_TRUE(data == bytes);
  }
  void allreduce() {
    std::vector<std::int64_t> from(stage_.size / 8);
    std::vector<std::int64_t> into(from.size());
    for (std::size_t i = 0; i < from.size(); ++i) {
      from[i] = static_cast<std::int64_t>(i + number_) * (world_.rank() + 1);
    }
    const ConstBuffer mine(from.data(), stage_.size);
    const Buffer all(into.data(), stage_.size);
    if (stage_.overlaps) {
      finish(world_.iallreduce(mine, all, ElementType::int64, Reduction::sum));
    } else {
      world_.allreduce(mine, all, ElementType::int64, Reduction::sum);
    }
    const std::int64_t factor = static_cast<std::int64_t>(world_.size()) * (world_.size() + 1) / 2;
    for (std::size_t i = 0; i < into.size(); ++i) {
      ASSERT_EQ(into[i], static_cast<std::int64_t>(i + number_) * factor);
    }
  }
  void alltoall() {
    const auto ranks = static_cast<std::size_t>(world_.size());
    const auto own = static_cast<std::size_t>(world_.rank());
    const std::size_t part = stage_.size / 8;
    std::vector<std::byte> from;
    std::vector<std::byte> expected;
    for (std::size_t i = 0; i < ranks; ++i) {
      const std::vector<std::byte> out = bytes_like(part, number_ + own * 20 + i);
      const std::vector<std::byte> in = bytes_like(part, number_ + i * 20 + own);
      from.insert(from.end(), out.begin(), out.end());
      expected.insert(expected.end(), in.begin(), in.end());
    }
    std::vector<std::byte> into(from.size());
    const ConstBuffer mine(from.data(), from.size());
    const Buffer all(into.data(), into.size());
    if (stage_.overlaps) {
      finish(world_.ialltoall(mine, all));
    } else {
      world_.alltoall(mine, all);
    }
    ASSERT_TRUE(into == expected);
  }

  Communicator world_;
  const SwarmStage& stage_;
  std::size_t number_;
  const std::function<void()>& work_;
  std::optional<Communicator>& part_;
};

/// Which locality each rank's collectives went by: it has to be the same for all ranks of one.
class Generations {
 public:
  explicit Generations(Executor& executor) : mutex_(executor.make_mutex()) {}

  /// After a stage in `in`, with no collective under way there.
  void note(const Communicator& in) {
    const Communicator::State& state = in.state();
    const CollectivePlanner& planner = *state.planner;
    const Lock lock(*mutex_);
    const Collective number{{state.group.context, state.group.in_job(0)}, planner.turns().next()};
    const auto [entry, first] = of_.emplace(number, planner.generation());
    EXPECT_EQ(entry->second, planner.generation())
        << "collective " << number.second << " of " << state.group.name << " on rank "
        << state.group.in_job(state.group.rank);
    if (first && planner.generation() != first_generation) ++relocated_;
  }
  [[nodiscard]] std::uint64_t relocated() const { return relocated_; }

 private:
  using Collective = std::pair<CommunicatorName, CollectiveNumber>;
  std::unique_ptr<Mutex> mutex_;
  std::map<Collective, Generation> of_;
  std::uint64_t relocated_ = 0;
};

void run_rank(World& world, const SwarmPlan& plan, Process& process, Generations& generations) {
  Communicator ranks = process.world();
  std::optional<Communicator> part;
  const auto own = static_cast<std::size_t>(ranks.rank());
  const JobSpec& job = plan.cluster.instance.jobs.front();
  const VmId vm = job.vms[own / job.ranks_per_vm];
  for (std::size_t i = 0; i < plan.stages.size(); ++i) {
    if (i >= plan.last_rank_leaves && ranks.rank() + 1 == ranks.size()) return;
    const Duration work = plan.work[i * static_cast<std::size_t>(ranks.size()) + own];
    const std::function<void()> half = [&] {
      if (work != Duration::zero()) world.processor.compute(vm, work * 0.5);
    };
    half();
    const Communicator in = plan.stages[i].in_part && part ? *part : ranks;
    StageOfRank(in, plan.stages[i], i, half, part).run();
    generations.note(in);
  }
}

}  // namespace

SwarmPlan draw_swarm(std::uint64_t seed) {
  Draw draw(seed);
  SwarmPlan plan;
  plan.cluster = draw_cluster(draw);
  plan.process.credits = draw.any_of({64U, 1024U});
  const std::uint64_t stages = 4 + draw.below(16);
  if (draw.one_in(4)) plan.last_rank_leaves = stages / 2;
  const Duration most = draw.any_of({Duration::zero(), Duration::microseconds(20), ms(1), ms(20)});
  for (std::uint64_t i = 0; i < stages; ++i) {
    const bool leaves = plan.last_rank_leaves <= stages;
    const bool without = i >= plan.last_rank_leaves;
    plan.stages.push_back(draw_stage(draw, plan.ranks() - (without ? 1 : 0), leaves && without));
    for (Rank rank = 0; rank < plan.ranks(); ++rank) plan.work.push_back(draw.up_to(most));
  }
  plan.moves = draw_moves(draw, plan.cluster.instance);
  return plan;
}

SwarmEnd run_swarm(World& world, const SwarmPlan& plan, bool looks_in) {
  SwarmEnd end;
  MovingJob moving(world, plan.cluster, plan.process);
  moving.looks_in = looks_in;
  Generations generations(world.executor);
  moving.job->start([&](Process& process) { run_rank(world, plan, process, generations); });
  std::vector<bool> ready(plan.moves.size());
  std::vector<std::unique_ptr<Task>> tasks;
  std::unique_ptr<Mutex> mutex = world.executor.make_mutex();
  for (const SwarmMove& move : plan.moves) {
    tasks.push_back(world.executor.spawn("a move", [&] {
      sleep(world, move.start);
      const bool moved = moving.move(move.vms, move.destinations, move.patience);
      const Lock lock(*mutex);
      ++(moved ? end.suspended : end.refused);
    }));
  }
  const Result<void> ended = moving.job->join();
  EXPECT_TRUE(ended) << ended.error().reason;
  for (const std::unique_ptr<Task>& task : tasks) task->join();
  EXPECT_THAT(moving.job->complaints(), testing::IsEmpty());
  moving.expect_nothing_left();
  EXPECT_EQ(moving.log.ranks.size(), plan.moves.size() * moving.job->size());
  for (const RankRecord& rank : moving.log.ranks) {
    EXPECT_LE(rank.requested, rank.drained);
    EXPECT_LE(rank.drained, rank.ready);
    EXPECT_LE(rank.blocked_from, rank.blocked_to);
    end.records +=
        static_cast<std::uint64_t>((rank.ready - rank.requested).count_nanoseconds() +
                                   3 * (rank.blocked_to - rank.blocked_from).count_nanoseconds());
  }
  end.relocated = generations.relocated();
  end.nanoseconds = (world.clock.now() - TimePoint()).count_nanoseconds();
  return end;
}

}  // namespace ferry::mpi
