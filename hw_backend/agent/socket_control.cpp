#include "hw_backend/agent/socket_control.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "core/ports/world_error.hpp"

namespace ferry::agent {
namespace {

constexpr int between_tries = 50;  ///< ms
constexpr int look_around = 500;   ///< ms

struct Address {
  sockaddr_un value{};
  explicit Address(const std::string& path) {
    value.sun_family = AF_UNIX;
    if (path.size() >= sizeof value.sun_path) {
      throw WorldError(path + " is too long for a Unix socket; give a shorter path");
    }
    std::copy(path.begin(), path.end(), value.sun_path);
  }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&value); }
};

}  // namespace

SocketControl::SocketControl(Executor& executor, std::function<int()> open)
    : open_(std::move(open)), inbox_(executor), wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  thread_ = std::thread([this] { serve(); });
}

SocketControl::~SocketControl() {
  stopping_.store(true);
  wake();
  thread_.join();
  ::close(wake_);
}

void SocketControl::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(wake_, &one, sizeof one);
}

bool SocketControl::send(std::span<const std::byte> message) {
  if (message.empty() || message.size() > largest_control_message) return false;
  {
    const std::lock_guard guard(mutex_);
    if (!is_open_ || !stream_.send(message)) return false;
  }
  wake();
  return true;
}

void SocketControl::serve() {
  while (!stopping_.load()) {
    const int file = open_();
    if (file >= 0) {
      serve_stream(file);
      ::close(file);
      continue;
    }
    pollfd waiting{wake_, POLLIN, 0};
    poll(&waiting, 1, between_tries);
  }
}

void SocketControl::serve_stream(int file) {
  {
    const std::lock_guard guard(mutex_);
    stream_.reset();
    is_open_ = true;
  }
  inbox_.opened();
  bool open = true;
  while (open && !stopping_.load()) {
    std::array<pollfd, 2> files = {pollfd{wake_, POLLIN, 0}, pollfd{file, POLLIN, 0}};
    {
      const std::lock_guard guard(mutex_);
      if (stream_.has_output()) files[1].events |= POLLOUT;
    }
    poll(files.data(), files.size(), look_around);
    std::uint64_t count = 0;
    if (files[0].revents != 0) {
      [[maybe_unused]] const ssize_t woken = ::read(wake_, &count, sizeof count);
    }
    std::vector<std::vector<std::byte>> received;
    {
      const std::lock_guard guard(mutex_);
      if ((files[1].revents & POLLIN) != 0) {
        open = stream_.read(file) == FramedStream::State::open;
      }
      if (open && (files[1].revents & (POLLHUP | POLLERR)) != 0) open = false;
      if (open) open = stream_.write(file) == FramedStream::State::open;
      stream_.look_behind_torn();
      while (auto message = stream_.next()) received.push_back(std::move(*message));
    }
    for (std::vector<std::byte>& message : received) {
      if (!message.empty()) (void)inbox_.put(std::move(message));
    }
  }
  const std::lock_guard guard(mutex_);
  is_open_ = false;
}

std::function<int()> connecting_to(std::string path) {
  return [path = std::move(path)] {
    const Address address(path);
    const int file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (file < 0) return -1;
    if (connect(file, address.get(), sizeof address.value) == 0) return file;
    ::close(file);
    return -1;
  };
}

std::function<int()> listening_at(std::string path) {
  const Address address(path);
  ::unlink(path.c_str());
  const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0 || bind(listener, address.get(), sizeof address.value) != 0 ||
      listen(listener, 4) != 0) {
    throw WorldError(path + " cannot be listened at");
  }
  const std::shared_ptr<void> closing(nullptr, [listener, path = std::move(path)](void*) {
    ::unlink(path.c_str());
    ::close(listener);
  });
  return [listener, closing] {
    return accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  };
}

}  // namespace ferry::agent
