// Messages per second of simulated ranks: ours, on the bare fabric and on the MPI engine, beside
// bare fibers and SimGrid's SMPI. Arguments: `engine`, `fabric` or `fibers` PATTERN RANKS
// ITERATIONS runs one side alone (to profile it); none runs everything; `large` the largest jobs
// alone.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "tests/bench/bare_fibers.hpp"
#include "tests/bench/messages_of_ours.hpp"
#include "tests/bench/smpi_peer.hpp"

namespace {

using namespace ferry::bench;

double rate(const Measured& measured) { return measured.count / measured.seconds / 1e6; }

std::string name_of(const Play& play, const char* sides) {
  return "messages: " + std::string(to_name(play.pattern)) + ", " + std::to_string(play.ranks) +
         " ranks, " + sides;
}

void compare(const Play& play, int smpi_iterations) {
  const std::vector<Measured> ours_and_bare = best_in_turns(
      5, {[&] { return play_with_bare_fibers(play); }, [&] { return play_on_fabric(play); },
          [&] { return play_on_engine(play); }});
  const Measured& bare = ours_and_bare[0];
  const Measured& fabric = ours_and_bare[1];
  const Measured& engine = ours_and_bare[2];
  const char* const unit = "M/s";
  report(name_of(play, "fabric / bare fibers"), rate(fabric), rate(bare), unit, false);
  report(name_of(play, "engine / bare fibers"), rate(engine), rate(bare), unit, false);
  if (const auto missing = smpi_is_missing()) {
    std::printf("no SMPI beside it: %s\n", missing->c_str());
    return;
  }
  Play fewer = play;
  fewer.iterations = smpi_iterations;
  const Measured smpi = best_of(3, [&] { return play_with_smpi(fewer); });
  report(name_of(play, "fabric / SMPI"), rate(fabric), rate(smpi), unit, false);
  report(name_of(play, "engine / SMPI"), rate(engine), rate(smpi), unit, false);
}

/// Jobs that the peers do not reach: how fast, and how much memory each rank takes.
void show_large() {
  for (const Play& play :
       {Play{Pattern::allreduce, 8'192, 100}, Play{Pattern::allreduce, 65'536, 1}}) {
    const Measured bare = in_child([&] { return play_with_bare_fibers(play); });
    const Measured engine = in_child([&] { return play_on_engine(play); });
    report(name_of(play, "engine / bare fibers"), rate(engine), rate(bare), "M/s", false);
    report(name_of(play, "memory of a rank"), 1024 * engine.mebibytes / play.ranks,
           1024 * bare.mebibytes / play.ranks, "KiB");
  }
}

int show_one(char** words) {
  const std::string side = words[0];
  Play play;
  for (const Pattern pattern : all_patterns) {
    if (to_name(pattern) == words[1]) play.pattern = pattern;
  }
  play.ranks = std::atoi(words[2]);
  play.iterations = std::atoi(words[3]);
  const Measured measured = in_child([&] {
    if (side == "fabric") return play_on_fabric(play);
    if (side == "engine") return play_on_engine(play);
    if (side == "smpi") return play_with_smpi(play);
    return play_with_bare_fibers(play);
  });
  std::printf("%s: %.3f M messages/s, %.9f simulated s, %.1f MiB\n", side.c_str(), rate(measured),
              measured.figure, measured.mebibytes);
  return 0;
}

}  // namespace

int main(int count, char** words) {
  if (count == 5) return show_one(words + 1);
  if (count == 1) {
    for (const int ranks : {64, 512}) {
      const int some = ranks == 64 ? 8 : 1;
      compare({Pattern::ping_pong, ranks, 500 * some}, 50 * some);
      compare({Pattern::allreduce, ranks, 100 * some}, 10 * some);
      compare({Pattern::wavefront, ranks, 250 * some}, 10 * some);
    }
  }
  show_large();
  return 0;
}
