// Writes a schedule step by step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>

#include "core/mpi/collectives/schedule.hpp"

namespace ferry::mpi {

/// Bytes [begin, end) of a piece.
[[nodiscard]] inline Piece part(const Piece& whole, std::size_t begin, std::size_t end) {
  return {whole.region, whole.offset + begin, end - begin};
}

/// Collects the steps of one rank. In a round sends and receives come first; one that is added
/// after a copy or reduction begins the next round. Steps of zero bytes are left out, on both sides
/// of a message; `signal` and `await` are the messages without content.
class ScheduleBuilder {
 public:
  /// `into` is emptied; its memory is used again.
  explicit ScheduleBuilder(Schedule& into);
  ScheduleBuilder(const ScheduleBuilder&) = delete;
  ScheduleBuilder& operator=(const ScheduleBuilder&) = delete;

  void send(Rank peer, const Piece& from);
  void receive(Rank peer, const Piece& into);
  void copy(const Piece& from, const Piece& into);
  /// `into = from op into`.
  void reduce(const Piece& from, const Piece& into);
  void signal(Rank peer);
  void await(Rank peer);
  /// What follows starts when what was added so far is done. Nothing if that was nothing.
  void end_round();
  /// New scratch memory, aligned as any element.
  [[nodiscard]] Piece reserve(std::size_t size);
  /// Ends the last round and works out which sends each round has to wait for. Once, at the end.
  void finish();

 private:
  void transfer(const Step& step);
  void local(const Step& step);

  Schedule& schedule_;
  std::size_t round_begin_ = 0;
  bool has_local_ = false;
};

/// The sends that read each byte of a region last, by their number.
class LastSends {
 public:
  /// `number` is larger than those before.
  void note(std::size_t offset, std::size_t size, std::uint32_t number);
  /// Number of the last send that reads any of these bytes, plus one; 0: none.
  [[nodiscard]] std::uint32_t before(std::size_t offset, std::size_t size) const;

 private:
  struct Range {
    std::size_t end = 0;
    std::uint32_t number = 0;
  };
  void split_at(std::size_t offset);
  std::map<std::size_t, Range> ranges_;  ///< by their first byte; they do not overlap
};

}  // namespace ferry::mpi
