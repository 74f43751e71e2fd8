// An open RDMA device: what of libibverbs belongs to it, each freed in its order. Only here and in
// queue_pair.hpp are structs of libibverbs owned.
#pragma once

#include <infiniband/verbs.h>

#include <memory>

#include "core/ports/result.hpp"
#include "hw_backend/verbs/device_search.hpp"
#include "hw_backend/verbs/handshake.hpp"
#include "hw_backend/verbs/registration_cache.hpp"

namespace ferry::verbs {

/// Why the last call of libibverbs failed; `number`: what it returned, or errno.
[[nodiscard]] std::string verbs_error(std::string_view call, int number);

class Device final : public Registrar {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Device>> open(const UsablePort& port);
  ~Device() override;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  [[nodiscard]] const UsablePort& port() const { return port_; }
  [[nodiscard]] ibv_context* context() const { return context_; }
  [[nodiscard]] ibv_pd* domain() const { return domain_; }
  [[nodiscard]] ibv_cq* completions() const { return completions_; }
  [[nodiscard]] ibv_comp_channel* events() const { return events_; }
  [[nodiscard]] std::uint8_t path_mtu() const { return path_mtu_; }
  [[nodiscard]] std::uint32_t most_work_requests() const { return most_work_requests_; }
  /// Reads that a queue pair may have asked for, and may be asked for, at a time.
  [[nodiscard]] std::uint8_t reads_asked() const { return reads_asked_; }
  [[nodiscard]] std::uint8_t reads_answered() const { return reads_answered_; }
  /// Of one work request.
  [[nodiscard]] std::uint32_t largest_message() const { return largest_message_; }

  /// Makes room in the completion queue for so many more; `give_room` takes it back.
  [[nodiscard]] Result<> want_room(std::uint32_t completions);
  void give_room(std::uint32_t completions) { room_used_ -= completions; }

  [[nodiscard]] Result<Registration> add(std::uintptr_t begin, std::uintptr_t end,
                                         bool writable) override;
  void remove(const Registration& registration) override;

 private:
  explicit Device(UsablePort port) : port_(std::move(port)) {}
  [[nodiscard]] Result<> set_up();

  UsablePort port_;
  ibv_context* context_ = nullptr;
  ibv_pd* domain_ = nullptr;
  ibv_comp_channel* events_ = nullptr;
  ibv_cq* completions_ = nullptr;
  std::uint8_t path_mtu_ = 0;
  std::uint8_t reads_asked_ = 0;
  std::uint8_t reads_answered_ = 0;
  std::uint32_t most_work_requests_ = 0;
  std::uint32_t largest_message_ = 0;
  std::uint32_t room_used_ = 0;
};

struct QueuePairSizes {
  std::uint32_t sends = 0;
  std::uint32_t receives = 0;
  std::uint32_t largest_inline = 0;  ///< wished
};

/// A reliable connection.
class QueuePair {
 public:
  /// In the state in which it takes receives; nothing arrives before `connect`.
  [[nodiscard]] static Result<std::unique_ptr<QueuePair>> make(Device& device,
                                                               const QueuePairSizes& sizes);
  ~QueuePair();
  QueuePair(const QueuePair&) = delete;
  QueuePair& operator=(const QueuePair&) = delete;

  struct Patience {
    std::uint8_t timeout_exponent = 0;
    std::uint8_t retries = 0;
  };
  [[nodiscard]] Result<> connect(const QueuePairAddress& there, std::uint32_t first_packet,
                                 const Patience& patience);
  [[nodiscard]] ibv_qp* get() const { return pair_; }
  [[nodiscard]] std::uint32_t largest_inline() const { return largest_inline_; }
  /// It fails from now on: what was posted comes back as flushed.
  void fail();

 private:
  QueuePair(Device& device, ibv_qp* pair, std::uint32_t largest_inline, std::uint32_t completions)
      : device_(device), pair_(pair), largest_inline_(largest_inline), completions_(completions) {}

  Device& device_;
  ibv_qp* pair_;
  std::uint32_t largest_inline_;
  std::uint32_t completions_;  ///< that it may have in the queue
};

}  // namespace ferry::verbs
