// In which phase a VM is, by the journal.
#pragma once

#include "core/migration/journal_history.hpp"

namespace ferry {

/// Of a wave that is open. A VM at rest waits for its wave in `set_post_migration`.
inline Phase phase_of(const WaveHistory& wave, const MoveHistory& move) {
  if (!wave.suspension) return Phase::set_pre_migration;
  if (move.rest) return Phase::set_post_migration;
  return move.last_phase.value_or(Phase::set_pre_migration);
}

}  // namespace ferry
