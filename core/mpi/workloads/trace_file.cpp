#include "core/mpi/workloads/trace_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fstream>
#include <sstream>
#include <utility>

namespace ferry::mpi {
namespace {

using Kind = TraceAction::Kind;

/// What SimGrid writes for MPI_ANY_SOURCE and MPI_ANY_TAG.
constexpr std::string_view written_any_source = "-333";
constexpr std::string_view written_any_tag = "-444";

constexpr std::uint64_t largest_size = 1ULL << 50U;  ///< of one message
constexpr std::size_t longest_line = 16U << 20U;

/// Bytes of an element by SimGrid's number of its type: double, int, char, short, long, float,
/// byte. Other numbers stand for types that only the traced program knew.
constexpr std::array<std::uint64_t, 7> type_sizes = {8, 4, 1, 2, 8, 4, 1};

/// Words that a trace has and that say nothing to a replay.
constexpr std::array<std::string_view, 5> ignored_words = {"finalize", "comm_size", "comm_split",
                                                           "comm_dup", "location"};

struct ActionWord {
  std::string_view word;
  Kind kind;
};
constexpr std::array<ActionWord, 27> action_words = {{
    {"compute", Kind::compute},
    {"sleep", Kind::sleep},
    {"send", Kind::send},
    {"recv", Kind::receive},
    {"isend", Kind::isend},
    {"irecv", Kind::irecv},
    {"Isend", Kind::isend},
    {"Irecv", Kind::irecv},
    {"sendRecv", Kind::sendrecv},
    {"wait", Kind::wait},
    {"test", Kind::test},
    {"waitall", Kind::wait_all},
    {"waitAll", Kind::wait_all},
    {"barrier", Kind::barrier},
    {"bcast", Kind::bcast},
    {"reduce", Kind::reduce},
    {"allreduce", Kind::allreduce},
    {"gather", Kind::gather},
    {"gatherv", Kind::gatherv},
    {"scatter", Kind::scatter},
    {"scatterv", Kind::scatterv},
    {"allgather", Kind::allgather},
    {"allgatherv", Kind::allgatherv},
    {"alltoall", Kind::alltoall},
    {"alltoallv", Kind::alltoallv},
    {"reducescatter", Kind::reduce_scatter},
    {"scan", Kind::scan},
}};

std::string quoted(std::string_view text) {
  std::string shown;
  for (const char c : text.substr(0, 40)) {
    shown += c >= ' ' && c <= '~' ? c : '?';
  }
  if (text.size() > 40) shown += "...";
  return "'" + shown + "'";
}

/// The first line, without its end; `rest` begins behind it.
std::string_view take_line(std::string_view& rest) {
  const std::size_t end = std::min(rest.find('\n'), rest.size());
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return line;
}

/// Reads one line's words; the first thing that is wrong is kept.
class Line {
 public:
  explicit Line(std::string_view text) {
    std::size_t at = 0;
    while (at < text.size()) {
      const std::size_t begin = text.find_first_not_of(" \t\r", at);
      if (begin == std::string_view::npos) break;
      const std::size_t end = std::min(text.find_first_of(" \t\r", begin), text.size());
      words_.push_back(text.substr(begin, end - begin));
      at = end;
    }
  }

  [[nodiscard]] std::size_t count() const { return words_.size(); }
  [[nodiscard]] std::string_view word(std::size_t i) const { return words_[i]; }
  [[nodiscard]] const std::optional<std::string>& error() const { return error_; }
  void complain(std::string message) {
    if (!error_) error_ = std::move(message);
  }

  std::int64_t whole(std::size_t i, std::int64_t low, std::int64_t high, std::string_view what) {
    std::int64_t value = 0;
    const std::string_view text = words_[i];
    const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (bad != std::errc() || end != text.data() + text.size()) {
      complain(fmt::format("{} is no whole number; write {}", quoted(text), what));
      return low;
    }
    if (value < low || value > high) {
      complain(fmt::format("{} is out of range; write {} from {} to {}", value, what, low, high));
      return low;
    }
    return value;
  }

  double number(std::size_t i, std::string_view what) {
    double value = 0;
    const std::string_view text = words_[i];
    const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (bad != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
      complain(fmt::format("{} is no number; write {}", quoted(text), what));
      return 0;
    }
    if (value < 0 || value > 1e18) {
      complain(fmt::format("{} is out of range; write {} from 0 to 1e18", quoted(text), what));
      return 0;
    }
    return value;
  }

