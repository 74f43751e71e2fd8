// Closed forms for one migration alone on an idle network: what a plan announces and tests check.
#pragma once

#include "core/scenario/instance.hpp"

namespace ferry {

/// The memory transfer of one VM.
struct TransferPrediction {
  Duration time;      ///< first byte to last byte
  Duration downtime;  ///< of the transfer alone, without what a device, `finish` or a switch adds
  Bytes bytes;        ///< on the network
  int rounds = 0;     ///< the stop-and-copy, or what post-copy sends, included
  bool converges = true;
  bool switched = false;  ///< to post-copy
};

/// Of a guest that dirties at `rate` and gets a constant `bandwidth`, or its limit where that is
/// less and holds: `MemoryTransfer`'s course. `device_state`: what else must be sent with the guest
/// paused (vfio).
TransferPrediction predict_transfer(const VmSpec& vm, const TransferOptions& options,
                                    Bandwidth bandwidth, Bandwidth rate,
                                    const CompressionCosts& compression = {},
                                    Bytes device_state = {});

/// The most that a transfer gets between two hosts of an idle cluster, while no bandwidth limit
/// holds: the lesser of its streams and the host link.
Bandwidth idle_bandwidth(const Instance& instance, const Platform& platform,
                         const TransferOptions& options);

/// What the steps of a move cost, each alone; a device that the VM does not have costs nothing.
struct MoveCosts {
  Duration set_status;  ///< before, and again after
  Duration suspend;     ///< until every rank is ready
  Duration detach_vf;
  Duration redirect;  ///< failover: after its function has gone, and again after it has come
  Duration remove_ivshmem;
  Duration prepare;
  Duration pin;  ///< of guest memory, for rdma or for a virtual function that moves too
  Duration finish;
  Duration clean_up;
  Duration attach_vf;
  Duration add_ivshmem;
  Duration reactivate;
  Bytes device_state;      ///< vfio: sent with the guest paused
  Duration save;           ///< of that state, before it is sent
  Duration load;           ///< and after
  bool ranks_run = false;  ///< some ranks are not suspended and go on while memory moves
};
MoveCosts costs_of(const Instance& instance, const Platform& platform, const MoveSpec& move);

/// What dirties the VM's memory while it moves: its ranks only if they do not cooperate.
inline Bandwidth dirty_rate_while_moving(const VmSpec& vm, const MoveCosts& costs) {
  return costs.ranks_run ? vm.idle_dirty_rate + vm.dirty_rate : vm.idle_dirty_rate;
}

/// All seven phases of a move in which every rank answers within its own time and nothing fails.
struct MovePrediction {
  MoveCosts costs;
  TransferPrediction transfer;
  Duration before;  ///< from the start to the first byte
  Duration pause;   ///< nothing is sent, though not all is: a device is saved, post-copy switches
  Duration after;   ///< from the last byte to the end

  [[nodiscard]] Duration total() const { return before + transfer.time + pause + after; }
};
MovePrediction predict_move(const Instance& instance, const Platform& platform,
                            const MoveSpec& move, Bandwidth bandwidth);

/// The same on an idle network.
Duration predict_total(const Instance& instance, const Platform& platform, const MoveSpec& move);

}  // namespace ferry
