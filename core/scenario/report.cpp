#include "core/scenario/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "core/units/check.hpp"

namespace ferry {
namespace {

/// A file with more errors than this is no file of ours; the rest is counted.
constexpr std::size_t most_errors = 1000;
constexpr std::size_t longest_quote = 60;
/// Longer words are not compared: they are no misspelling of a key.
constexpr std::size_t longest_word = 64;

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal
/// string alignment distance).
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before_last(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({replace, last[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before_last[j - 2] + 1);
      }
    }
    std::swap(before_last, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

std::string_view to_name(Problem problem) {
  switch (problem) {
#define FERRY_PROBLEM(name) \
  case Problem::name: return #name;
    FERRY_PROBLEM(unreadable_file)
    FERRY_PROBLEM(too_large)
    FERRY_PROBLEM(not_text)
    FERRY_PROBLEM(empty)
    FERRY_PROBLEM(yaml_syntax)
    FERRY_PROBLEM(too_deep)
    FERRY_PROBLEM(too_many_nodes)
    FERRY_PROBLEM(several_documents)
    FERRY_PROBLEM(odd_key)
    FERRY_PROBLEM(odd_tag)
    FERRY_PROBLEM(recursive_alias)
    FERRY_PROBLEM(duplicate_key)
    FERRY_PROBLEM(missing_version)
    FERRY_PROBLEM(wrong_version)
    FERRY_PROBLEM(unknown_key)
    FERRY_PROBLEM(missing_key)
    FERRY_PROBLEM(unsupported)
    FERRY_PROBLEM(wrong_type)
    FERRY_PROBLEM(no_value)
    FERRY_PROBLEM(bad_quantity)
    FERRY_PROBLEM(bad_number)
    FERRY_PROBLEM(out_of_range)
    FERRY_PROBLEM(unknown_value)
    FERRY_PROBLEM(bad_name)
    FERRY_PROBLEM(bad_text)
    FERRY_PROBLEM(bad_uri)
    FERRY_PROBLEM(bad_address)
    FERRY_PROBLEM(bad_law)
    FERRY_PROBLEM(bad_constant)
    FERRY_PROBLEM(contradiction)
    FERRY_PROBLEM(empty_list)
    FERRY_PROBLEM(duplicate_name)
    FERRY_PROBLEM(bad_reference)
    FERRY_PROBLEM(unknown_reference)
    FERRY_PROBLEM(index_beyond)
    FERRY_PROBLEM(reversed_range)
    FERRY_PROBLEM(named_twice)
    FERRY_PROBLEM(too_many)
    FERRY_PROBLEM(does_not_fit)
    FERRY_PROBLEM(no_destination)
    FERRY_PROBLEM(stays_in_place)
    FERRY_PROBLEM(moved_twice)
    FERRY_PROBLEM(no_carrier)
    FERRY_PROBLEM(no_stream)
    FERRY_PROBLEM(no_cost)
    FERRY_PROBLEM(refused_by_qemu)
    FERRY_PROBLEM(no_job)
    FERRY_PROBLEM(working_set_size)
    FERRY_PROBLEM(uneven_split)
    FERRY_PROBLEM(unfit_ranks)
    FERRY_PROBLEM(fault_without_move)
    FERRY_PROBLEM(small_topology)
    FERRY_PROBLEM(not_in_cluster)
    FERRY_PROBLEM(no_device)
    FERRY_PROBLEM(no_ranks)
    FERRY_PROBLEM(pretended_fault)
    FERRY_PROBLEM(bad_setting)
    FERRY_PROBLEM(unmatched_path)
    FERRY_PROBLEM(not_varied)
    FERRY_PROBLEM(bad_variation)
    FERRY_PROBLEM(bad_claim)
    FERRY_PROBLEM(nothing_random)
    FERRY_PROBLEM(too_many_errors)
#undef FERRY_PROBLEM
  }
  return "?";
}

std::string Diagnostic::text() const {
  if (path.empty()) return fmt::format("{}:{}:{}: {}", file, line, column, message);
  return fmt::format("{}:{}:{}: {}: {}", file, line, column, path, message);
}

std::uint32_t Report::add_source(std::string name, SourceKind kind) {
  sources_.push_back({std::move(name), kind});
  return static_cast<std::uint32_t>(sources_.size() - 1);
}

const std::string& Report::source_name(std::uint32_t source) const {
  check(source < sources_.size(), "a place names a source that was never added");
  return sources_[source].name;
}

SourceKind Report::source_kind(std::uint32_t source) const {
  check(source < sources_.size(), "a place names a source that was never added");
  return sources_[source].kind;
}

void Report::add(Problem problem, SourcePlace place, std::string path, std::string message) {
  if (entries_.size() >= most_errors) {
    ++dropped_;
    return;
  }
  Diagnostic diagnostic;
  diagnostic.file = source_name(place.source);
  diagnostic.line = place.line;
  diagnostic.column = place.column;
  diagnostic.path = std::move(path);
  diagnostic.message = std::move(message);
  diagnostic.problem = problem;
  entries_.push_back({place, std::move(diagnostic)});
}

Diagnostics Report::take() {
  std::stable_sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.place.source, a.place.line, a.place.column) <
           std::tie(b.place.source, b.place.line, b.place.column);
  });
  Diagnostics diagnostics;
  diagnostics.reserve(entries_.size() + 1);
  for (Entry& entry : entries_) diagnostics.push_back(std::move(entry.diagnostic));
  if (dropped_ > 0) {
    Diagnostic rest;
    rest.file = diagnostics.back().file;
    rest.line = diagnostics.back().line;
    rest.column = diagnostics.back().column;
    rest.message = fmt::format("{} more errors are not shown; correct these first", dropped_);
    rest.problem = Problem::too_many_errors;
    diagnostics.push_back(std::move(rest));
  }
  entries_.clear();
  dropped_ = 0;
  return diagnostics;
}

std::string in_quotes(std::string_view text) {
  std::string shown = "'";
  std::size_t taken = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    // Cuts only where a character begins: a half UTF-8 sequence would be unreadable.
    if (taken >= longest_quote && (byte & 0xC0U) != 0x80U) {
      return shown + "...'";
    }
    ++taken;
    if (c == '\n') {
      shown += "\\n";
    } else if (c == '\t') {
      shown += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      shown += fmt::format("\\x{:02x}", byte);
    } else {
      shown += c;
    }
  }
  return shown + "'";
}

std::string listed(const std::vector<std::string_view>& words) {
  constexpr std::size_t most_words = 20;
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i == most_words && words.size() > most_words + 1) {
      return text + fmt::format(" and {} more", words.size() - i);
    }
    if (i > 0) text += ", ";
    text += words[i].size() <= longest_word ? std::string(words[i]) : in_quotes(words[i]);
  }
  return text;
}

std::string_view nearest(std::string_view text, const std::vector<std::string_view>& words) {
  if (text.empty() || text.size() > longest_word) return {};
  std::string_view best;
  std::size_t best_distance = 0;
  // A candidate list is searched up to here: suggestions must not make a bad file slow.
  constexpr std::size_t most_words = 500;
  for (std::size_t i = 0; i < words.size() && i < most_words; ++i) {
    const std::string_view word = words[i];
    if (word.size() > longest_word) continue;
    const std::size_t distance = edit_distance(text, word);
    if (distance > std::max<std::size_t>(1, std::max(text.size(), word.size()) / 3)) continue;
    if (distance >= word.size()) continue;  // nothing in common
    if (best.empty() || distance < best_distance) {
      best = word;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace ferry