  /// A count of elements, which SimGrid writes as a number.
  std::uint64_t elements(std::size_t i) {
    const double value = number(i, "a count of elements");
    if (value != std::floor(value) || value > static_cast<double>(largest_size)) {
      complain(fmt::format("{} is no count of elements; write a whole number up to 2^50",
                           quoted(words_[i])));
      return 0;
    }
    return static_cast<std::uint64_t>(value);
  }

 private:
  std::vector<std::string_view> words_;
  std::optional<std::string> error_;
};

/// A request that a rank has not waited for.
struct Open {
  bool sends;
  Rank partner;
  Tag tag;
};

struct RankState {
  std::vector<Open> open;
  std::uint64_t default_size = 1;  ///< bytes of an element where no type is written
  bool tested = false;             ///< a test may have ended any request
};

class Parser {
 public:
  Parser(std::uint32_t ranks, std::optional<std::uint32_t> only)
      : ranks_(ranks), only_(only), states_(ranks) {
    program_.ranks.resize(ranks);
  }

  void parse(const TraceText& text) {
    std::size_t number = 0;
    std::string_view rest = text.text;
    while (!rest.empty() && errors_.size() < most_trace_errors) {
      ++number;
      const std::string_view line = take_line(rest);
      const std::optional<std::string> error =
          line.size() > longest_line
              ? std::optional<std::string>("the line is longer than 16 MiB; write one action")
              : parse_line(line);
      if (error) errors_.push_back(fmt::format("{}:{}: {}", text.name, number, *error));
    }
  }

  tl::expected<TraceProgram, TraceErrors> finish(const std::string& name) {
    if (errors_.empty()) {
      for (std::uint32_t rank = 0; rank < ranks_; ++rank) {
        if ((seen_.size() > rank && seen_[rank]) || (only_ && rank != *only_)) continue;
        errors_.push_back(
            fmt::format("{}: rank {} has no action, and the job has {} ranks; give "
                        "the job as many ranks as the trace has",
                        name, rank, ranks_));
        break;
      }
    }
    if (!errors_.empty()) return tl::unexpected(std::move(errors_));
    return std::move(program_);
  }

 private:
  std::optional<std::string> parse_line(std::string_view text) {
    Line line(text);
    if (line.count() == 0 || line.word(0).front() == '#') return std::nullopt;
    const auto rank =
        static_cast<std::uint32_t>(line.whole(0, 0, std::int64_t{ranks_} - 1, "a rank of the job"));
    if (line.error()) return line.error();
    if (only_ && rank != *only_) return std::nullopt;
    if (line.count() < 2) return "there is no action; write RANK ACTION ARGUMENT...";
    seen_.resize(ranks_, false);
    seen_[rank] = true;
    const std::string_view word = line.word(1);
    if (word == "init") {
      // With an argument: a trace whose elements are doubles unless it says otherwise.
      states_[rank].default_size = line.count() > 2 ? type_sizes[0] : 1;
      return std::nullopt;
    }
    if (std::find(ignored_words.begin(), ignored_words.end(), word) != ignored_words.end()) {
      return std::nullopt;
    }
    const std::optional<Kind> kind = kind_of(word);
    if (!kind) {
      return fmt::format(
          "{} is no action; write compute, send, recv, isend, irecv, wait, waitall "
          "or a collective's name",
          quoted(word));
    }
    if (++actions_ > most_trace_actions) {
      return fmt::format("the trace has more than {} actions; cut it", most_trace_actions);
    }
    TraceAction action;
    action.kind = *kind;
    read(line, rank, action);
    if (line.error()) return line.error();
    program_.ranks[rank].actions.push_back(action);
    return std::nullopt;
  }

  static std::optional<Kind> kind_of(std::string_view word) {
    for (const ActionWord& known : action_words) {
      if (known.word == word) return known.kind;
    }
    return std::nullopt;
  }

  /// True if there are at least so many arguments.
  static bool has(Line& line, std::size_t least, std::string_view form) {
    if (line.count() >= least + 2) return true;
    line.complain(fmt::format("{} has {} of its arguments; write RANK {} {}", line.word(1),
                              line.count() - 2, line.word(1), form));
    return false;
  }

