#include "hw_backend/verbs/device.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/units/check.hpp"

namespace ferry::verbs {
namespace {

constexpr std::uint32_t first_completions = 1024;

std::string memlock_limit() {
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  return limit.rlim_cur == RLIM_INFINITY ? "unlimited" : fmt::format("{} B", limit.rlim_cur);
}

tl::unexpected<Failure> refused(std::string_view call, int number) {
  return failure(FailureKind::refused, verbs_error(call, number));
}

}  // namespace

std::string verbs_error(std::string_view call, int number) {
  const std::string why = fmt::format("{} failed: {}", call, std::strerror(number));
  if (number != ENOMEM && number != EPERM) return why;
  return fmt::format(
      "{}; memory that may be locked is limited to {}: raise it (`ulimit -l unlimited`, memlock in "
      "/etc/security/limits.conf, LimitMEMLOCK= of the service)",
      why, memlock_limit());
}

Result<std::unique_ptr<Device>> Device::open(const UsablePort& port) {
  std::unique_ptr<Device> device(new Device(port));
  int count = 0;
  ibv_device** const list = ibv_get_device_list(&count);
  if (list == nullptr) return refused("ibv_get_device_list", errno);
  int error = ENODEV;
  for (int i = 0; i < count && device->context_ == nullptr; ++i) {
    if (port.device != ibv_get_device_name(list[i])) continue;
    device->context_ = ibv_open_device(list[i]);
    error = errno;
  }
  ibv_free_device_list(list);
  if (device->context_ == nullptr) {
    return failure(
        FailureKind::failed,
        fmt::format("RDMA device {} cannot be opened: {}{}", port.device, std::strerror(error),
                    error == ENODEV ? "; is its driver for user programs installed (Debian: "
                                      "ibverbs-providers), and the module ib_uverbs loaded?"
                                    : ""));
  }
  if (const Result<> made = device->set_up(); !made) return tl::unexpected(made.error());
  return device;
}

Result<> Device::set_up() {
  ibv_port_attr port{};
  if (const int error = ibv_query_port(context_, port_.port, &port); error != 0) {
    return refused("ibv_query_port", error);
  }
  ibv_device_attr facts{};
  if (const int error = ibv_query_device(context_, &facts); error != 0) {
    return refused("ibv_query_device", error);
  }
  path_mtu_ = static_cast<std::uint8_t>(port.active_mtu);
  port_.lid = port.lid;
  most_work_requests_ = static_cast<std::uint32_t>(facts.max_qp_wr);
  largest_message_ = port.max_msg_sz;
  reads_asked_ = static_cast<std::uint8_t>(std::clamp(facts.max_qp_init_rd_atom, 1, 16));
  reads_answered_ = static_cast<std::uint8_t>(std::clamp(facts.max_qp_rd_atom, 1, 16));
  domain_ = ibv_alloc_pd(context_);
  if (domain_ == nullptr) return refused("ibv_alloc_pd", errno);
  events_ = ibv_create_comp_channel(context_);
  if (events_ == nullptr) return refused("ibv_create_comp_channel", errno);
  fcntl(events_->fd, F_SETFL, fcntl(events_->fd, F_GETFL) | O_NONBLOCK);
  const int most = std::min<int>(first_completions, facts.max_cqe);
  completions_ = ibv_create_cq(context_, most, nullptr, events_, 0);
  if (completions_ == nullptr) return refused("ibv_create_cq", errno);
  return {};
}

Device::~Device() {
  // What is not freed keeps the device from being unplugged: an error here is ours.
  if (completions_ != nullptr) {
    check(ibv_destroy_cq(completions_) == 0, "no queue pair is left when a device is closed");
  }
  if (events_ != nullptr) ibv_destroy_comp_channel(events_);
  if (domain_ != nullptr) {
    check(ibv_dealloc_pd(domain_) == 0, "no memory is registered when a device is closed");
  }
  if (context_ != nullptr) ibv_close_device(context_);
}

Result<> Device::want_room(std::uint32_t completions) {
  const std::uint32_t needed = room_used_ + completions;
  if (needed > static_cast<std::uint32_t>(completions_->cqe)) {
    const int error = ibv_resize_cq(completions_, static_cast<int>(2 * needed));
    if (error != 0 && ibv_resize_cq(completions_, static_cast<int>(needed)) != 0) {
      return failure(
          FailureKind::refused,
          fmt::format("RDMA device {} has no completion queue for another connection ({} entries): "
                      "talk to fewer ranks, or with a smaller window",
                      port_.device, needed));
    }
  }
  room_used_ = needed;
  return {};
}

Result<Registration> Device::add(std::uintptr_t begin, std::uintptr_t end, bool writable) {
  auto* const memory = reinterpret_cast<void*>(begin);
  constexpr int reading = IBV_ACCESS_REMOTE_READ;
  constexpr int all = reading | IBV_ACCESS_LOCAL_WRITE;
  // Also what is only read is better registered for all uses, unless it cannot be written.
  ibv_mr* region = ibv_reg_mr(domain_, memory, end - begin, all);
  const bool for_writing = region != nullptr;
  if (region == nullptr && !writable) region = ibv_reg_mr(domain_, memory, end - begin, reading);
  if (region == nullptr) {
    const int error = errno;
    return failure(FailureKind::refused,
                   fmt::format("{} bytes of memory cannot be registered: {}", end - begin,
                               verbs_error("ibv_reg_mr", error)));
  }
  return Registration{.begin = begin,
                      .end = end,
                      .local_key = region->lkey,
                      .remote_key = region->rkey,
                      .writable = for_writing,
                      .handle = region};
}

void Device::remove(const Registration& registration) {
  ibv_dereg_mr(static_cast<ibv_mr*>(registration.handle));
}

Result<std::unique_ptr<QueuePair>> QueuePair::make(Device& device, const QueuePairSizes& sizes) {
  const std::uint32_t completions = sizes.sends + sizes.receives;
  if (const Result<> room = device.want_room(completions); !room) {
    return tl::unexpected(room.error());
  }
  ibv_qp_init_attr wanted{};
  wanted.send_cq = device.completions();
  wanted.recv_cq = device.completions();
  wanted.qp_type = IBV_QPT_RC;
  wanted.cap.max_send_wr = sizes.sends;
  wanted.cap.max_recv_wr = sizes.receives;
  wanted.cap.max_send_sge = 1;
  wanted.cap.max_recv_sge = 1;
  wanted.cap.max_inline_data = sizes.largest_inline;
  ibv_qp* made = ibv_create_qp(device.domain(), &wanted);
  if (made == nullptr) {
    wanted.cap.max_inline_data = 0;
    made = ibv_create_qp(device.domain(), &wanted);
  }
  if (made == nullptr) {
    const int error = errno;
    device.give_room(completions);
    return refused("ibv_create_qp", error);
  }
  std::unique_ptr<QueuePair> pair(
      new QueuePair(device, made, wanted.cap.max_inline_data, completions));
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.port_num = device.port().port;
  attributes.pkey_index = device.port().partition_key_index;
  attributes.qp_access_flags = IBV_ACCESS_REMOTE_READ;
  const int error = ibv_modify_qp(
      made, &attributes, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  if (error != 0) return refused("ibv_modify_qp to INIT", error);
  return pair;
}

QueuePair::~QueuePair() {
  check(ibv_destroy_qp(pair_) == 0, "a queue pair can be destroyed");
  device_.give_room(completions_);
}

Result<> QueuePair::connect(const QueuePairAddress& there, std::uint32_t first_packet,
                            const Patience& patience) {
  const UsablePort& port = device_.port();
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_RTR;
  attributes.path_mtu = static_cast<ibv_mtu>(std::min(device_.path_mtu(), there.path_mtu));
  attributes.dest_qp_num = there.number;
  attributes.rq_psn = there.first_packet;
  attributes.max_dest_rd_atomic = device_.reads_answered();
  attributes.min_rnr_timer = 12;  // 0.64 ms: a window that is not exceeded needs none
  ibv_ah_attr& path = attributes.ah_attr;
  path.dlid = there.lid;
  path.port_num = port.port;
  path.is_global = port.link_layer == LinkLayer::ethernet ? 1 : 0;
  if (path.is_global != 0) {
    static_assert(sizeof path.grh.dgid == sizeof there.gid);
    std::memcpy(&path.grh.dgid, there.gid.data(), there.gid.size());
    path.grh.sgid_index = port.gid_index;
    path.grh.hop_limit = 64;
  }
  int error = ibv_modify_qp(pair_, &attributes,
                            IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                                IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
  if (error != 0) return refused("ibv_modify_qp to RTR", error);
  attributes.qp_state = IBV_QPS_RTS;
  attributes.timeout = patience.timeout_exponent;
  attributes.retry_cnt = patience.retries;
  attributes.rnr_retry = 7;  // for ever
  attributes.sq_psn = first_packet;
  attributes.max_rd_atomic = std::min(device_.reads_asked(), there.reads);
  error = ibv_modify_qp(pair_, &attributes,
                        IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                            IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
  if (error != 0) return refused("ibv_modify_qp to RTS", error);
  return {};
}

void QueuePair::fail() {
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_ERR;
  static_cast<void>(ibv_modify_qp(pair_, &attributes, IBV_QP_STATE));
}

}  // namespace ferry::verbs
