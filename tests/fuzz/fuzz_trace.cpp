// Any text as a trace: it is read or refused with a file and a line, never more.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "core/mpi/workloads/trace_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ferry::mpi;
  // The first byte says how many ranks the job has.
  if (size == 0) return 0;
  const std::uint32_t ranks = data[0] % 8U + 1;
  const std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  (void)listed_files(text);
  const auto program = parse_trace({{"fuzz.ti", text}}, ranks);
  if (program) {
    if (program->ranks.size() != ranks) std::abort();
    return 0;
  }
  if (program.error().empty() || program.error().size() > most_trace_errors) std::abort();
  for (const std::string& error : program.error()) {
    if (!std::string_view(error).starts_with("fuzz.ti:")) std::abort();
  }
  return 0;
}