  [[nodiscard]] Rank partner(Line& line, std::size_t i, bool any) const {
    if (any && line.word(i) == written_any_source) return any_source;
    return static_cast<Rank>(line.whole(i, 0, std::int64_t{ranks_} - 1, "a rank of the job"));
  }
  static Tag tag(Line& line, std::size_t i) {
    if (line.word(i) == written_any_tag) return any_tag;
    return static_cast<Tag>(line.whole(i, 0, largest_tag, "a tag"));
  }
  [[nodiscard]] Rank root(Line& line, std::size_t i) const {
    if (line.count() <= i) return 0;
    return static_cast<Rank>(line.whole(i, 0, std::int64_t{ranks_} - 1, "the root's rank"));
  }
  /// Bytes of an element, by the type at word `i` if there is one.
  [[nodiscard]] std::uint64_t element(Line& line, std::size_t i, std::uint32_t rank) const {
    if (line.count() <= i) return states_[rank].default_size;
    return type_sizes[static_cast<std::size_t>(
        line.whole(i, 0, type_sizes.size() - 1, "a type that SimGrid has by itself,"))];
  }
  static std::uint64_t bytes(Line& line, std::size_t i, std::uint64_t element) {
    return line.elements(i) * element;
  }
  /// Sizes by rank from word `first` on.
  void list(Line& line, std::size_t first, std::uint64_t element, std::uint32_t rank) {
    std::vector<std::size_t>& lists = program_.ranks[rank].lists;
    for (std::uint32_t i = 0; i < ranks_; ++i) lists.push_back(bytes(line, first + i, element));
  }

  void read(Line& line, std::uint32_t rank, TraceAction& action) {
    switch (action.kind) {
      case Kind::compute:
        if (has(line, 1, "AMOUNT")) action.amount = line.number(2, "an amount of computation");
        return;
      case Kind::sleep:
        if (has(line, 1, "SECONDS")) action.amount = line.number(2, "seconds");
        return;
      case Kind::send:
      case Kind::isend:
      case Kind::receive:
      case Kind::irecv: return read_message(line, rank, action);
      case Kind::sendrecv: return read_sendrecv(line, rank, action);
      case Kind::wait:
      case Kind::test: return read_wait(line, rank, action);
      case Kind::wait_all: states_[rank].open.clear(); return;
      case Kind::barrier: return;
      default: return read_collective(line, rank, action);
    }
  }

  void read_message(Line& line, std::uint32_t rank, TraceAction& action) {
    if (!has(line, 3, "PARTNER TAG COUNT [TYPE]")) return;
    const bool receives = action.kind == Kind::receive || action.kind == Kind::irecv;
    action.partner = partner(line, 2, receives);
    action.tag = tag(line, 3);
    if (!receives && action.tag == any_tag)
      line.complain("a message is sent with a tag; write one");
    const std::uint64_t element_size = element(line, 5, rank);
    if (action.kind == Kind::receive && line.word(4) == "-1") {
      action.size = unknown_size;
    } else {
      action.size = bytes(line, 4, element_size);
    }
    if (action.kind == Kind::isend || action.kind == Kind::irecv) {
      states_[rank].open.push_back({action.kind == Kind::isend, action.partner, action.tag});
    }
  }

  /// SimGrid leaves out the tags.
  void read_sendrecv(Line& line, std::uint32_t rank, TraceAction& action) {
    if (!has(line, 4, "SEND_COUNT TO RECEIVE_COUNT FROM [SEND_TYPE RECEIVE_TYPE]")) return;
    action.size = bytes(line, 2, element(line, 6, rank));
    action.partner = partner(line, 3, false);
    action.into = bytes(line, 4, element(line, 7, rank));
    action.from = partner(line, 5, true);
  }

