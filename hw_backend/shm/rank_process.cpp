#include "hw_backend/shm/rank_process.hpp"

#include <fmt/format.h>

#include <atomic>
#include <exception>
#include <optional>

#include "core/mpi/engine.hpp"
#include "hw_backend/shm/shm_fabric.hpp"
#include "hw_backend/threads/sleeping_processor.hpp"
#include "hw_backend/threads/thread_executor.hpp"

namespace ferry::shm {
namespace {

/// Ranks are started together, but the machine may be busy.
constexpr Duration patience = Duration::milliseconds(120'000);

class RegionDirectory final : public mpi::Directory {
 public:
  explicit RegionDirectory(const Region& region) : region_(region) {}
  [[nodiscard]] EndpointAddress address_of(RankId rank) const override {
    const Result<EndpointAddress> address = region_.address_of(rank.index, patience);
    if (!address) throw mpi::JobAborted(address.error().reason);
    return *address;
  }

 private:
  const Region& region_;
};

class RegionWatch final : public mpi::JobWatch {
 public:
  explicit RegionWatch(Region& region) : region_(region) {}
  void complain(RankId /*rank*/, std::string what) override {
    complaints.push_back(std::move(what));
  }
  void abort(std::string why) override { region_.condemn(why); }
  std::vector<std::string> complaints;

 private:
  Region& region_;
};

/// Tells the rank when the job ends.
class Listener {
 public:
  Listener(ThreadExecutor& executor, Region& region, mpi::Engine& engine)
      : region_(region), task_(executor.spawn("listener", [this, &region, &engine] {
          if (!region.await_verdict(stopped_)) return;
          why_ = *region.verdict();
          engine.abort(why_);
        })) {}
  ~Listener() {
    stopped_ = true;
    region_.wake_listeners();
    task_->join();
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

 private:
  Region& region_;
  std::atomic<bool> stopped_ = false;
  std::string why_;
  std::unique_ptr<Task> task_;
};

}  // namespace

RankEnd run_rank(const std::shared_ptr<Region>& region, RankId rank, std::uint32_t ranks,
                 const ChannelChooser& chooser, const mpi::ProcessOptions& options,
                 const std::function<void(mpi::Process&)>& body) {
  const ThreadClock clock(1.0);
  ThreadExecutor executor(clock);
  ThreadSleeper sleeper(clock);
  SleepingProcessor processor(sleeper);
  ShmFabric fabric(region, clock, {});
  const std::unique_ptr<WaitSet> wait_set = fabric.make_wait_set();
  const std::unique_ptr<Endpoint> endpoint = fabric.open({}, *wait_set);
  region->announce(rank.index, endpoint->address());
  const RegionDirectory directory(*region);
  RegionWatch watch(*region);
  mpi::Process process({executor, processor, *wait_set, *endpoint, directory, chooser, watch}, rank,
                       ranks, options);
  RankEnd end;
  {
    const Listener listener(executor, *region, process.engine());
    try {
      body(process);
      // Who leaves takes its memory with it, which others may still have to read.
      process.world().barrier();
      process.finish();
    } catch (const mpi::JobAborted& aborted) {
      region->condemn(fmt::format("rank {} has ended: {}", rank.index, aborted.what()));
    } catch (const std::exception& error) {
      region->condemn(fmt::format("rank {} has failed: {}", rank.index, error.what()));
      throw;
    }
  }
  if (const std::optional<std::string> why = region->verdict()) {
    end.ended = failure(FailureKind::failed, *why);
  }
  end.complaints = std::move(watch.complaints);
  return end;
}

}  // namespace ferry::shm
