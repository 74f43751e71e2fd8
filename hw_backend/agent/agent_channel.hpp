// The agent's end of its link to the controller: a virtio-serial port, or a Unix socket.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "hw_backend/agent/frames.hpp"

namespace ferry::agent {

/// A stream of frames over a descriptor that does not block. The descriptor is somebody else's.
class FramedStream {
 public:
  enum class State { open, closed };
  /// Reads what is there. `closed`: the other side is gone, or the descriptor is broken.
  State read(int file);
  /// Writes what is waiting, as far as it goes.
  State write(int file);
  /// False: too much is waiting, and it was dropped.
  bool send(std::span<const std::byte> message);
  [[nodiscard]] std::optional<std::vector<std::byte>> next() { return reader_.next(); }
  [[nodiscard]] bool has_output() const { return !output_.empty(); }
  /// Messages may lie behind the beginning of one whose end does not come.
  void look_behind_torn();
  void reset();

 private:
  using Time = std::chrono::steady_clock::time_point;
  FrameReader reader_;
  std::vector<std::byte> output_;
  std::size_t written_ = 0;  ///< of `output_`
  Time read_at_;             ///< for the last time
};

/// Opens the way to the controller again and again. Where it leads to: `unix:PATH`, a socket that
/// is made there and where the latest to connect counts, or the path of a character device.
class AgentChannel {
 public:
  explicit AgentChannel(std::string where);
  ~AgentChannel();
  AgentChannel(const AgentChannel&) = delete;
  AgentChannel& operator=(const AgentChannel&) = delete;

  /// Opens what is not open; a sentence if that cannot be.
  [[nodiscard]] std::optional<std::string> open();
  /// For `poll`: -1 where there is nothing to wait for now.
  [[nodiscard]] int listener() const { return listener_; }
  [[nodiscard]] int stream() const;
  [[nodiscard]] bool wants_to_write() const { return stream_.has_output(); }
  /// After `poll` found something there.
  void on_listener();
  void on_stream(short events);
  [[nodiscard]] bool send(std::span<const std::byte> message);
  [[nodiscard]] std::optional<std::vector<std::byte>> next();

 private:
  using Time = std::chrono::steady_clock::time_point;
  void drop_stream();

  std::string where_;
  bool is_socket_;
  int listener_ = -1;
  int file_ = -1;
  Time quiet_until_;  ///< a port that nobody has open on the host always looks ready
  FramedStream stream_;
};

}  // namespace ferry::agent