  void read_wait(Line& line, std::uint32_t rank, TraceAction& action) {
    if (!has(line, 3, "FROM TO TAG")) return;
    const Rank from = partner(line, 2, true);
    const Rank to = partner(line, 3, true);
    action.tag = tag(line, 4);
    if (line.error()) return;
    const auto me = static_cast<Rank>(rank);
    if (from != me && to != me) {
      line.complain(fmt::format("rank {} waits for a message from {} to {}; write one of its own",
                                rank, from, to));
      return;
    }
    RankState& state = states_[rank];
    const auto find = [&](bool sends) {
      return std::find_if(state.open.begin(), state.open.end(), [&](const Open& open) {
        const Rank other = sends ? to : from;
        return open.sends == sends &&
               (open.partner == other || (!sends && open.partner == any_source)) &&
               (open.tag == action.tag || (!sends && open.tag == any_tag));
      });
    };
    auto found = to == me ? find(false) : state.open.end();
    if (found == state.open.end() && from == me) found = find(true);
    if (found == state.open.end()) {
      // Where a request was tested for, SimGrid's replay takes such a wait as done.
      if (state.tested) {
        action.sends = from == me;
        action.partner = from == me ? to : from;
        return;
      }
      line.complain(
          fmt::format("no isend or irecv before it is from {} to {} with tag {}; write "
                      "it first",
                      from, to, action.tag));
      return;
    }
    action.sends = found->sends;
    action.partner = found->partner;
    action.tag = found->tag;
    if (action.kind == Kind::test) {
      state.tested = true;
    } else {
      state.open.erase(found);
    }
  }

  void read_collective(Line& line, std::uint32_t rank, TraceAction& action) {
    const std::size_t ranks = ranks_;
    action.list = static_cast<std::uint32_t>(program_.ranks[rank].lists.size());
    switch (action.kind) {
      case Kind::bcast:
        if (!has(line, 1, "COUNT [ROOT [TYPE]]")) return;
        action.size = bytes(line, 2, element(line, 4, rank));
        action.partner = root(line, 3);
        return;
      case Kind::reduce:
        if (!has(line, 2, "COUNT AMOUNT [ROOT [TYPE]]")) return;
        action.size = bytes(line, 2, element(line, 5, rank));
        action.amount = line.number(3, "an amount of computation");
        action.partner = root(line, 4);
        return;
      case Kind::allreduce:
      case Kind::scan:
        if (!has(line, 2, "COUNT AMOUNT [TYPE]")) return;
        action.size = bytes(line, 2, element(line, 4, rank));
        action.amount = line.number(3, "an amount of computation");
        return;
      case Kind::alltoall:
      case Kind::allgather:
        if (!has(line, 2, "SEND_COUNT RECEIVE_COUNT [SEND_TYPE RECEIVE_TYPE]")) return;
        action.size = bytes(line, 2, element(line, 4, rank));
        return;
      case Kind::gather:
      case Kind::scatter: {
        if (!has(line, 2, "SEND_COUNT RECEIVE_COUNT [ROOT [SEND_TYPE RECEIVE_TYPE]]")) return;
        const bool gathers = action.kind == Kind::gather;
        action.size = bytes(line, gathers ? 2 : 3, element(line, gathers ? 5 : 6, rank));
        action.partner = root(line, 4);
        return;
      }
      case Kind::gatherv:
      case Kind::allgatherv: {
        if (!has(line, 1 + ranks, "SEND_COUNT RECEIVE_COUNT... [ROOT] [TYPES]")) return;
        const bool rooted = action.kind == Kind::gatherv;
        const std::size_t types = 3 + ranks + (rooted ? 1 : 0);
        action.size = bytes(line, 2, element(line, types, rank));
        if (rooted) action.partner = root(line, 3 + ranks);
        return list(line, 3, element(line, types, rank), rank);
      }
      case Kind::scatterv: {
        if (!has(line, 1 + ranks, "SEND_COUNT... RECEIVE_COUNT [ROOT] [TYPES]")) return;
        const std::size_t types = 4 + ranks;
        action.size = bytes(line, 2 + ranks, element(line, types, rank));
        action.partner = root(line, 3 + ranks);
        return list(line, 2, element(line, types, rank), rank);
      }
      case Kind::reduce_scatter:
        if (!has(line, 1 + ranks, "RECEIVE_COUNT... AMOUNT [TYPE]")) return;
        action.amount = line.number(2 + ranks, "an amount of computation");
        return list(line, 2, element(line, 3 + ranks, rank), rank);
      case Kind::alltoallv: {
        if (!has(line, 2 + 2 * ranks, "SIZE SEND_COUNT... SIZE RECEIVE_COUNT... [TYPES]")) return;
        list(line, 3, element(line, 4 + 2 * ranks, rank), rank);
        return list(line, 4 + ranks, element(line, 5 + 2 * ranks, rank), rank);
      }
      default: return;
    }
  }

