// The bootstrap of ranks that are processes, of any machines: each listens on TCP, connections are
// made by the first message and again after they broke. A thread of its own does all of it, so a
// rank that computes still answers lookups.
#pragma once

#include <functional>
#include <memory>

#include "core/ports/bootstrap.hpp"

namespace ferry {

struct TcpBootstrapSettings {
  /// Numeric address of the interface to listen on: of the network that lives through migrations.
  std::string listen_on = "0.0.0.0";
  std::uint16_t port = 0;  ///< to listen at; 0: one that is free
  /// As the other ranks reach this one; empty: `listen_on`.
  std::string reached_as;
  /// Ends of other jobs are turned away: all ranks of a job must say the same. At most 64 bytes.
  std::string job = "job";
  /// Of a connection that broke or was refused: from the first, doubled up to the last.
  Duration first_retry = Duration::milliseconds(20);
  Duration last_retry = Duration::milliseconds(1000);
};

class TcpBootstrap final : public Bootstrap {
 public:
  /// `HOST:PORT` of a rank, when it is known. Asked by the bootstrap's own thread when there is
  /// something to send, again after every failure, until the bootstrap has been destroyed; may not
  /// block. A rank that ends still has something to say: what this refers to outlives the
  /// bootstrap.
  using AddressOf = std::function<Result<std::string>(RankId)>;

  /// Listens. `refused` if that address cannot be had, and why.
  [[nodiscard]] static Result<std::unique_ptr<TcpBootstrap>> listen(
      RankId rank, std::uint32_t size, const TcpBootstrapSettings& settings);
  ~TcpBootstrap() override;
  /// `HOST:PORT` as others reach it, to be spread by whoever starts the job (PMI, an agent).
  [[nodiscard]] const std::string& address() const;
  /// Begins to talk; before it, messages to others wait. Once.
  void start(AddressOf address_of);

  [[nodiscard]] RankId rank() const override;
  [[nodiscard]] std::uint32_t size() const override;
  void publish(std::string key, std::string value) override;
  [[nodiscard]] Result<std::string> lookup(RankId of, std::string_view key,
                                           Duration patience) override;
  void send(RankId to, BootstrapTopic topic, std::span<const std::byte> message) override;
  [[nodiscard]] std::optional<BootstrapMessage> receive(BootstrapTopic topic) override;
  void notify_of(BootstrapTopic topic, WaitSet* wait_set) override;

  /// Tests: breaks all connections.
  void break_connections();

 private:
  class Loop;
  explicit TcpBootstrap(std::unique_ptr<Loop> loop);
  std::unique_ptr<Loop> loop_;
};

}  // namespace ferry
