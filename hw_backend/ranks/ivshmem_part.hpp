// A rank's part in the memory that its machine shares with others of its host.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/ports/result.hpp"
#include "core/ports/types.hpp"
#include "core/ports/wait_set.hpp"
#include "hw_backend/ranks/joined_endpoint.hpp"
#include "hw_backend/shm/shm_endpoint.hpp"

namespace ferry::ranks {

/// Open or closed: closed before the device is unplugged, opened again when there is one.
class IvshmemPart {
 public:
  struct Job {
    std::string id;
    std::uint32_t ranks = 1;
    RankId rank;
  };
  /// `part`: its file is where the memory is; empty: looked for each time, as the device may have
  /// another address after a move. What is given outlives it.
  IvshmemPart(Job job, shm::DevicePart part, shm::ShmWaiting& wait_set, JoinedEndpoint& joined);
  ~IvshmemPart();
  IvshmemPart(const IvshmemPart&) = delete;
  IvshmemPart& operator=(const IvshmemPart&) = delete;

  /// Of the part's memory as it is now; nothing if there is none.
  [[nodiscard]] static Bytes size_of(const shm::DevicePart& part);
  /// Maps it and lets others know that this rank is here. Nothing happens if it is open. Blocks
  /// while another machine lays it out, and up to `for_device` until it is there: a hypervisor has
  /// plugged the device in before the guest's kernel has found it. `refused`: there is none, or it
  /// cannot be used.
  Result<> open(Duration for_device = Duration::milliseconds(30'000));
  /// Unmaps it; others will wait for this rank. Nothing happens if it is closed.
  void close();
  [[nodiscard]] bool is_open() const { return endpoint_ != nullptr; }
  /// Ranks that are here now, in their order: those on this host. Only while it is open.
  [[nodiscard]] std::vector<RankId> here() const;

 private:
  /// The file of the memory.
  [[nodiscard]] Result<std::string> await_memory(Duration for_device) const;

  Job job_;
  shm::DevicePart part_;
  shm::ShmWaiting& wait_set_;
  JoinedEndpoint& joined_;
  std::shared_ptr<shm::Region> region_;
  std::unique_ptr<shm::ShmEndpoint> endpoint_;
};

}  // namespace ferry::ranks
