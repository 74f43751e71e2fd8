#include "core/memory/memory_transfer.hpp"

#include <algorithm>
#include <utility>

namespace ferry {

Bytes first_pass(const VmSpec& vm, const TransferOptions& options) {
  const bool all_pinned = options.transport == Transport::rdma && options.pin_all;
  return first_pass(guest_memory(vm.memory, vm.zero), all_pinned);
}

MemoryTransfer::MemoryTransfer(const VmSpec& vm, const TransferOptions& options,
                               const CompressionCosts& compression, Bytes device_state,
                               Bandwidth rate, Bandwidth expected, TimePoint now)
    : memory_(guest_memory(vm.memory, vm.zero)),
      dirty_(std::min(vm.working_set, memory_.total - memory_.zero), rate, now),
      rate_(rate),
      limit_(options.bandwidth_limit),
      compressor_(options.compression, compression, first_pass(vm, options),
                  first_pass(vm, options) - (memory_.total - memory_.zero), dirty_.most()),
      stalls_(options),
      precopy_(
          first_pass(vm, options), std::max(first_pass(vm, options), memory_.total - memory_.zero),
          options.downtime_limit, stalls_.round_limit(), std::min(expected, limit_), device_state),
      device_state_(device_state) {
  if (options.auto_converge) converge_.emplace(now);
  if (options.mode == MemoryMode::offline) {
    stop(now);
  } else if (options.mode == MemoryMode::postcopy) {
    switch_to_post_copy(now);
  } else {
    next(now);
  }
}

void MemoryTransfer::send(Bytes guest) {
  guest_part_ = guest;
  part_ = compressor_.on_network(guest);
}

void MemoryTransfer::next(TimePoint now) {
  const Bytes part = precopy_.next_part();
  if (part > Bytes(0)) {
    send(part);
  } else if (stage_ == Stage::offline) {
    ++rounds_;
    pause(now);
  } else {
    round_done(now);
  }
}

void MemoryTransfer::part_done(Bandwidth share, TimePoint now) {
  if (stage_ == Stage::stop_and_copy || stage_ == Stage::post_copy) {
    part_ = std::exchange(device_state_, Bytes(0));
    if (part_ == Bytes(0)) state_ = State::arrived;
    return;
  }
  sent_in_round_ += part_;
  precopy_.part_done(guest_part_, share);
  next(now);
}

void MemoryTransfer::round_done(TimePoint now) {
  const Bytes dirtied = dirty_.take(now);
  const Bytes sent = std::exchange(sent_in_round_, Bytes(0));
  compressor_.round_done(precopy_.sent_in_round());
  if (converge_ && converge_->synchronised(now, dirtied, sent)) set_rate(rate_, now);
  switch (precopy_.round_done(dirtied)) {
    case Precopy::Then::next_round:
      ++rounds_;
      next(now);
      return;
    case Precopy::Then::stop_and_copy:
      ++rounds_;
      pause(now);
      return;
    case Precopy::Then::stalled: break;
  }
  switch (stalls_.next()) {
    case OnStall::auto_converge:
      if (!converge_) converge_.emplace(now);
      precopy_.go_on(stalls_.round_limit());
      ++rounds_;
      next(now);
      return;
    case OnStall::postcopy:
      ++rounds_;
      switch_to_post_copy(now);
      return;
    case OnStall::abort: state_ = State::failed; return;
  }
}

/// Without a limit its last pass is as fast as what comes before: one of all memory.
void MemoryTransfer::stop(TimePoint now) {
  if (limit_.is_unlimited()) return pause(now);
  stage_ = Stage::offline;
  paused_ = now;
  next(now);
}

void MemoryTransfer::pause(TimePoint now) {
  stage_ = Stage::stop_and_copy;
  if (!paused_) paused_ = now;
  if (device_state_ > Bytes(0)) {
    state_ = State::saving;
  } else {
    send_rest();
  }
}

void MemoryTransfer::saved() { send_rest(); }

void MemoryTransfer::switch_to_post_copy(TimePoint now) {
  stage_ = Stage::post_copy;
  paused_ = now;
  state_ = State::switching;
}

void MemoryTransfer::switched() {
  compressor_.stop();
  send_rest();
}

void MemoryTransfer::send_rest() {
  state_ = State::sending;
  send(precopy_.pending());
  if (part_ == Bytes(0)) part_ = std::exchange(device_state_, Bytes(0));
  if (part_ == Bytes(0)) state_ = State::arrived;
}

void MemoryTransfer::set_rate(Bandwidth rate, TimePoint now) {
  rate_ = rate;
  const double share = converge_ ? 1 - converge_->throttle().value() : 1;
  dirty_.set_rate(rate * share, now);
}

}  // namespace ferry
