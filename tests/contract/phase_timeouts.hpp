// Which of a move's timeouts bounds which phase.
#pragma once

#include "core/scenario/scenario.hpp"

namespace ferry {

/// A reference into `timeouts`, const if that is.
template <typename AnyTimeouts>
auto& timeout_of(AnyTimeouts& timeouts, Phase phase) {
  switch (phase) {
    case Phase::detach_vf: return timeouts.detach;
    case Phase::remove_ivshmem:
    case Phase::add_ivshmem: return timeouts.ivshmem;
    case Phase::migration: return timeouts.migration;
    case Phase::attach_vf: return timeouts.attach;
    case Phase::set_pre_migration:
    case Phase::set_post_migration: break;
  }
  return timeouts.suspend;
}

}  // namespace ferry
