// What the ranks of a job tell each other out of band: over the management network, which lives
// through migrations, or within a process. Channels are set up with it, never replaced by it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/ports/result.hpp"
#include "core/ports/types.hpp"
#include "core/ports/wait_set.hpp"
#include "core/units/units.hpp"

namespace ferry {

/// What a message is about; each has a queue of its own at the receiver.
enum class BootstrapTopic : std::uint8_t {
  connections,  ///< addresses of queue pairs, and how far each side has got
  job,          ///< why a job ends, who has come to its end
};
inline constexpr std::size_t bootstrap_topic_count = 2;

/// Of a message, and of a published value.
inline constexpr std::size_t largest_bootstrap_message = 4096;
/// Messages of one topic that wait at a receiver; further ones are lost.
inline constexpr std::size_t most_waiting_bootstrap_messages = 65'536;

struct BootstrapMessage {
  RankId from;
  std::vector<std::byte> bytes;
};

/// One rank's end of it. From any task or thread. Messages may be lost (the other side is not
/// there, its connection broke, a queue is full); each arrives at most once, those between two
/// ranks in order but for the lost ones. Who needs an answer asks again.
class Bootstrap {
 public:
  virtual ~Bootstrap() = default;
  [[nodiscard]] virtual RankId rank() const = 0;
  /// Ranks of the job; addresses beyond it lead to nobody.
  [[nodiscard]] virtual std::uint32_t size() const = 0;

  /// Lets others look up `value`; replaces what this rank published under `key` before. Never
  /// blocks.
  virtual void publish(std::string key, std::string value) = 0;
  /// What `of` has published under `key`; blocks until it has, as ranks start at different times.
  /// `timed_out` after `patience`, of real time; the reason names rank and key.
  [[nodiscard]] virtual Result<std::string> lookup(RankId of, std::string_view key,
                                                   Duration patience) = 0;

  /// Never blocks; at most `largest_bootstrap_message` bytes.
  virtual void send(RankId to, BootstrapTopic topic, std::span<const std::byte> message) = 0;
  /// The oldest message of `topic`, none if there is none now. Never blocks. Cheap if there is
  /// none: one load.
  [[nodiscard]] virtual std::optional<BootstrapMessage> receive(BootstrapTopic topic) = 0;
  /// From now on `wait_set` is notified of each message of `topic` that arrives; null: nobody is.
  /// Returns when the one before is not being notified any more.
  virtual void notify_of(BootstrapTopic topic, WaitSet* wait_set) = 0;
};

}  // namespace ferry
