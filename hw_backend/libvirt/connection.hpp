// Connections to the libvirt daemons of the hosts, by the URIs of the cluster file: opened when
// they are needed, kept alive, opened again when they broke. Everything here blocks: it runs in the
// threads of `Calls`.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/ports/result.hpp"
#include "core/ports/types.hpp"
#include "hw_backend/libvirt/domain_events.hpp"
#include "hw_backend/libvirt/event_loop.hpp"

struct _virConnect;

namespace ferry {

/// Of one error of libvirt in the calling thread: `explained_error` of virGetLastError.
Failure last_error(const std::string& what);

/// One open connection. Its last user closes it.
class Connection {
 public:
  /// Blocks. Keep-alive is on: a daemon that does not answer for 20 s is given up.
  static Result<std::shared_ptr<Connection>> open(const std::string& uri);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] _virConnect* get() const { return connection_; }
  /// Whether its daemon answered until now. Never blocks.
  [[nodiscard]] bool alive() const;
  /// Tells `board` of all domains of this connection, as of `host`.
  void tell(const std::shared_ptr<EventBoard>& board, HostId host);

 private:
  explicit Connection(_virConnect* connection) : connection_(connection) {}

  EventLoopUser loop_;
  _virConnect* connection_;
  std::vector<int> callbacks_;
  std::shared_ptr<void> close_listener_;  ///< of the close callback; outlives the connection
  bool watched_ = false;
};

/// One call at a time has a connection, and what the daemon says by itself has one of its own. A
/// migration is one call for as long as it takes; a daemon serves five calls of one client at a
/// time (`max_client_requests` of libvirtd.conf); and in libvirt 9.0 (Debian 12) a thread that
/// waits for an answer reads the connection for all others, and can miss that another one has
/// something to send: that is sent when something is heard, as late as the first one's answer.
class HostConnections {
 public:
  HostConnections(std::string name, std::string uri, HostId host, std::shared_ptr<EventBoard> board)
      : name_(std::move(name)), uri_(std::move(uri)), host_(host), board_(std::move(board)) {}

  /// For channels into guests; its events are told to the board. No call that takes long.
  Result<std::shared_ptr<Connection>> listening();

  /// For the calls of one task, while the host is listened to; given back with its last copy, and
  /// then kept for the next one.
  Result<std::shared_ptr<Connection>> calling();
  /// Opens connections until there are `count` for calls, one cannot be opened, or `patience` has
  /// passed: to open one takes milliseconds, by SSH up to a second, which a phase of a move then
  /// need not wait for.
  Result<> open_ahead(std::size_t count, std::chrono::nanoseconds patience);
  /// How many connections there are for calls now.
  [[nodiscard]] std::size_t calling_connections() const;

 private:
  struct Lent {
    explicit Lent(std::shared_ptr<Connection> opened) : connection(std::move(opened)) {}
    std::shared_ptr<Connection> connection;
    std::atomic<bool> in_use = false;
  };
  using Time = std::chrono::steady_clock::time_point;
  [[nodiscard]] Result<std::shared_ptr<Connection>> open();
  /// One that is in nobody's use, and is in use then; nullptr if there is none.
  std::shared_ptr<Connection> idle();
  /// Takes it into use; with `mutex_` held.
  static std::shared_ptr<Connection> lend(const std::shared_ptr<Lent>& chosen);

  std::string name_;
  std::string uri_;
  HostId host_;
  std::shared_ptr<EventBoard> board_;

  /// Of the one that listens, before `mutex_`. Opening may take minutes, and whoever waited for
  /// another's attempt shares its failure instead of making the next one wait as long.
  std::mutex opening_;
  std::optional<Failure> last_failure_;
  Time failed_at_;

  mutable std::mutex mutex_;  ///< never for long
  std::shared_ptr<Connection> listening_;
  std::list<std::shared_ptr<Lent>> calling_;
};

/// A text that libvirt allocated, and that is freed here; empty for none.
[[nodiscard]] std::string taken(char* text);

}  // namespace ferry
