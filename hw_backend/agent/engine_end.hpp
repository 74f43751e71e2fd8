// The end of a job reaches the rank's engine, whichever is first.
#pragma once

#include <mutex>
#include <string>

#include "core/mpi/engine.hpp"

namespace ferry::agent {

class EngineEnd {
 public:
  void job_is_over(const std::string& why) {
    const std::lock_guard guard(mutex_);
    why_ = why;
    if (engine_ != nullptr) engine_->abort(why_);
  }
  /// Null: not any more.
  void live_as(mpi::Engine* engine) {
    const std::lock_guard guard(mutex_);
    engine_ = engine;
    if (engine_ != nullptr && !why_.empty()) engine_->abort(why_);
  }

 private:
  std::mutex mutex_;
  std::string why_;
  mpi::Engine* engine_ = nullptr;
};

}  // namespace ferry::agent
