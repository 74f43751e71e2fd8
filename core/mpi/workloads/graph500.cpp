#include "core/mpi/workloads/graph500.hpp"

#include <algorithm>

#include "core/ports/randomness.hpp"
#include "core/units/check.hpp"

namespace ferry::mpi {
namespace {

struct Edge {
  std::uint32_t from = 0;
  std::uint32_t to = 0;
};

/// Neighbours of each vertex, in the order of generation.
struct Graph {
  std::vector<std::uint64_t> first;
  std::vector<std::uint32_t> neighbours;
};

std::vector<Edge> kronecker_edges(std::uint32_t scale, std::uint32_t edge_factor,
                                  std::uint64_t seed) {
  constexpr double upper = 0.57 + 0.19;                  // A + B: the bit of `from` is 0
  constexpr double right_of_lower = 0.05 / (1 - upper);  // D / (C + D)
  constexpr double right_of_upper = 0.19 / upper;        // B / (A + B)
  RandomStream stream(seed, "graph500/edges");
  // The generator's numbers crowd low vertices; a permutation spreads them over ranks.
  std::vector<std::uint32_t> shuffled(std::size_t{1} << scale);
  for (std::uint32_t i = 0; i < shuffled.size(); ++i) shuffled[i] = i;
  for (std::size_t i = shuffled.size() - 1; i > 0; --i) {
    std::swap(shuffled[i], shuffled[stream.next_below(i + 1)]);
  }
  std::vector<Edge> edges(std::size_t{edge_factor} << scale);
  for (Edge& edge : edges) {
    for (std::uint32_t bit = 0; bit < scale; ++bit) {
      const bool lower = stream.next_unit() >= upper;
      const bool right = stream.next_unit() < (lower ? right_of_lower : right_of_upper);
      edge.from = edge.from * 2 + (lower ? 1 : 0);
      edge.to = edge.to * 2 + (right ? 1 : 0);
    }
    edge = {shuffled[edge.from], shuffled[edge.to]};
  }
  std::erase_if(edges, [](const Edge& edge) { return edge.from == edge.to; });
  return edges;
}

Graph graph_of(std::uint32_t scale, const std::vector<Edge>& edges) {
  Graph graph;
  const std::size_t vertices = std::size_t{1} << scale;
  graph.first.assign(vertices + 1, 0);
  for (const Edge& edge : edges) {
    ++graph.first[edge.from + 1];
    ++graph.first[edge.to + 1];
  }
  for (std::size_t i = 0; i < vertices; ++i) graph.first[i + 1] += graph.first[i];
  graph.neighbours.resize(edges.size() * 2);
  std::vector<std::uint64_t> next(graph.first.begin(), graph.first.end() - 1);
  for (const Edge& edge : edges) {
    graph.neighbours[next[edge.from]++] = edge.to;
    graph.neighbours[next[edge.to]++] = edge.from;
  }
  return graph;
}

/// Searches from one vertex; `look(level, vertex, neighbour)` for each edge that is looked at.
template <class Look>
std::uint32_t search_graph(const Graph& graph, std::uint32_t root, const Look& look) {
  std::vector<bool> seen(graph.first.size() - 1, false);
  std::vector<std::uint32_t> frontier = {root};
  std::vector<std::uint32_t> next;
  seen[root] = true;
  std::uint32_t level = 0;
  for (; !frontier.empty(); ++level) {
    next.clear();
    for (const std::uint32_t vertex : frontier) {
      for (std::uint64_t i = graph.first[vertex]; i < graph.first[vertex + 1]; ++i) {
        const std::uint32_t neighbour = graph.neighbours[i];
        look(level, vertex, neighbour);
        if (seen[neighbour]) continue;
        seen[neighbour] = true;
        next.push_back(neighbour);
      }
    }
    frontier.swap(next);
  }
  return level;
}

/// Roots have neighbours, as the specification asks.
std::uint32_t draw_root(const Graph& graph, RandomStream& stream) {
  for (int attempt = 0; attempt < 100'000; ++attempt) {
    const auto root = static_cast<std::uint32_t>(stream.next_below(graph.first.size() - 1));
    if (graph.first[root] != graph.first[root + 1]) return root;
  }
  check(false, "a graph has a vertex with neighbours");
  return 0;
}

}  // namespace

SearchPlan::SearchPlan(std::uint32_t scale, std::uint32_t edge_factor, std::uint32_t ranks,
                       std::uint64_t seed)
    : ranks_(ranks), even_(scale > largest_real_scale || ranks > most_real_ranks) {
  check(scale > 0 && edge_factor > 0 && ranks > 0, "a graph has edges and somewhere to be");
  const std::uint32_t generated = std::min(scale, largest_real_scale);
  const Graph graph = graph_of(generated, kronecker_edges(generated, edge_factor, seed));
  const std::size_t width = even_ ? 1 : std::size_t{ranks} * ranks;
  RandomStream stream(seed, "graph500/roots");
  first_.push_back(0);
  for (std::uint32_t search = 0; search < graph500_searches; ++search) {
    const std::size_t begin = edges_.size();
    const std::uint32_t levels = search_graph(
        graph, draw_root(graph, stream),
        [&](std::uint32_t level, std::uint32_t vertex, std::uint32_t neighbour) {
          const std::size_t at = begin + level * width;
          if (edges_.size() < at + width) edges_.resize(at + width, 0);
          edges_[at + (even_ ? 0 : std::size_t{vertex % ranks} * ranks + neighbour % ranks)] += 1;
        });
    first_.push_back(first_.back() + levels);
  }
  for (std::uint64_t& edges : edges_) edges <<= scale - generated;
}

std::uint64_t SearchPlan::edges(std::uint32_t search, std::uint32_t level, std::uint32_t from,
                                std::uint32_t to) const {
  const std::size_t at = first_[search] + level;
  if (!even_) return edges_[(at * ranks_ + from) * ranks_ + to];
  // What does not divide goes to the first pairs.
  const std::uint64_t pairs = std::uint64_t{ranks_} * ranks_;
  const std::uint64_t pair = std::uint64_t{from} * ranks_ + to;
  return edges_[at] / pairs + (pair < edges_[at] % pairs ? 1 : 0);
}

std::uint64_t SearchPlan::looked_at(std::uint32_t search, std::uint32_t level,
                                    std::uint32_t rank) const {
  const std::size_t at = first_[search] + level;
  if (even_) {
    const std::uint64_t pairs = std::uint64_t{ranks_} * ranks_;
    const std::uint64_t before = std::uint64_t{rank} * ranks_;
    const std::uint64_t rest = edges_[at] % pairs;
    const std::uint64_t more = rest > before ? std::min<std::uint64_t>(rest - before, ranks_) : 0;
    return edges_[at] / pairs * ranks_ + more;
  }
  std::uint64_t sum = 0;
  for (std::uint32_t to = 0; to < ranks_; ++to) sum += edges(search, level, rank, to);
  return sum;
}

void run_graph500(const SearchPlan& plan, std::uint32_t searches, Duration edge, Calls& calls,
                  RankLog& log) {
  const auto ranks = static_cast<std::uint32_t>(calls.size());
  const auto rank = static_cast<std::uint32_t>(calls.rank());
  std::vector<std::size_t> to(ranks);
  std::vector<std::size_t> from(ranks);
  const bool keeps = rank < sampling_ranks;
  if (keeps) log.samples.reserve(searches);
  for (std::uint32_t n = 0; n < searches; ++n) {
    const std::uint32_t search = n % plan.searches();
    calls.barrier();
    const TimePoint began = calls.now();
    for (std::uint32_t level = 0; level < plan.levels(search); ++level) {
      std::uint64_t received = 0;
      for (std::uint32_t other = 0; other < ranks; ++other) {
        to[other] = plan.edges(search, level, rank, other) * edge_message_size;
        from[other] = plan.edges(search, level, other, rank) * edge_message_size;
        received += from[other] / edge_message_size;
      }
      const std::uint64_t looked_at = plan.looked_at(search, level, rank);
      calls.compute(edge * (static_cast<double>(looked_at) / 2));
      calls.alltoallv(to, from);
      calls.compute(edge * (static_cast<double>(received) / 2));
      calls.allreduce(sizeof(std::uint64_t));  // size of the next frontier
    }
    if (keeps) log.samples.push_back({0, n, began, calls.now() - began});
  }
}

Traffic graph500_traffic(const SearchPlan& plan, std::uint32_t searches, std::uint32_t /*ranks*/,
                         std::uint32_t rank) {
  Traffic traffic;
  for (std::uint32_t n = 0; n < searches; ++n) {
    const std::uint32_t search = n % plan.searches();
    traffic.call(Collective::barrier, 0);
    for (std::uint32_t level = 0; level < plan.levels(search); ++level) {
      traffic.call(Collective::alltoallv, plan.looked_at(search, level, rank) * edge_message_size);
      traffic.call(Collective::allreduce, sizeof(std::uint64_t));
    }
  }
  return traffic;
}

}  // namespace ferry::mpi
