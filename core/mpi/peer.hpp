// What a rank knows of another one that it has talked to.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/channel/choice.hpp"
#include "core/mpi/list.hpp"
#include "core/mpi/operation.hpp"
#include "core/mpi/pool.hpp"

namespace ferry::mpi {

/// A packet without a body that waits to be posted.
struct Answer {
  Links<Answer> links;
  PacketHeader header;
};

/// A packet that came before one with a lower number.
struct Early {
  Links<Early> links;
  std::size_t body_size = 0;  ///< phantom or not
  KeptBody<32> body;
  PacketHeader header;
};

/// One direction of state for each way of an ordered pair of ranks. Made by the first message.
struct alignas(64) Peer {
  /// Whether packets may be posted. While they may not, sends stay descriptors.
  enum class Connection : std::uint8_t {
    open,
    draining,  ///< nothing new starts; what has started ends
    held,      ///< nothing leaves
  };

  /// Of suspensions (`suspension.hpp`).
  struct Hold {
    std::uint32_t holders = 0;  ///< epochs
    std::uint32_t reads = 0;    ///< of its memory, under way
    bool silent = false;        ///< while held: nothing to flush
    bool closed = false;
    bool reopened = false;             ///< and what was under way has not gone on yet
    std::uint64_t since = 0;           ///< names the hold; 0: none
    std::uint64_t draining_since = 0;  ///< the hold that `connection` is about
    std::uint64_t flushed = 0;         ///< the hold of its last flush
    std::uint64_t fragments_sent = 0;
    std::uint64_t fragments_taken = 0;
    std::uint64_t fragments_due = 0;  ///< by its last flush
  };

  // In the order of use: a message that nothing stands in the way of touches one cache line.
  Way way;
  const Route* route = nullptr;
  std::uint64_t next_sequence = 1;      ///< to it
  std::uint64_t expected_sequence = 1;  ///< from it
  RankId rank;
  std::uint32_t route_generation = 0;  ///< the lower half
  std::uint32_t returned_credits = 0;  ///< of its buffers, ever
  std::uint32_t consumed_credits = 0;  ///< of our buffers, ever
  std::uint16_t taken_credits = 0;     ///< of its buffers, and not returned
  std::uint16_t owed_credits = 0;      ///< of our buffers, that it does not know of
  Connection connection = Connection::open;
  bool has_sends = false;   ///< `sends` is not empty
  bool has_early = false;   ///< nor `early`
  bool backlogged = false;  ///< in the engine's list of those with something to post
  // The next line:
  List<Operation, &Operation::stream_links> sends;    ///< descriptors: nothing has left
  List<Early, &Early::links> early;                   ///< ascending
  List<Answer, &Answer::links> answers;               ///< to be posted, before all else
  List<Operation, &Operation::stream_links> streams;  ///< sends with fragments to post
  Links<Peer> backlog_links;
  Hold hold;

  /// Whether a send may leave now; those before it have left.
  [[nodiscard]] bool may_send() const { return connection == Connection::open && !has_sends; }
  [[nodiscard]] bool may_answer() const {
    return connection != Connection::held && answers.empty();
  }
};

/// Peers by rank in the job; open addressing, so that one look is enough most times. Ranks stand
/// beside what they are the peers of: who looks for one touches no other.
class PeerTable {
 public:
  /// Null if they have not talked.
  [[nodiscard]] Peer* find(RankId rank) const {
    for (std::size_t i = home(rank);; i = (i + 1) & last_) {
      if (slots_[i].rank == rank) return slots_[i].peer.get();
      if (slots_[i].peer == nullptr) return nullptr;
    }
  }
  /// There is none yet.
  Peer& add(RankId rank);
  /// By rank.
  [[nodiscard]] std::vector<Peer*> in_order() const;

 private:
  struct Slot {
    RankId rank;
    std::unique_ptr<Peer> peer;
  };
  [[nodiscard]] std::size_t home(RankId rank) const {
    const std::uint32_t hash = rank.index * 0x9e37'79b1U;
    return (hash ^ hash >> 16U) & last_;
  }
  void insert(std::unique_ptr<Peer> peer);

  std::vector<Slot> slots_ = std::vector<Slot>(4);
  std::size_t last_ = 3;  ///< of them; there are a power of two
  std::size_t count_ = 0;
};

}  // namespace ferry::mpi
