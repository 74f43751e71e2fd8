#include "tests/bench/side_by_side.hpp"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <filesystem>
#include <fstream>

namespace ferry::bench {

Measured in_child(const std::function<Measured()>& work) {
  int ends[2];
  if (pipe(ends) != 0) {
    std::perror("pipe");
    std::exit(1);
  }
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    int status = 0;
    try {
      const Measured measured = work();
      if (write(ends[1], &measured, sizeof measured) != sizeof measured) status = 1;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      status = 1;
    }
    std::fflush(nullptr);
    _exit(status);
  }
  close(ends[1]);
  Measured measured;
  const bool complete = read(ends[0], &measured, sizeof measured) == sizeof measured;
  close(ends[0]);
  int status = 0;
  struct rusage usage {};
  wait4(child, &status, 0, &usage);
  measured.mebibytes = static_cast<double>(usage.ru_maxrss) / 1024;
  if (!complete || status != 0) {
    std::fprintf(stderr, "a measured child failed (status %d)\n", status);
    std::exit(1);
  }
  return measured;
}

Measured best_of(int repetitions, const std::function<Measured()>& work) {
  return best_in_turns(repetitions, {work}).front();
}

std::vector<Measured> best_in_turns(int repetitions,
                                    const std::vector<std::function<Measured()>>& works) {
  std::vector<Measured> best(works.size());
  for (int i = 0; i < repetitions; ++i) {
    for (std::size_t side = 0; side < works.size(); ++side) {
      const Measured next = in_child(works[side]);
      if (i == 0 || next.seconds < best[side].seconds) best[side] = next;
    }
  }
  return best;
}

double seconds_of(const std::function<void()>& work) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  const double began = now();
  work();
  return now() - began;
}

void report(const std::string& name, double ours, double peer, const std::string& unit,
            bool smaller_is_better) {
  const double ratio = smaller_is_better ? peer / ours : ours / peer;
  std::printf("%-56s ours %10.4g  peer %10.4g %-10s  x %.2f\n", name.c_str(), ours, peer,
              unit.c_str(), ratio);
  const bool fresh = !std::filesystem::exists("bench.tsv");
  std::ofstream table("bench.tsv", std::ios::app);
  if (fresh) table << "name\tours\tpeer\tratio\tunit\n";
  table << name << '\t' << ours << '\t' << peer << '\t' << ratio << '\t' << unit << '\n';
}

}  // namespace ferry::bench
