// Where the tests' files are, and messages as one text.
#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "core/scenario/document.hpp"

namespace ferry {

inline std::filesystem::path good_file(const std::string& name) {
  return std::filesystem::path(FERRY_SCENARIO_TESTS) / "good" / name;
}
inline std::filesystem::path bad_folder() {
  return std::filesystem::path(FERRY_SCENARIO_TESTS) / "bad";
}

inline std::string text_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

inline std::string to_lines(const Diagnostics& diagnostics) {
  std::string lines;
  for (const Diagnostic& diagnostic : diagnostics) lines += diagnostic.text() + "\n";
  return lines;
}

/// The errors of something that should have failed; empty if it did not.
template <class T>
std::string errors_of(const Loaded<T>& loaded) {
  return loaded ? "" : to_lines(loaded.error());
}

/// `text` with the first `from` replaced.
inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  return at == std::string::npos ? "" : text.replace(at, from.size(), to);
}

}  // namespace ferry
