#include "hw_backend/bootstrap/tcp_bootstrap.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <thread>
#include <utility>

#include "core/units/check.hpp"
#include "hw_backend/bootstrap/mailbox.hpp"
#include "hw_backend/bootstrap/tcp_frames.hpp"

namespace ferry {
namespace {

using std::chrono::steady_clock;

/// Bytes that may wait for one rank; what is sent beyond them is lost.
constexpr std::size_t most_queued = 1U << 20U;
/// A question that has no answer is asked again: it, or its answer, may be lost, and what it asks
/// for may not be there yet.
constexpr std::chrono::milliseconds ask_again_after(50);
/// Without a word from the other machine a connection is taken for broken.
constexpr unsigned silence_milliseconds = 10'000;
constexpr std::size_t most_accepted = 65'536;

std::string system_says() { return std::strerror(errno); }

class Socket {
 public:
  Socket() = default;
  explicit Socket(int number) : number_(number) {}
  ~Socket() { close(); }
  Socket(Socket&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  [[nodiscard]] int number() const { return number_; }
  [[nodiscard]] bool is_open() const { return number_ >= 0; }
  void close() {
    if (number_ >= 0) ::close(number_);
    number_ = -1;
  }

 private:
  int number_ = -1;
};

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

Result<SocketAddress> parse_address(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;  // never blocks
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) {
    return failure(FailureKind::refused,
                   fmt::format("'{}' with port '{}' is no numeric address: {}", host, port,
                               gai_strerror(error)));
  }
  SocketAddress address;
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  address.size = found->ai_addrlen;
  freeaddrinfo(found);
  return address;
}

/// `HOST:PORT`, the host of IPv6 in brackets or not.
Result<SocketAddress> parse_address(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) {
    return failure(FailureKind::refused, fmt::format("'{}' is not HOST:PORT", text));
  }
  std::string host = text.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  return parse_address(host, text.substr(colon + 1));
}

void set_up(int socket) {
  const int yes = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
  const int seconds = static_cast<int>(silence_milliseconds / 3000);
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
  setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
  setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_milliseconds,
             sizeof silence_milliseconds);
}

}  // namespace

/// Everything but the mailbox is under one mutex; the thread sleeps in poll without it.
class TcpBootstrap::Loop {
 public:
  Loop(RankId rank, std::uint32_t size, const TcpBootstrapSettings& settings, Socket listening,
       std::string address)
      : rank_(rank),
        size_(size),
        settings_(settings),
        listening_(std::move(listening)),
        address_(std::move(address)),
        bell_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    check(bell_.is_open(), "an eventfd can be made");
  }
  ~Loop() {
    {
      const std::lock_guard guard(mutex_);
      stopped_ = true;
    }
    ring();
    if (thread_.joinable()) thread_.join();
  }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void start(AddressOf address_of) {
    check(!thread_.joinable(), "a bootstrap is started once");
    address_of_ = std::move(address_of);
    thread_ = std::thread([this] { run(); });
  }
  void publish(std::string key, std::string value) {
    check(key.size() <= longest_key && value.size() <= largest_bootstrap_message,
          "what is published is small");
    const std::lock_guard guard(mutex_);
    values_[std::move(key)] = std::move(value);
  }
  [[nodiscard]] Result<std::string> lookup(RankId of, std::string_view key, Duration patience);
  void send(RankId to, const Frame& frame);
  void break_connections() {
    const std::lock_guard guard(mutex_);
    for (auto& [rank, link] : links_) break_link(link, "broken by a test");
    accepted_.clear();
    ring();
  }

  const RankId rank_;
  const std::uint32_t size_;
  Mailbox mailbox_;

  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  /// To one rank, for what this one has to say; what that one says comes by its own.
  struct Link {
    Socket socket;
    bool connected = false;
    std::deque<std::vector<std::byte>> frames;
    std::size_t queued = 0;        ///< bytes of them
    std::size_t written = 0;       ///< of the first one
    std::vector<std::byte> hello;  ///< still to be written, first of all
    Duration retry_after;
    steady_clock::time_point next_try;
    std::string problem;
  };
  struct Accepted {
    Socket socket;
    FrameReader reader;
    std::optional<RankId> from;
  };
  struct Question {
    std::optional<std::string> answer;
  };

  void run();
  void ring() {
    const std::uint64_t one = 1;
    static_cast<void>(!write(bell_.number(), &one, sizeof one));
  }
  void break_link(Link& link, std::string why);
  void connect_link(RankId to, Link& link, std::unique_lock<std::mutex>& lock);
  void write_link(Link& link);
  void accept_all();
  [[nodiscard]] bool read_accepted(Accepted& accepted);
  [[nodiscard]] bool obey(Accepted& accepted, Frame frame);
  void queue(RankId to, const Frame& frame);

  TcpBootstrapSettings settings_;
  Socket listening_;
  std::string address_;
  Socket bell_;
  AddressOf address_of_;
  std::thread thread_;

  std::mutex mutex_;
  bool stopped_ = false;
  std::map<RankId, Link> links_;
  std::vector<Accepted> accepted_;
  std::map<std::string, std::string> values_;
  std::map<std::uint64_t, Question> questions_;
  std::uint64_t next_question_ = 1;
  std::condition_variable answered_;
};

