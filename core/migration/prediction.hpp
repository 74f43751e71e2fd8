// Closed forms for one migration alone on an idle network: what a plan announces and tests check.
#pragma once

#include "core/scenario/instance.hpp"

namespace ferry {

/// The memory transfer of one VM.
struct TransferPrediction {
  Duration time;      ///< first byte to last byte
  Duration downtime;  ///< of the transfer alone, without `finish` or `postcopy_switch`
  Bytes bytes;        ///< on the network
  int rounds = 0;     ///< the stop-and-copy, or what post-copy sends, included
  bool converges = true;
  bool switched = false;  ///< to post-copy
};

/// Pre-copy at a constant `bandwidth`, as QEMU does it: a round ends when what is left would take 1 %
/// less than the downtime limit; then what was dirtied meanwhile, min(rate x time, working set), is
/// added; below the threshold the guest is paused and the rest is sent, else the next round begins.
/// The guest dirties at `rate`, less what auto-converge takes from it. A zero page costs 9 bytes (its
/// header), or a page with rdma and pin_all. Stalls, throttling and compression are `core/memory`'s,
/// with what `compression` costs.
TransferPrediction predict_transfer(const VmSpec& vm, const TransferOptions& options,
                                    Bandwidth bandwidth, Bandwidth rate,
                                    const CompressionCosts& compression = {});

/// What the first pass must send.
Bytes first_pass(const VmSpec& vm, const TransferOptions& options);

/// The most that a transfer gets between two hosts of an idle cluster: the least of its streams, the
/// host link and the bandwidth limit.
Bandwidth idle_bandwidth(const Instance& instance, const Platform& platform,
                         const TransferOptions& options);

/// All seven phases of a move in which every rank answers within its own time and nothing fails.
Duration predict_total(const Instance& instance, const Platform& platform, const MoveSpec& move);

}  // namespace ferry
