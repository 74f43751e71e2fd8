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

/// A daemon serves five requests of one client at a time (`max_client_requests` of libvirtd.conf)
/// and a migration is one request for as long as it takes: so migrations have connections of their
/// own, at most four on each.
class HostConnections {
 public:
  static constexpr int migrations_on_one = 4;

  HostConnections(std::string name, std::string uri, HostId host, std::shared_ptr<EventBoard> board)
      : name_(std::move(name)), uri_(std::move(uri)), host_(host), board_(std::move(board)) {}

  /// For everything that is quick. Its events are told to the board.
  Result<std::shared_ptr<Connection>> control();

  /// A place for one migration; given back with its last copy.
  Result<std::shared_ptr<Connection>> migration();
  /// How many connections there are for migrations now.
  [[nodiscard]] std::size_t migration_connections() const;

 private:
  struct Shared {
    std::shared_ptr<Connection> connection;
    std::atomic<int> users = 0;
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
  std::list<std::shared_ptr<Shared>> migrations_;
};

/// A text that libvirt allocated, and that is freed here; empty for none.
[[nodiscard]] std::string taken(char* text);

}  // namespace ferry
