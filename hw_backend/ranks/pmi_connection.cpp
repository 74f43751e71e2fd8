#include "hw_backend/ranks/pmi_connection.hpp"

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace ferry::ranks {

PmiConnection::~PmiConnection() {
  if (file_ >= 0) close(file_);
}

PmiConnection::PmiConnection(PmiConnection&& other) noexcept
    : file_(std::exchange(other.file_, -1)), read_(std::move(other.read_)) {}

Result<> PmiConnection::tell(const PmiMessage& message) {
  const std::string line = to_line(message);
  std::size_t written = 0;
  while (written < line.size()) {
    // A stream of any kind; a launcher that is gone must not end this process by SIGPIPE.
    ssize_t count = send(file_, line.data() + written, line.size() - written, MSG_NOSIGNAL);
    if (count < 0 && errno == ENOTSOCK) {
      count = write(file_, line.data() + written, line.size() - written);
    }
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      return failure(FailureKind::lost, fmt::format("PMI: {} could not be sent to the launcher: {}",
                                                    message.command, std::strerror(errno)));
    }
    written += static_cast<std::size_t>(count);
  }
  return {};
}

Result<PmiMessage> PmiConnection::read() {
  std::size_t end = read_.find('\n');
  while (end == std::string::npos) {
    if (read_.size() > longest_pmi_line) {
      return failure(FailureKind::failed, "PMI: the launcher sends a line without an end");
    }
    std::array<char, 1024> part;
    const ssize_t count = ::read(file_, part.data(), part.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      return failure(FailureKind::lost,
                     fmt::format("PMI: the launcher is gone{}",
                                 count < 0 ? fmt::format(" ({})", std::strerror(errno)) : ""));
    }
    read_.append(part.data(), static_cast<std::size_t>(count));
    end = read_.find('\n');
  }
  const std::string line = read_.substr(0, end);
  read_.erase(0, end + 1);
  std::optional<PmiMessage> message = parse_pmi(line);
  if (!message) {
    return failure(FailureKind::failed,
                   fmt::format("PMI: the launcher says '{}', which is no message of PMI-1",
                               line.substr(0, 80)));
  }
  return std::move(*message);
}

Result<PmiMessage> PmiConnection::ask(const PmiMessage& question, std::string_view answer) {
  if (Result<> told = tell(question); !told) return tl::unexpected<Failure>(told.error());
  Result<PmiMessage> message = read();
  if (!message) return message;
  if (message->command != answer) {
    return failure(FailureKind::failed,
                   fmt::format("PMI: the launcher answers {} with {}, not with {}",
                               question.command, message->command, answer));
  }
  if (message->find("rc") && message->number("rc") != 0) {
    return failure(FailureKind::failed,
                   fmt::format("PMI: the launcher refuses {}: {}", question.command,
                               message->find("msg").value_or(*message->find("rc"))));
  }
  return message;
}

Result<PmiConnection> connect_to_pmi(const std::string& address, int id, std::optional<int>& rank,
                                     std::optional<int>& size) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos) {
    return failure(FailureKind::failed,
                   fmt::format("PMI: PMI_PORT is '{}'; HOST:PORT would be right", address));
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(address.substr(0, colon).c_str(), address.substr(colon + 1).c_str(),
                                &hints, &found);
  if (error != 0) {
    return failure(FailureKind::lost,
                   fmt::format("PMI: {} is not known: {}", address, gai_strerror(error)));
  }
  int file = -1;
  for (const addrinfo* one = found; one != nullptr && file < 0; one = one->ai_next) {
    file = socket(one->ai_family, one->ai_socktype | SOCK_CLOEXEC, one->ai_protocol);
    if (file >= 0 && connect(file, one->ai_addr, one->ai_addrlen) != 0) {
      close(std::exchange(file, -1));
    }
  }
  freeaddrinfo(found);
  if (file < 0) {
    return failure(FailureKind::lost, fmt::format("PMI: the launcher at {} does not answer: {}",
                                                  address, std::strerror(errno)));
  }
  PmiConnection connection(file);
  const auto known = connection.ask({"initack", {{"pmiid", fmt::to_string(id)}}}, "initack");
  if (!known) return tl::unexpected<Failure>(known.error());
  // Then it sets what others have in their environment: size, rank, debug.
  for (int i = 0; i < 3; ++i) {
    const auto set = connection.read();
    if (!set) return tl::unexpected<Failure>(set.error());
    if (set->command != "set") {
      return failure(FailureKind::failed,
                     fmt::format("PMI: the launcher says {} in place of set", set->command));
    }
    if (const auto value = set->number("size")) size = value;
    if (const auto value = set->number("rank")) rank = value;
  }
  return connection;
}

}  // namespace ferry::ranks
