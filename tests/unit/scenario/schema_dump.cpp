// Prints the JSON Schema of a kind of file: schema_dump scenario|study|platform
#include <cstdio>
#include <string_view>

#include "core/scenario/document.hpp"

int main(int count, char** arguments) {
  const std::string_view kind = count == 2 ? arguments[1] : "";
  if (kind != "scenario" && kind != "study" && kind != "platform") {
    std::fputs("usage: schema_dump scenario|study|platform\n", stderr);
    return 2;
  }
  const std::string schema = ferry::json_schema(kind == "scenario" ? ferry::FileKind::scenario
                                                : kind == "study"  ? ferry::FileKind::study
                                                                   : ferry::FileKind::platform);
  std::fputs(schema.c_str(), stdout);
  return 0;
}
