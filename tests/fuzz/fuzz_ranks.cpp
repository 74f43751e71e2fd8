// Any bytes where ranks read what launchers and other ranks say: lines of PMI, its values, places,
// logs. They are read or refused, and what is read can be said again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "hw_backend/ranks/pmi_message.hpp"
#include "hw_backend/ranks/rank_log_codec.hpp"
#include "hw_backend/ranks/rank_places.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ferry;
  using namespace ferry::ranks;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto message = parse_pmi(text)) {
    if (message->values.size() > most_pmi_values) std::abort();
    (void)message->number("rc");
    if (message->command.size() + size < longest_pmi_line / 2 &&
        parse_pmi(to_line(*message)) != message) {
      std::abort();
    }
  }
  if (const auto value = from_pmi_value(text)) {
    if (from_pmi_value(to_pmi_value(*value)) != value) std::abort();
  }
  if (from_pmi_value(to_pmi_value(text)) != std::string(text)) std::abort();
  if (const auto places = parse_whereabouts(text)) {
    if (parse_whereabouts(to_text(*places)) != places) std::abort();
  }
  if (const auto log = decode_rank_log({reinterpret_cast<const std::byte*>(data), size})) {
    if (encode(*log, Duration::zero()).size() != size) std::abort();
  }
  return 0;
}
