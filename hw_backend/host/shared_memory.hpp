// IVShmem and ranks' memory that nobody needs any more, in /dev/shm.
#pragma once

#include <string>
#include <vector>

#include "hw_backend/host/processes.hpp"
#include "hw_backend/host/report.hpp"
#include "hw_backend/host/tree.hpp"

namespace ferry::host {

/// Files in /dev/shm that have the layout of Ferry's ranks, that a domain of libvirt has as
/// `<shmem>`, or that are `named`; those of others are left out. Each says why it must stay: it is
/// mapped or open in a process, a running domain or a process's arguments name it, or that cannot
/// be known. Whatever cannot be read counts as a reason to stay.
[[nodiscard]] std::vector<SharedMemory> look_at_shared_memory(
    const Tree& tree, const Processes& processes, const std::vector<std::string>& named);

/// Removes it if still nobody has it: the kernel lends it to nobody else meanwhile (a lease for
/// writing, fcntl(2), is refused while any process, in whatever namespace, has the file open or
/// mapped), and it has no name any more when the lease ends. Refused, and nothing has changed, with
/// the reason why it must stay. SIGIO is ignored from then on.
[[nodiscard]] Result<> remove_shared_memory(const Tree& tree, const SharedMemory& file);

}  // namespace ferry::host
