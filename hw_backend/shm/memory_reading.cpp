#include "hw_backend/shm/memory_reading.hpp"

#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace ferry::shm {
namespace {

bool try_to_be_read() {
  static const std::uint64_t secret = 0x5ec2'e75e'c2e7'0001;
  const pid_t reader_of = getpid();
  // vfork: cheap, and the child does nothing but this.
  const pid_t child = vfork();
  if (child < 0) return false;
  if (child == 0) {
    std::uint64_t seen = 0;
    iovec local{&seen, sizeof seen};
    iovec remote{const_cast<std::uint64_t*>(&secret), sizeof secret};
    const bool works = process_vm_readv(reader_of, &local, 1, &remote, 1, 0) == sizeof seen;
    _exit(works && seen == secret ? 0 : 1);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// A place in a list of pieces.
template <class Piece>
class Cursor {
 public:
  Cursor(std::span<const Piece> pieces, std::size_t offset) : pieces_(pieces) { advance(offset); }
  [[nodiscard]] bool at_end() const { return index_ == pieces_.size(); }
  [[nodiscard]] auto* data() const { return pieces_[index_].data + within_; }
  [[nodiscard]] std::size_t left() const { return pieces_[index_].size - within_; }
  void advance(std::size_t count) {
    while (index_ < pieces_.size() && count >= pieces_[index_].size - within_) {
      count -= pieces_[index_].size - within_;
      within_ = 0;
      ++index_;
    }
    if (index_ < pieces_.size()) within_ += count;
  }
  /// Up to `count` vectors from here on, of at most `most` bytes together.
  std::size_t vectors(std::span<iovec> vectors, std::size_t most) const {
    Cursor at = *this;
    std::size_t used = 0;
    while (used < vectors.size() && !at.at_end() && most != 0) {
      const std::size_t part = std::min(at.left(), most);
      vectors[used++] = {const_cast<std::byte*>(at.data()), part};
      at.advance(part);
      most -= part;
    }
    return used;
  }

 private:
  std::span<const Piece> pieces_;
  std::size_t index_ = 0;
  std::size_t within_ = 0;
};

template <class Piece>
std::size_t total(std::span<const Piece> pieces) {
  std::size_t size = 0;
  for (const Piece& piece : pieces) size += piece.size;
  return size;
}

template <class Piece>
bool is_phantom(std::span<const Piece> pieces) {
  return std::any_of(pieces.begin(), pieces.end(),
                     [](const Piece& piece) { return piece.data == nullptr && piece.size != 0; });
}

}  // namespace

void let_others_read_this_process() {
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);  // fails where there is no Yama: not needed
}

bool processes_can_read_each_other() {
  static const bool can = try_to_be_read();
  return can;
}

bool read_memory(std::int32_t process, std::span<const ConstSlice> from, std::size_t offset,
                 std::span<const Slice> into) {
  if (total(into) > total(from) - std::min(offset, total(from))) return false;
  if (is_phantom(from) || is_phantom(into)) return true;
  Cursor<ConstSlice> remote(from, offset);
  Cursor<Slice> local(into, 0);
  std::array<iovec, 64> remote_vectors;
  std::array<iovec, 64> local_vectors;
  for (std::size_t left = total(into); left != 0;) {
    const std::size_t remote_count = remote.vectors(remote_vectors, left);
    const std::size_t local_count = local.vectors(local_vectors, left);
    const ssize_t read = process_vm_readv(process, local_vectors.data(), local_count,
                                          remote_vectors.data(), remote_count, 0);
    if (read < 0 && errno == EINTR) continue;
    if (read <= 0) return false;
    remote.advance(static_cast<std::size_t>(read));
    local.advance(static_cast<std::size_t>(read));
    left -= static_cast<std::size_t>(read);
  }
  return true;
}

bool copy_memory(std::span<const ConstSlice> from, std::size_t offset,
                 std::span<const Slice> into) {
  if (total(into) > total(from) - std::min(offset, total(from))) return false;
  if (is_phantom(from) || is_phantom(into)) return true;
  Cursor<ConstSlice> remote(from, offset);
  Cursor<Slice> local(into, 0);
  for (std::size_t left = total(into); left != 0;) {
    const std::size_t part = std::min(remote.left(), local.left());
    std::memcpy(local.data(), remote.data(), part);
    remote.advance(part);
    local.advance(part);
    left -= part;
  }
  return true;
}

}  // namespace ferry::shm
