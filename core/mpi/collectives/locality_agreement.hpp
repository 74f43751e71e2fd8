// From which collective on a communicator goes by new groups. Algorithm, tree and hierarchy have to
// be the same on all ranks of a collective, so a new locality takes effect at a number that all
// agree on: the highest that any rank has started, plus one.
//
// The coordinator asks every rank (a generation of locality, per communicator); each answers with
// the number of its next collective, and starts none until it hears what was agreed: the highest of
// these numbers. Ranks that are behind go on with the old groups up to there, the others with the
// new ones. It takes no collective to answer, so that ranks which wait in one for others answer
// too, and nothing waits in a circle. Questions, answers and agreements may be lost, come twice, or
// late: both sides may repeat all they say, and a new coordinator may ask again about the
// generation that the old one was busy with. A newer generation is asked about only when the one
// before has been given up or every rank has acknowledged what was agreed; or where all ranks read
// questions and agreements in one order, as on a `Board`, at any time: what was agreed then comes
// before the newer question on all of them, or on none.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/mpi/types.hpp"

namespace ferry::mpi {

/// Number of a collective of a communicator, from 0 on.
using CollectiveNumber = std::uint64_t;
/// Of locality; ascending. A communicator begins with `first_generation`.
using Generation = std::uint64_t;
inline constexpr Generation first_generation = 0;

struct LocalityAnswer {
  /// Of the first collective that could go by the generation here, or that will.
  CollectiveNumber number = 0;
  bool agreed = false;  ///< it will: an agreement has been heard of
  bool operator==(const LocalityAnswer&) const = default;
};

/// A communicator among all that are in use in a job: those whose ranks are disjoint may have one
/// context.
struct CommunicatorName {
  std::uint32_t context = 0;
  std::uint32_t first = 0;  ///< its rank 0, in the job
  auto operator<=>(const CommunicatorName&) const = default;
};

/// What a rank says for one of its communicators.
struct LocalityReply {
  CommunicatorName of;
  Rank rank = 0;   ///< in it
  Rank ranks = 0;  ///< that it has
  Generation generation = 0;
  LocalityAnswer answer;
};

/// What the ranks of a communicator hear when all have answered.
struct LocalityAgreement {
  CommunicatorName of;
  Generation generation = 0;
  CollectiveNumber from = 0;
};

/// One rank's side, for one communicator.
class LocalityTurns {
 public:
  /// `begin`: what the communicator's first collective goes by.
  explicit LocalityTurns(Generation begin = first_generation)
      : current_(begin), newest_(begin), agreed_{0, begin} {}

  /// The coordinator asks about `generation`. None for one older than the newest that was heard of.
  /// Unless it was agreed, collectives from the number in the answer on have to wait.
  [[nodiscard]] std::optional<LocalityAnswer> ask(Generation generation);
  /// What was agreed; to be acknowledged whatever it does here. Ignored unless it is for the
  /// generation that was asked about last.
  void agree(Generation generation, CollectiveNumber from);
  /// The coordinator gives `generation` up: collectives go on as before. Only if no rank can have
  /// been told what was agreed.
  void give_up(Generation generation);

  /// What the next collective goes by; none: it has to wait for `agree` or `give_up`.
  [[nodiscard]] std::optional<Generation> next_generation() const {
    if (held()) return std::nullopt;
    return current_;
  }
  [[nodiscard]] bool held() const { return asked_ && next_ >= held_from_; }
  /// The next collective is started; not while held.
  void start();
  [[nodiscard]] CollectiveNumber next() const { return next_; }

 private:
  struct Turn {
    CollectiveNumber from = 0;
    Generation generation = 0;
  };
  void turn();

  CollectiveNumber next_ = 0;
  Generation current_;              ///< of collective `next_`
  Generation newest_;               ///< that was heard of
  bool asked_ = false;              ///< about `newest_`, and nothing is agreed yet
  CollectiveNumber held_from_ = 0;  ///< while asked
  Turn agreed_;                     ///< last
  std::vector<Turn> turns_;         ///< agreed and still ahead, ascending
};

/// The coordinator's side, for one communicator and one generation.
class LocalityVote {
 public:
  LocalityVote(Generation generation, Rank ranks)
      : generation_(generation), members_(static_cast<std::size_t>(ranks)) {}

  [[nodiscard]] Generation generation() const { return generation_; }
  /// The answer of a rank, once or again.
  void answer(Rank rank, Generation generation, const LocalityAnswer& answer);
  /// A rank has heard what was agreed.
  void acknowledge(Rank rank, Generation generation);
  /// What is agreed, as soon as it is known: to be told to every rank.
  [[nodiscard]] std::optional<CollectiveNumber> agreed() const;
  /// Whom to ask, or to tell what is agreed, (again).
  [[nodiscard]] std::vector<Rank> missing() const;
  [[nodiscard]] bool done() const { return agreed() && missing().empty(); }

 private:
  Generation generation_;
  struct Member {
    bool answered = false;
    bool acknowledged = false;
  };
  std::vector<Member> members_;
  std::size_t answered_ = 0;
  CollectiveNumber highest_ = 0;
  std::optional<CollectiveNumber> settled_;  ///< before this coordinator asked
};

}  // namespace ferry::mpi
