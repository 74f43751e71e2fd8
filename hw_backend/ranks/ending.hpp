// Tells a rank when its job ends: for a reason of another rank, or by a signal to this process.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "core/mpi/engine.hpp"
#include "core/ports/executor.hpp"
#include "hw_backend/shm/region.hpp"

namespace ferry::ranks {

/// What the verdict says when somebody ended the job by a signal.
inline constexpr std::string_view interrupted_by_signal = "interrupted";

/// SIGINT and SIGTERM of this process are taken from now on, by whoever reads them. To be called
/// before there is a second thread.
void take_signals();

/// While it lives: a verdict in `region` ends the calls of `engine`'s rank, and a signal is one.
class EndListener {
 public:
  EndListener(Executor& executor, shm::Region& region, mpi::Engine& engine);
  ~EndListener();
  EndListener(const EndListener&) = delete;
  EndListener& operator=(const EndListener&) = delete;

 private:
  void read_signals();

  shm::Region& region_;
  std::atomic<bool> stopped_ = false;
  std::string why_;
  int signals_;  ///< signalfd
  int stop_;     ///< eventfd
  std::unique_ptr<Task> verdict_;
  std::thread signal_thread_;
};

}  // namespace ferry::ranks
