#include <fmt/format.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "hw_backend/host/link_messages.hpp"

namespace ferry::host {
namespace {

constexpr std::uint32_t first_sequence = 1;
/// A link with 127 functions has about 40 KB, with the statistics of each.
constexpr std::size_t largest_answer = std::size_t{1} << 20U;

class Socket {
 public:
  Socket() : number_(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)) {
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    setsockopt(number_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  ~Socket() {
    if (number_ >= 0) close(number_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  /// errno if it cannot be asked, or what the kernel answers.
  LinkAnswer ask(const std::vector<std::byte>& message, std::uint32_t sequence) const {
    LinkAnswer answer;
    if (send(number_, message.data(), message.size(), 0) < 0) {
      answer.error = errno;
      return answer;
    }
    std::vector<std::byte> datagram(largest_answer);
    while (!answer.complete) {
      const ssize_t got = recv(number_, datagram.data(), datagram.size(), 0);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) {
        answer.error = errno == EAGAIN ? ETIMEDOUT : errno;
        return answer;
      }
      answer = read_link_answer(std::span(datagram).first(static_cast<std::size_t>(got)), sequence);
    }
    return answer;
  }

 private:
  int number_;
};

}  // namespace

Result<std::vector<LinkFunction>> KernelLinks::functions_of(const std::string& interface) {
  LinkAnswer answer = Socket().ask(link_question(interface, first_sequence), first_sequence);
  if (answer.error == 0) return std::move(answer.functions);
  return failure(FailureKind::failed, fmt::format("interface {} does not tell its functions: {}",
                                                  interface, std::strerror(answer.error)));
}

Result<> KernelLinks::change(const std::string& interface, const LinkFunction& change) {
  const Socket socket;
  std::uint32_t sequence = first_sequence;
  const unsigned index = if_nametoindex(interface.c_str());
  if (index == 0) {
    return failure(FailureKind::refused, fmt::format("there is no interface {}", interface));
  }
  for (const auto& message : link_changes(index, change, sequence)) {
    const LinkAnswer answer = socket.ask(message, sequence++);
    if (answer.error == 0) continue;
    return failure(FailureKind::failed,
                   fmt::format("interface {} refuses a change of its function {}: {}", interface,
                               change.index, std::strerror(answer.error)));
  }
  return {};
}

}  // namespace ferry::host
