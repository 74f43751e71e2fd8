// What a request stands for, while it is under way.
#pragma once

#include <cstdint>
#include <vector>

#include "core/mpi/list.hpp"
#include "core/mpi/packet.hpp"
#include "core/mpi/types.hpp"

namespace ferry::mpi {

struct CollectiveRun;
struct Group;

/// Any rank of a job.
inline constexpr std::uint32_t any_rank = ~std::uint32_t{0};

/// A send, a receive or a collective of this rank, from its call until it has been waited for.
struct alignas(64) Operation {
  enum class Kind : std::uint8_t { send, receive, collective };
  enum class State : std::uint8_t {
    queued,     ///< send: a descriptor at its peer; nothing has left
    announced,  ///< send: its envelope has left
    posted,     ///< receive: waits to be matched
    reading,    ///< receive: the endpoint reads the sender's memory
    unread,     ///< receive: matched, and waits for fresh memory to read
    moving,     ///< fragments are under way
    finishing,  ///< send: all has left; the receiver has to say so
    complete,
  };

  // In the order of use: an eager message that is received touches two cache lines.
  Kind kind = Kind::send;
  State state = State::queued;
  bool synchronous = false;
  bool holds_request = false;   ///< a user has its `Request`
  Channel data = Channel::shm;  ///< of rendezvous
  bool exposed = false;         ///< `key` is known to the endpoint
  bool checked_whole = false;   ///< `checksum` is of all bytes
  bool withdrawn = false;       ///< send: announced memory that cannot be read now
  bool renewed = false;         ///< receive: was announced anew while the read went on
  bool reads = false;           ///< receive: reads, else clears
  std::uint8_t collective = 0;  ///< `Collective` that it is a step of
  std::uint32_t index = 0;
  std::uint32_t generation = 1;
  std::uint32_t source = any_rank;  ///< of a receive, in the job; of a send the receiver
  Tag tag = 0;
  std::uint32_t context = 0;
  Links<Operation> match_links;  ///< of receives that are posted
  std::uint64_t stamp = 0;       ///< likewise
  CollectiveRun* run = nullptr;  ///< that it is a step of

  Buffer into;
  Status status;
  const Group* group = nullptr;  ///< of the communicator

  ConstBuffer from;
  std::uint32_t ordinal = 0;      ///< of a collective's send, in its schedule
  std::size_t wanted = 0;         ///< bytes that will travel; of rendezvous
  std::size_t moved = 0;          ///< of these, by fragments
  Links<Operation> run_links;     ///< of a collective's sends
  Links<Operation> stream_links;  ///< of sends that have packets to be posted, at their peer

  // Rendezvous.
  std::uint64_t remote = 0;    ///< the other side's request
  std::uint64_t key = 0;       ///< memory
  std::uint64_t read_key = 0;  ///< that is being read
  std::uint64_t checksum = 0;
  std::vector<Slice> trimmed;

  /// A new one in this place, which has its number already. What only sends or rendezvous use is
  /// set there.
  void begin(Kind as, State first) {
    kind = as;
    state = first;
    synchronous = false;
    holds_request = false;
    exposed = false;
    checked_whole = false;
    withdrawn = false;
    renewed = false;
    collective = 0;
    run = nullptr;
    status = {};
  }
  [[nodiscard]] bool is_complete() const { return state == State::complete; }
  [[nodiscard]] RequestName name() const { return {index, generation}; }
};

}  // namespace ferry::mpi