Result<std::string> TcpBootstrap::Loop::lookup(RankId of, std::string_view key, Duration patience) {
  const auto end = steady_clock::now() + std::chrono::nanoseconds(patience.count_nanoseconds());
  std::unique_lock lock(mutex_);
  const std::uint64_t number = next_question_++;
  Question& question = questions_[number];
  while (!question.answer && steady_clock::now() < end) {
    if (of == rank_) {
      const auto found = values_.find(std::string(key));
      if (found != values_.end()) question.answer = found->second;
    } else {
      queue(of, AskFrame{number, std::string(key)});
    }
    const auto again =
        std::min<steady_clock::time_point>(end, steady_clock::now() + ask_again_after);
    answered_.wait_until(lock, again, [&] { return question.answer.has_value(); });
  }
  const std::optional<std::string> answer = std::move(question.answer);
  questions_.erase(number);
  if (answer) return *answer;
  const auto link = links_.find(of);
  const std::string problem = link == links_.end() ? "" : link->second.problem;
  return failure(FailureKind::timed_out,
                 fmt::format("rank {} has not published '{}' within {}{}{}", of.index, key,
                             to_text(patience), problem.empty() ? "" : "; ", problem));
}

void TcpBootstrap::Loop::send(RankId to, const Frame& frame) {
  if (to.index >= size_) return;
  const std::lock_guard guard(mutex_);
  queue(to, frame);
}

/// Under the mutex.
void TcpBootstrap::Loop::queue(RankId to, const Frame& frame) {
  Link& link = links_[to];
  std::vector<std::byte> bytes = encode(frame);
  if (link.queued + bytes.size() > most_queued) return;
  link.queued += bytes.size();
  link.frames.push_back(std::move(bytes));
  if (link.connected && link.frames.size() == 1) {
    write_link(link);  // it mostly fits: no need to wake the thread
    if (link.frames.empty()) return;
  }
  ring();
}

void TcpBootstrap::Loop::break_link(Link& link, std::string why) {
  link.socket.close();
  link.connected = false;
  link.written = 0;  // the other side has no use for half a frame
  link.problem = std::move(why);
  link.retry_after =
      std::clamp(link.retry_after + link.retry_after, settings_.first_retry, settings_.last_retry);
  link.next_try =
      steady_clock::now() + std::chrono::nanoseconds(link.retry_after.count_nanoseconds());
}

void TcpBootstrap::Loop::connect_link(RankId to, Link& link, std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  const Result<std::string> text = address_of_(to);  // it may take locks of its own
  lock.lock();
  if (!text) return break_link(link, text.error().reason);
  const Result<SocketAddress> address = parse_address(*text);
  if (!address) return break_link(link, address.error().reason);
  link.socket =
      Socket(socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!link.socket.is_open()) return break_link(link, "no socket can be made: " + system_says());
  set_up(link.socket.number());
  const auto* const where = reinterpret_cast<const sockaddr*>(&address->storage);
  if (connect(link.socket.number(), where, address->size) != 0 && errno != EINPROGRESS) {
    return break_link(
        link, fmt::format("rank {} at {} cannot be reached: {}", to.index, *text, system_says()));
  }
  link.hello = encode(HelloFrame{rank_.index, settings_.job});
  link.problem = fmt::format("rank {} at {} does not answer", to.index, *text);
}