  std::uint32_t ranks_;
  std::optional<std::uint32_t> only_;
  TraceProgram program_;
  std::vector<RankState> states_;
  std::vector<bool> seen_;
  TraceErrors errors_;
  std::uint64_t actions_ = 0;
};

tl::expected<std::string, TraceErrors> text_of(const std::filesystem::path& file,
                                               std::uint64_t& left) {
  const auto failed = [&](std::string_view why) {
    return tl::unexpected(TraceErrors{fmt::format("{}: {}", file.string(), why)});
  };
  std::error_code error;
  const auto status = std::filesystem::status(file, error);
  if (!std::filesystem::exists(status))
    return failed("there is no such file; write a trace's name");
  if (!std::filesystem::is_regular_file(status))
    return failed("it is no file; write a trace's name");
  const std::uintmax_t size = std::filesystem::file_size(file, error);
  if (error) return failed("its size is unknown: " + error.message());
  if (size > left) return failed("the trace has more than 1 GiB; cut it");
  left -= size;
  std::ifstream stream(file, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  if (!stream) return failed("it cannot be read");
  return std::move(text).str();
}

/// Tells `take` of the trace's pieces, one after the other.
template <class Take>
std::optional<TraceErrors> read_pieces(const std::filesystem::path& file, const Take& take) {
  std::uint64_t left = most_trace_bytes;
  auto first = text_of(file, left);
  if (!first) return std::move(first.error());
  const auto files = listed_files(*first);
  if (!files) {
    take(TraceText{file.string(), *first});
    return std::nullopt;
  }
  for (const std::string& name : *files) {
    const std::filesystem::path part = file.parent_path() / name;
    auto text = text_of(part, left);
    if (!text) return std::move(text.error());
    take(TraceText{part.string(), *text});
  }
  return std::nullopt;
}

/// Whose action the line is; none: nobody's.
std::optional<std::uint32_t> rank_of_line(std::string_view line) {
  const std::size_t begin = line.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return std::nullopt;
  std::uint32_t rank = 0;
  const auto [end, bad] = std::from_chars(line.data() + begin, line.data() + line.size(), rank);
  if (bad != std::errc()) return std::nullopt;
  return rank;
}

}  // namespace

tl::expected<TraceProgram, TraceErrors> parse_trace(const std::vector<TraceText>& texts,
                                                    std::uint32_t ranks,
                                                    std::optional<std::uint32_t> only) {
  Parser parser(ranks, only);
  for (const TraceText& text : texts) parser.parse(text);
  return parser.finish(texts.empty() ? "the trace" : texts.front().name);
}

std::optional<std::vector<std::string>> listed_files(std::string_view text) {
  std::vector<std::string> files;
  while (!text.empty()) {
    const Line line(take_line(text));
    if (line.count() == 0 || line.word(0).front() == '#') continue;
    // An action has at least a rank and a word.
    if (line.count() > 1) return std::nullopt;
    files.emplace_back(line.word(0));
  }
  if (files.empty()) return std::nullopt;
  return files;
}

tl::expected<TraceProgram, TraceErrors> read_trace(const std::filesystem::path& file,
                                                   std::uint32_t ranks,
                                                   std::optional<std::uint32_t> only) {
  Parser parser(ranks, only);
  auto unreadable = read_pieces(file, [&](const TraceText& piece) { parser.parse(piece); });
  if (unreadable) return tl::unexpected(std::move(*unreadable));
  return parser.finish(file.string());
}

tl::expected<std::vector<std::string>, TraceErrors> divide_trace(
    const std::filesystem::path& file, const std::vector<std::uint32_t>& groups_of_ranks) {
  std::vector<std::string> groups;
  for (const std::uint32_t group : groups_of_ranks) {
    groups.resize(std::max<std::size_t>(groups.size(), group + std::size_t{1}));
  }
  auto unreadable = read_pieces(file, [&](const TraceText& piece) {
    for (std::string_view rest = piece.text; !rest.empty();) {
      const std::string_view line = take_line(rest);
      const std::optional<std::uint32_t> rank = rank_of_line(line);
      if (!rank || *rank >= groups_of_ranks.size()) continue;
      groups[groups_of_ranks[*rank]].append(line).push_back('\n');
    }
  });
  if (unreadable) return tl::unexpected(std::move(*unreadable));
  return groups;
}

}  // namespace ferry::mpi
