#include "hw_backend/agent/agent_channel.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace ferry::agent {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t most_waiting = std::size_t{8} << 20U;
constexpr std::chrono::seconds torn_after{2};
constexpr std::chrono::milliseconds quiet_time{100};

}  // namespace

FramedStream::State FramedStream::read(int file) {
  std::array<std::byte, 65536> bytes;
  for (;;) {
    const ssize_t count = ::read(file, bytes.data(), bytes.size());
    if (count > 0) {
      read_at_ = steady_clock::now();
      reader_.take(std::span(bytes).first(static_cast<std::size_t>(count)));
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return State::open;
    return State::closed;
  }
}

FramedStream::State FramedStream::write(int file) {
  while (written_ < output_.size()) {
    const std::byte* const from = output_.data() + written_;
    const std::size_t size = output_.size() - written_;
    // A socket whose other side is gone must not end the process; a port is none.
    ssize_t count = ::send(file, from, size, MSG_NOSIGNAL);
    if (count < 0 && errno == ENOTSOCK) count = ::write(file, from, size);
    if (count > 0) {
      written_ += static_cast<std::size_t>(count);
      continue;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return State::open;
    return State::closed;
  }
  output_.clear();
  written_ = 0;
  return State::open;
}

bool FramedStream::send(std::span<const std::byte> message) {
  if (output_.size() - written_ + message.size() > most_waiting) return false;
  const std::vector<std::byte> frame = make_frame(message);
  output_.erase(output_.begin(), output_.begin() + static_cast<std::ptrdiff_t>(written_));
  written_ = 0;
  output_.insert(output_.end(), frame.begin(), frame.end());
  return true;
}

void FramedStream::look_behind_torn() {
  if (!reader_.waits() || steady_clock::now() - read_at_ < torn_after) return;
  while (reader_.waits()) reader_.give_up();
}

void FramedStream::reset() {
  reader_.reset();
  output_.clear();
  written_ = 0;
}

AgentChannel::AgentChannel(std::string where)
    : where_(std::move(where)), is_socket_(where_.rfind("unix:", 0) == 0) {
  if (is_socket_) where_.erase(0, 5);
}

AgentChannel::~AgentChannel() {
  if (file_ >= 0) ::close(file_);
  if (listener_ >= 0) ::close(listener_);
}

std::optional<std::string> AgentChannel::open() {
  if (is_socket_ ? listener_ >= 0 : file_ >= 0) return std::nullopt;
  if (!is_socket_) {
    file_ = ::open(where_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (file_ >= 0) return std::nullopt;
    return where_ + " cannot be opened: " + std::strerror(errno);
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (where_.size() >= sizeof address.sun_path) return where_ + " is too long for a socket";
  std::copy(where_.begin(), where_.end(), address.sun_path);
  listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  ::unlink(where_.c_str());
  const mode_t mask = ::umask(0177);
  const bool bound = listener_ >= 0 &&
                     bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                     listen(listener_, 4) == 0;
  ::umask(mask);
  if (bound) return std::nullopt;
  const std::string why = std::strerror(errno);
  if (listener_ >= 0) ::close(listener_);
  listener_ = -1;
  return where_ + " cannot be listened at: " + why;
}

int AgentChannel::stream() const { return steady_clock::now() < quiet_until_ ? -1 : file_; }

void AgentChannel::on_listener() {
  const int accepted = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (accepted < 0) return;
  drop_stream();
  file_ = accepted;
}

void AgentChannel::drop_stream() {
  stream_.reset();
  if (file_ >= 0) ::close(file_);
  file_ = -1;
}

void AgentChannel::on_stream(short events) {
  if (file_ < 0) return;
  FramedStream::State state = FramedStream::State::open;
  if ((events & POLLIN) != 0) state = stream_.read(file_);
  if (state == FramedStream::State::open && (events & POLLOUT) != 0) state = stream_.write(file_);
  const bool closed =
      state == FramedStream::State::closed || (events & (POLLHUP | POLLERR | POLLNVAL)) != 0;
  if (!closed) return;
  if (is_socket_) return drop_stream();
  // Nobody has the port open on the host. It stays open here, unless it has gone itself.
  stream_.reset();
  quiet_until_ = steady_clock::now() + quiet_time;
  if ((events & (POLLERR | POLLNVAL)) != 0) drop_stream();
}

bool AgentChannel::send(std::span<const std::byte> message) {
  if (file_ < 0 || !stream_.send(message)) return false;
  if (stream_.write(file_) == FramedStream::State::closed) stream_.reset();
  return true;
}

std::optional<std::vector<std::byte>> AgentChannel::next() {
  stream_.look_behind_torn();
  return stream_.next();
}

}  // namespace ferry::agent
