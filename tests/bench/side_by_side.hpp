// Ours beside a peer, in one run: child processes (an engine can be started once in each), seconds
// of work, ratios on the terminal and in bench.tsv.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace ferry::bench {

/// What a child measured: the seconds that its work took, and figures to compare or to show.
struct Measured {
  double seconds = 0;
  double figure = 0;  ///< such as the simulated seconds at the end, to see that both did the same
  double count = 0;   ///< such as events or messages
  double mebibytes = 0;  ///< peak memory of the child; `in_child` fills it in
};

/// Runs `work` in a forked child and returns what it measured. Ends this program with a message if
/// the child fails.
Measured in_child(const std::function<Measured()>& work);
/// The quickest of `repetitions` children: what else runs on the machine only adds.
Measured best_of(int repetitions, const std::function<Measured()>& work);
/// The same of each of `works`, which take turns: what slows the machine down for some seconds
/// meets all of them.
std::vector<Measured> best_in_turns(int repetitions,
                                    const std::vector<std::function<Measured()>>& works);

/// Processor seconds that `work` takes: others on the machine do not count, but for the caches that
/// they share. Work of one thread.
double seconds_of(const std::function<void()>& work);

/// Prints one line and appends it to bench.tsv in the current folder: name, ours, peer, peer / ours
/// (how many times less ours takes), unit. `smaller_is_better` false: ours / peer.
void report(const std::string& name, double ours, double peer, const std::string& unit,
            bool smaller_is_better = true);

}  // namespace ferry::bench
