// Collects what is wrong with the files of one reading, with places, in the order of the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/scenario/document.hpp"

namespace ferry {

/// Where a key or value stands; lines and columns from 1.
struct SourcePlace {
  std::uint32_t source = 0;  ///< index into the report's sources
  std::uint32_t line = 1;
  std::uint32_t column = 1;
};

enum class SourceKind : std::uint8_t { scenario, platform, setting, cluster };

class Report {
 public:
  /// Registers a text; its index goes into places.
  std::uint32_t add_source(std::string name, SourceKind kind);
  [[nodiscard]] const std::string& source_name(std::uint32_t source) const;
  [[nodiscard]] SourceKind source_kind(std::uint32_t source) const;

  void add(Problem problem, SourcePlace place, std::string path, std::string message);
  [[nodiscard]] bool empty() const { return entries_.empty(); }
  /// How many were added so far.
  [[nodiscard]] std::size_t count() const { return entries_.size() + dropped_; }
  /// True if `holds` for the path of some entry.
  template <class Predicate>
  [[nodiscard]] bool any_path(const Predicate& holds) const {
    for (const Entry& entry : entries_) {
      if (holds(std::string_view(entry.diagnostic.path))) return true;
    }
    return false;
  }
  /// Everything, by file (in the order the files were opened), line and column; ends empty.
  Diagnostics take();

 private:
  struct Source {
    std::string name;
    SourceKind kind;
  };
  struct Entry {
    SourcePlace place;
    Diagnostic diagnostic;
  };
  std::vector<Source> sources_;
  std::vector<Entry> entries_;
  std::size_t dropped_ = 0;
};

/// A user's text in quotation marks, cut if it is very long, control characters made visible.
std::string in_quotes(std::string_view text);
/// `a, b, c`
std::string listed(const std::vector<std::string_view>& words);
/// The word of `words` that `text` most likely means; empty if none is near.
std::string_view nearest(std::string_view text, const std::vector<std::string_view>& words);

}  // namespace ferry
