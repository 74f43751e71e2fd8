#include "tests/mpi/verbs_rank.hpp"

#include <atomic>
#include <stdexcept>

#include "core/mpi/engine.hpp"
#include "hw_backend/bootstrap/tcp_bootstrap.hpp"
#include "hw_backend/threads/sleeping_processor.hpp"
#include "hw_backend/threads/thread_executor.hpp"
#include "hw_backend/verbs/verbs_fabric.hpp"

namespace ferry::mpi {
namespace {

class RankNumbers final : public Directory {
 public:
  [[nodiscard]] EndpointAddress address_of(RankId rank) const override {
    return EndpointAddress{rank.index};
  }
};

class VerdictOfRegion final : public JobWatch {
 public:
  explicit VerdictOfRegion(shm::Region& region) : region_(region) {}
  void complain(RankId /*rank*/, std::string what) override {
    complaints.push_back(std::move(what));
  }
  void abort(std::string why) override { region_.condemn(why); }
  std::vector<std::string> complaints;

 private:
  shm::Region& region_;
};

/// Tells the rank when the job ends.
class VerdictListener {
 public:
  VerdictListener(ThreadExecutor& executor, shm::Region& region, Engine& engine)
      : region_(region), task_(executor.spawn("listener", [this, &region, &engine] {
          if (region.await_verdict(stopped_)) engine.abort(*region.verdict());
        })) {}
  ~VerdictListener() {
    stopped_ = true;
    region_.wake_listeners();
    task_->join();
  }
  VerdictListener(const VerdictListener&) = delete;
  VerdictListener& operator=(const VerdictListener&) = delete;

 private:
  shm::Region& region_;
  std::atomic<bool> stopped_ = false;
  std::unique_ptr<Task> task_;
};

/// On this machine; the region tells the ports.
std::unique_ptr<TcpBootstrap> bootstrap_of(const std::shared_ptr<shm::Region>& region, RankId rank,
                                           std::uint32_t ranks) {
  TcpBootstrapSettings settings;
  settings.listen_on = "127.0.0.1";
  auto made = TcpBootstrap::listen(rank, ranks, settings);
  if (!made) throw std::runtime_error(made.error().reason);
  const std::string& address = (*made)->address();
  const std::string port = address.substr(address.rfind(':') + 1);
  region->announce(rank.index, EndpointAddress{static_cast<std::uint32_t>(std::stoul(port))});
  (*made)->start([region](RankId of) -> Result<std::string> {
    const Result<EndpointAddress> there = region->address_of(of.index, Duration::zero());
    if (!there) return tl::unexpected(there.error());
    return "127.0.0.1:" + std::to_string(there->value);
  });
  return std::move(*made);
}

}  // namespace

shm::RankEnd run_verbs_rank(const std::shared_ptr<shm::Region>& region, RankId rank,
                            std::uint32_t ranks, const ChannelChooser& chooser,
                            const ProcessOptions& options,
                            const std::function<void(Process&)>& body) {
  const ThreadClock clock(1.0);
  ThreadExecutor executor(clock);
  ThreadSleeper sleeper(clock);
  SleepingProcessor processor(sleeper);
  verbs::VerbsSettings settings;
  settings.window = 8;
  settings.largest_body = 16'384;  // fragments of `every_protocol`
  const auto bootstrap = bootstrap_of(region, rank, ranks);
  EventWaitSet wait_set(clock);
  const auto endpoint = verbs::make_verbs_endpoint(settings, *bootstrap, wait_set);
  if (const Result<> opened = endpoint->open_device(); !opened) {
    throw std::runtime_error(opened.error().reason);
  }
  wait_set.watch(*endpoint);
  const RankNumbers directory;
  VerdictOfRegion watch(*region);
  shm::RankEnd end;
  {
    Process process({executor, processor, wait_set, *endpoint, directory, chooser, watch}, rank,
                    ranks, options);
    const VerdictListener listener(executor, *region, process.engine());
    try {
      body(process);
      process.world().barrier();
      process.finish();
    } catch (const JobAborted& aborted) {
      region->condemn("rank " + std::to_string(rank.index) + " has ended: " + aborted.what());
    }
  }
  wait_set.forget(*endpoint);
  if (const auto why = region->verdict()) end.ended = failure(FailureKind::failed, *why);
  end.complaints = std::move(watch.complaints);
  return end;
}

}  // namespace ferry::mpi