/// Whatever goes without waiting; also finds out that a connection has been made, or has broken.
void TcpBootstrap::Loop::write_link(Link& link) {
  const auto write_some = [&link](const std::vector<std::byte>& bytes, std::size_t from) {
    return ::send(link.socket.number(), bytes.data() + from, bytes.size() - from, MSG_NOSIGNAL);
  };
  const auto failed = [&] {
    if (errno == EAGAIN || errno == EINTR || errno == ENOTCONN) return;
    break_link(link, "the connection broke: " + system_says());
  };
  while (!link.hello.empty()) {
    const ssize_t sent = write_some(link.hello, 0);
    if (sent < 0) return failed();
    link.hello.erase(link.hello.begin(), link.hello.begin() + sent);
    link.connected = true;
    link.retry_after = {};
    link.problem.clear();
  }
  while (!link.frames.empty()) {
    const ssize_t sent = write_some(link.frames.front(), link.written);
    if (sent < 0) return failed();
    link.written += static_cast<std::size_t>(sent);
    if (link.written < link.frames.front().size()) continue;
    link.queued -= link.frames.front().size();
    link.frames.pop_front();
    link.written = 0;
  }
}

void TcpBootstrap::Loop::accept_all() {
  for (;;) {
    Socket next(accept4(listening_.number(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!next.is_open()) return;
    if (accepted_.size() >= most_accepted) continue;
    set_up(next.number());
    accepted_.push_back({.socket = std::move(next), .reader = {}, .from = std::nullopt});
  }
}

/// False: that connection has ended.
bool TcpBootstrap::Loop::read_accepted(Accepted& accepted) {
  std::array<std::byte, 16'384> bytes;
  for (;;) {
    const ssize_t got = recv(accepted.socket.number(), bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno == EAGAIN;
    if (got == 0) return false;
    accepted.reader.add(std::span(bytes).first(static_cast<std::size_t>(got)));
    while (std::optional<Frame> frame = accepted.reader.next()) {
      if (!obey(accepted, std::move(*frame))) return false;
    }
    if (accepted.reader.broken()) return false;
  }
}

bool TcpBootstrap::Loop::obey(Accepted& accepted, Frame frame) {
  if (const auto* hello = std::get_if<HelloFrame>(&frame)) {
    if (accepted.from || hello->job != settings_.job || hello->rank >= size_) return false;
    accepted.from = RankId{hello->rank};
    // What an older connection still holds must not come after what this one brings.
    for (Accepted& other : accepted_) {
      if (&other != &accepted && other.from == accepted.from) other.socket.close();
    }
    return true;
  }
  if (!accepted.from) return false;
  if (auto* message = std::get_if<MessageFrame>(&frame)) {
    mailbox_.put(message->topic, {*accepted.from, std::move(message->bytes)});
  } else if (const auto* ask = std::get_if<AskFrame>(&frame)) {
    const auto found = values_.find(ask->key);
    if (found != values_.end()) queue(*accepted.from, AnswerFrame{ask->number, found->second});
  } else if (auto* answer = std::get_if<AnswerFrame>(&frame)) {
    const auto question = questions_.find(answer->number);
    if (question != questions_.end()) question->second.answer = std::move(answer->value);
    answered_.notify_all();
  }
  return true;
}

void TcpBootstrap::Loop::run() {
  std::vector<pollfd> files;
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    const steady_clock::time_point now = steady_clock::now();
    std::optional<steady_clock::time_point> next;
    // Only this thread adds to or removes from `accepted_`; `links_` never loses one.
    for (auto& [to, link] : links_) {
      if (link.frames.empty() || link.socket.is_open()) continue;
      if (link.next_try <= now) connect_link(to, link, lock);
      if (link.socket.is_open()) continue;
      next = next ? std::min(*next, link.next_try) : link.next_try;
    }
    files.assign({{bell_.number(), POLLIN, 0}, {listening_.number(), POLLIN, 0}});
    std::vector<Link*> polled;
    for (auto& [to, link] : links_) {
      if (!link.socket.is_open()) continue;
      const bool writes = !link.frames.empty() || !link.connected;
      files.push_back(
          {link.socket.number(), static_cast<short>(writes ? POLLOUT | POLLRDHUP : POLLRDHUP), 0});
      polled.push_back(&link);
    }
    const std::size_t first_accepted = files.size();
    for (const Accepted& accepted : accepted_) {
      files.push_back({accepted.socket.number(), POLLIN, 0});
    }
    if (stopped_) return;
    lock.unlock();
    int timeout = -1;
    if (next) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(*next - steady_clock::now());
      timeout = static_cast<int>(std::max<std::int64_t>(0, left.count()));
    }
    poll(files.data(), files.size(), timeout);
    lock.lock();
    std::uint64_t rung = 0;
    static_cast<void>(!read(bell_.number(), &rung, sizeof rung));
    for (std::size_t i = 0; i < polled.size(); ++i) {
      Link& link = *polled[i];
      if (link.socket.number() != files[i + 2].fd || files[i + 2].revents == 0) continue;
      int error = 0;
      socklen_t size = sizeof error;
      getsockopt(link.socket.number(), SOL_SOCKET, SO_ERROR, &error, &size);
      if (error != 0 || (files[i + 2].revents & (POLLHUP | POLLERR | POLLRDHUP)) != 0) {
        break_link(link, fmt::format("{} ({})",
                                     link.problem.empty() ? "the connection broke" : link.problem,
                                     error != 0 ? std::strerror(error) : "it was closed"));
      } else {
        write_link(link);
      }
    }
    for (std::size_t i = first_accepted; i < files.size(); ++i) {
      const std::size_t index = i - first_accepted;
      if (index >= accepted_.size() || accepted_[index].socket.number() != files[i].fd) continue;
      if (files[i].revents != 0 && !read_accepted(accepted_[index])) {
        accepted_[index].socket.close();
      }
    }
    std::erase_if(accepted_, [](const Accepted& one) { return !one.socket.is_open(); });
    if (files[1].revents != 0) accept_all();
  }
}

// --- The bootstrap -------------------------------------------------------------------------------

TcpBootstrap::TcpBootstrap(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
TcpBootstrap::~TcpBootstrap() = default;

Result<std::unique_ptr<TcpBootstrap>> TcpBootstrap::listen(RankId rank, std::uint32_t size,
                                                           const TcpBootstrapSettings& settings) {
  check(settings.job.size() <= longest_job_name, "the name of a job has at most 64 bytes");
  const Result<SocketAddress> address = parse_address(settings.listen_on, std::to_string(settings.port));
  if (!address) return tl::unexpected(address.error());
  Socket listening(
      socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  SocketAddress bound = *address;
  const int again = 1;  // the port of one that has just ended
  setsockopt(listening.number(), SOL_SOCKET, SO_REUSEADDR, &again, sizeof again);
  auto* const there = reinterpret_cast<sockaddr*>(&bound.storage);
  if (!listening.is_open() || bind(listening.number(), there, bound.size) != 0 ||
      ::listen(listening.number(), SOMAXCONN) != 0 ||
      getsockname(listening.number(), there, &bound.size) != 0) {
    return failure(FailureKind::refused, fmt::format("rank {} cannot listen on {}: {}", rank.index,
                                                     settings.listen_on, system_says()));
  }
  const in_port_t port = bound.storage.ss_family == AF_INET6
                             ? reinterpret_cast<const sockaddr_in6*>(there)->sin6_port
                             : reinterpret_cast<const sockaddr_in*>(there)->sin_port;
  std::string host = settings.reached_as.empty() ? settings.listen_on : settings.reached_as;
  if (host.find(':') != std::string::npos) host = fmt::format("[{}]", host);
  auto loop = std::make_unique<Loop>(rank, size, settings, std::move(listening),
                                     fmt::format("{}:{}", host, ntohs(port)));
  return std::unique_ptr<TcpBootstrap>(new TcpBootstrap(std::move(loop)));
}

const std::string& TcpBootstrap::address() const { return loop_->address(); }
void TcpBootstrap::start(AddressOf address_of) { loop_->start(std::move(address_of)); }
RankId TcpBootstrap::rank() const { return loop_->rank_; }
std::uint32_t TcpBootstrap::size() const { return loop_->size_; }
void TcpBootstrap::publish(std::string key, std::string value) {
  loop_->publish(std::move(key), std::move(value));
}
Result<std::string> TcpBootstrap::lookup(RankId of, std::string_view key, Duration patience) {
  return loop_->lookup(of, key, patience);
}
void TcpBootstrap::send(RankId to, BootstrapTopic topic, std::span<const std::byte> message) {
  check(message.size() <= largest_bootstrap_message, "a message of the bootstrap is small");
  if (to == loop_->rank_) {
    loop_->mailbox_.put(topic, {to, {message.begin(), message.end()}});
    return;
  }
  loop_->send(to, MessageFrame{topic, {message.begin(), message.end()}});
}
std::optional<BootstrapMessage> TcpBootstrap::receive(BootstrapTopic topic) {
  return loop_->mailbox_.take(topic);
}
void TcpBootstrap::notify_of(BootstrapTopic topic, WaitSet* wait_set) {
  loop_->mailbox_.notify_of(topic, wait_set);
}
void TcpBootstrap::break_connections() { loop_->break_connections(); }

}  // namespace ferry
