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

/// A migration is one request for as long as it takes, and has a connection of its own meanwhile. A
/// daemon serves five requests of one client at a time (`max_client_requests` of libvirtd.conf);
/// and in libvirt 9.0 (Debian 12) a thread that waits for an answer reads the connection for all
/// others, and can miss that another one has a request to send: that is sent when something is
/// heard, as late as the first one's migration ends.
class HostConnections {
 public:
  HostConnections(std::string name, std::string uri, HostId host, std::shared_ptr<EventBoard> board)
      : name_(std::move(name)), uri_(std::move(uri)), host_(host), board_(std::move(board)) {}

  /// For everything that is quick. Its events are told to the board.
  Result<std::shared_ptr<Connection>> control();

  /// For one migration alone; given back with its last copy, and then kept for the next one.
  Result<std::shared_ptr<Connection>> migration();
  /// How many connections there are for migrations now.
  [[nodiscard]] std::size_t migration_connections() const;

 private:
  struct Lent {
    std::shared_ptr<Connection> connection;
    std::atomic<bool> in_use = false;
  };
  using Time = std::chrono::steady_clock::time_point;
  /// With `mutex_` held, which its caller wanted at `asked`: opening may take minutes, and whoever
  /// waited for another's attempt shares its failure instead of making the next one wait as long.
  Result<std::shared_ptr<Connection>> open(Time asked);

  std::string name_;
  std::string uri_;
  HostId host_;
  std::shared_ptr<EventBoard> board_;
  mutable std::mutex mutex_;
  std::shared_ptr<Connection> control_;
  std::optional<Failure> last_failure_;
  Time failed_at_;
  std::list<std::shared_ptr<Lent>> migrations_;
};

/// A text that libvirt allocated, and that is freed here; empty for none.
[[nodiscard]] std::string taken(char* text);

}  // namespace ferry
