// Prints the JSON Schema of a kind of file: schema_dump scenario|study|platform|cluster
#include <array>
#include <cstdio>
#include <string_view>
#include <utility>

#include "core/scenario/document.hpp"

int main(int count, char** arguments) {
  using ferry::FileKind;
  const std::array<std::pair<std::string_view, FileKind>, 4> kinds = {
      {{"scenario", FileKind::scenario},
       {"study", FileKind::study},
       {"platform", FileKind::platform},
       {"cluster", FileKind::cluster}}};
  for (const auto& [name, kind] : kinds) {
    if (count != 2 || name != arguments[1]) continue;
    std::fputs(ferry::json_schema(kind).c_str(), stdout);
    return 0;
  }
  std::fputs("usage: schema_dump scenario|study|platform|cluster\n", stderr);
  return 2;
}
