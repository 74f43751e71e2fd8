// One VM's memory on its way, part by part: what is sent next, given what the last part got.
#pragma once

#include <algorithm>
#include <optional>

#include "core/memory/compression.hpp"
#include "core/memory/precopy.hpp"
#include "core/memory/stalls.hpp"
#include "core/memory/throttling.hpp"
#include "core/scenario/instance.hpp"

namespace ferry {

/// What the first pass must send of the VM's memory, uncompressed.
Bytes first_pass(const VmSpec& vm, const TransferOptions& options);

/// The rules of this folder in the order in which a migration goes through them. The caller says
/// when a part is through and what share of the network it had then.
///
/// A device whose state moves too: it counts as pending (`Precopy`); once the guest is paused it is
/// saved, and sent after the last of the memory, as it is.
///
/// The bandwidth limit holds but for the last pass over a paused guest (QEMU migration/migration.c,
/// migration_completion_precopy); after a switch to post-copy it holds to the end. A guest that is
/// stopped from the beginning has a last pass too: of what then fits the downtime limit.
class MemoryTransfer {
 public:
  /// `rate`: what dirties the guest from `now` on. `expected`: the bandwidth before any is known,
  /// but for the limit.
  /// `device_state`: of the device that moves too; zero: none does.
  /// `options` must live as long.
  MemoryTransfer(const VmSpec& vm, const TransferOptions& options,
                 const CompressionCosts& compression, Bytes device_state, Bandwidth rate,
                 Bandwidth expected, TimePoint now);

  enum class State { sending, saving, switching, arrived, failed };
  /// `sending`: `part` is next. `saving`: the guest is paused, and so long as the device's state is
  /// saved nothing is sent; then `saved`. `switching`: the guest pauses for `postcopy_switch`, then
  /// `switched`. `failed`: it does not converge.
  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] Bytes part() const { return part_; }  ///< on the network
  /// The most that the migration thread gives out and the bandwidth limit lets through.
  [[nodiscard]] Bandwidth most() const {
    return stage_ == Stage::stop_and_copy ? compressor_.most()
                                          : std::min(compressor_.most(), limit_);
  }
  void part_done(Bandwidth share, TimePoint now);
  void saved();
  void switched();
  /// The guest's ranks stop: it dirties at `rate` from now on.
  void set_rate(Bandwidth rate, TimePoint now);

  [[nodiscard]] std::optional<TimePoint> paused() const { return paused_; }
  [[nodiscard]] bool post_copy() const { return stage_ == Stage::post_copy; }
  /// Begun so far: what is sent with the guest paused, or by post-copy, is one of them.
  [[nodiscard]] int rounds() const { return rounds_; }

 private:
  enum class Stage { live, offline, stop_and_copy, post_copy };
  void next(TimePoint now);
  void round_done(TimePoint now);
  void stop(TimePoint now);
  void pause(TimePoint now);
  void switch_to_post_copy(TimePoint now);
  void send_rest();
  void send(Bytes guest);

  GuestMemory memory_;
  DirtyMeter dirty_;
  Bandwidth rate_;
  Bandwidth limit_;
  Compressor compressor_;
  Stalls stalls_;
  Precopy precopy_;
  Bytes device_state_;  ///< still to be sent
  std::optional<AutoConverge> converge_;
  State state_ = State::sending;
  Stage stage_ = Stage::live;
  Bytes guest_part_;
  Bytes part_;
  Bytes sent_in_round_;  ///< on the network
  int rounds_ = 1;
  std::optional<TimePoint> paused_;
};

}  // namespace ferry
