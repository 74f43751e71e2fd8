#include "core/mpi/job.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/mpi/engine.hpp"
#include "core/mpi/rank_board.hpp"
#include "core/units/check.hpp"

namespace ferry::mpi {

struct Job::Member {
  std::unique_ptr<WaitSet> wait_set;
  std::unique_ptr<Endpoint> endpoint;
  std::unique_ptr<Process> process;
  std::unique_ptr<Task> task;
  std::vector<std::string> complaints;
};

/// What others wait for does not come from a rank that has thrown: they have to hear of it.
class Job::Ending {
 public:
  Ending(Job& job, RankId rank) : job_(job), rank_(rank) {}
  ~Ending() {
    if (!well_)
      job_.abort(fmt::format("rank {} of {} has failed", rank_.index, job_.options_.name));
  }
  Ending(const Ending&) = delete;
  Ending& operator=(const Ending&) = delete;
  void well() { well_ = true; }

 private:
  Job& job_;
  RankId rank_;
  bool well_ = false;
};

Job::Job(const JobPorts& ports, const ChannelChooser& chooser, JobOptions options)
    : ports_(ports), options_(std::move(options)) {
  const auto count = static_cast<std::uint32_t>(options_.places.size());
  check(count > 0, "a job has ranks");
  if (options_.board != nullptr) {
    check(options_.board->options().vms.size() == count, "the board knows the ranks of the job");
    options_.process.migration_thread = options_.board->options().migration_thread;
  }
  ranks_.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    auto member = std::make_unique<Member>();
    member->wait_set = ports_.fabric.make_wait_set();
    member->endpoint = ports_.fabric.open(options_.places[i], *member->wait_set);
    const ProcessPorts given{
        ports_.executor, ports_.processor, *member->wait_set, *member->endpoint, *this, chooser,
        *this,           options_.board};
    member->process = std::make_unique<Process>(given, RankId{i}, count, options_.process);
    ranks_.push_back(std::move(member));
  }
  ports_.executor.listen_for_standstill(*this);
}

Job::~Job() {
  for (const std::unique_ptr<Member>& member : ranks_) member->task.reset();
  ports_.executor.stop_listening(*this);
  delete aborted_.load();
}

void Job::start(Body body) {
  const auto shared = std::make_shared<const Body>(std::move(body));
  for (std::uint32_t i = 0; i < ranks_.size(); ++i) {
    ranks_[i]->task = ports_.executor.spawn(
        fmt::format("{} rank {}", options_.name, i), [this, shared, rank = RankId{i}] {
          Ending ending(*this, rank);
          try {
            Process& own = *ranks_[rank.index]->process;
            ports_.executor.will_touch(&own.engine());
            (*shared)(own);
            own.finish();
          } catch (const JobAborted& aborted) {
            // Why is known to the job, unless the rank alone
            // was cancelled.
            abort(fmt::format("rank {} has ended: {}", rank.index, aborted.what()));
          }
          ending.well();
          ports_.executor.will_touch(nullptr);
          ranks_[rank.index]->process->engine().leave();
        });
  }
}

Result<void> Job::join() {
  for (const std::unique_ptr<Member>& member : ranks_) {
    if (member->task != nullptr) member->task->join();
  }
  if (const std::string* why = aborted_.load()) return failure(FailureKind::failed, *why);
  return {};
}

void Job::abort(std::string why) {
  const std::string* none = nullptr;
  auto owned = std::make_unique<const std::string>(std::move(why));
  if (!aborted_.compare_exchange_strong(none, owned.get())) return;
  const std::string& kept = *owned.release();
  for (const std::unique_ptr<Member>& member : ranks_) member->process->engine().abort(kept);
}

Process& Job::process(RankId rank) { return *ranks_.at(rank.index)->process; }

std::string Job::describe_waits() const {
  std::string text;
  for (const std::unique_ptr<Member>& member : ranks_) text += member->process->describe_waits();
  return text;
}

void Job::stands_still() {
  constexpr std::size_t most_lines = 20;
  std::string text = describe_waits();
  if (text.empty()) return;  // others wait
  std::size_t end = 0;
  for (std::size_t line = 0; line < most_lines && end < text.size(); ++line) {
    end = text.find('\n', end) + 1;
  }
  const auto left = std::count(text.begin() + static_cast<std::ptrdiff_t>(end), text.end(), '\n');
  text.resize(end - 1);
  if (left != 0) text += fmt::format("\nand {} lines more", left);
  abort(fmt::format("the ranks of {} wait for each other:\n{}", options_.name, text));
}

EndpointAddress Job::address_of(RankId rank) const {
  return ranks_[rank.index]->endpoint->address();
}

void Job::complain(RankId rank, std::string what) {
  ranks_[rank.index]->complaints.push_back(std::move(what));
}

std::vector<std::string> Job::complaints() const {
  std::vector<std::string> all;
  for (const std::unique_ptr<Member>& member : ranks_) {
    all.insert(all.end(), member->complaints.begin(), member->complaints.end());
  }
  return all;
}

}  // namespace ferry::mpi
