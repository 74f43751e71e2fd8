#include "tests/bench/smpi_peer.hpp"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "tests/scratch_folder.hpp"

namespace ferry::bench {
namespace {

void write_platform(const ScratchFolder& folder, int hosts) {
  std::ofstream platform(folder.path() / "platform.xml");
  // Two links on each way, so that each has half of the latency.
  platform << "<?xml version='1.0'?>\n"
              "<!DOCTYPE platform SYSTEM \"https://simgrid.org/simgrid.dtd\">\n"
              "<platform version=\"4.1\">\n<cluster id=\"c\" prefix=\"h\" suffix=\"\" radical=\"0-"
           << hosts - 1 << "\" speed=\"1Gf\" bw=\"" << bytes_per_second << "Bps\" lat=\""
           << static_cast<double>(latency_nanoseconds) / 2e3 << "us\"/>\n</platform>\n";
  std::ofstream names(folder.path() / "hosts");
  for (int i = 0; i < hosts; ++i) names << 'h' << i << '\n';
}

}  // namespace

std::optional<std::string> smpi_is_missing() {
#ifdef FERRY_SMPI_PATTERNS
  return std::nullopt;
#else
  return "smpicc was not there when this was configured (Debian: libsimgrid-dev)";
#endif
}

Measured play_with_smpi([[maybe_unused]] const Play& play) {
  Measured measured;
#ifdef FERRY_SMPI_PATTERNS
  const ScratchFolder folder;
  write_platform(folder, play.ranks);
  const std::string overhead = std::to_string(overhead_nanoseconds) + "e-9";
  // Constants as on our side: o of sender and receiver, no factors on latency and bandwidth.
  const std::string command =
      FERRY_SMPIRUN " -np " + std::to_string(play.ranks) + " -platform " +
      (folder.path() / "platform.xml").string() + " -hostfile " +
      (folder.path() / "hosts").string() +
      " --cfg=network/model:CM02 --cfg=network/crosstraffic:0 --cfg=smpi/simulate-computation:no"
      " --cfg=smpi/allreduce:rdb --cfg=smpi/os:0:" +
      overhead + ":0 --cfg=smpi/or:0:" + overhead +
      ":0 --log=root.thresh:error " FERRY_SMPI_PATTERNS " " + std::string(to_name(play.pattern)) +
      " " + std::to_string(play.iterations) + " 2>&1";
  FILE* const output = popen(command.c_str(), "r");
  if (output == nullptr) {
    std::perror("smpirun");
    std::exit(1);
  }
  std::string text;
  char line[512];
  bool found = false;
  while (std::fgets(line, sizeof line, output) != nullptr) {
    text += line;
    found = found || std::sscanf(line, "RESULT %lf %lf", &measured.seconds, &measured.figure) == 2;
  }
  if (pclose(output) != 0 || !found) {
    std::fprintf(stderr, "%s\n%s", command.c_str(), text.c_str());
    std::exit(1);
  }
  measured.count = messages_of(play);
#endif
  return measured;
}

}  // namespace ferry::bench
