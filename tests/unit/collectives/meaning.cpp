#include "tests/unit/collectives/meaning.hpp"

#include <cstring>
#include <numeric>

namespace ferry::mpi {
namespace {

std::size_t at(Rank rank) { return static_cast<std::size_t>(rank); }

std::size_t sum_of(std::span<const std::size_t> sizes) {
  return std::accumulate(sizes.begin(), sizes.end(), std::size_t{0});
}

ByteVector random_bytes(std::size_t size, std::mt19937_64& random) {
  ByteVector bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

void add(const ByteVector& from, ByteVector& into) {
  for (std::size_t i = 0; i + sum_element <= into.size(); i += sum_element) {
    std::uint32_t a = 0;
    std::uint32_t b = 0;
    std::memcpy(&a, &from[i], sum_element);
    std::memcpy(&b, &into[i], sum_element);
    b += a;
    std::memcpy(&into[i], &b, sum_element);
  }
}

ByteVector concatenate(const std::vector<RankMemory>& memory) {
  ByteVector all;
  for (const RankMemory& rank : memory) all.insert(all.end(), rank.input.begin(), rank.input.end());
  return all;
}

ByteVector sum_up_to(const std::vector<RankMemory>& memory, std::size_t count) {
  ByteVector sum(memory[0].input.size());
  for (std::size_t i = 0; i < count; ++i) add(memory[i].input, sum);
  return sum;
}

ByteVector cut(const ByteVector& bytes, std::size_t begin, std::size_t size) {
  return {bytes.begin() + static_cast<std::ptrdiff_t>(begin),
          bytes.begin() + static_cast<std::ptrdiff_t>(begin + size)};
}

ByteVector expected_alltoall(const CollectiveCase& test, const std::vector<RankMemory>& before,
                             Rank rank) {
  ByteVector result;
  for (Rank sender = 0; sender < test.ranks; ++sender) {
    const auto sizes = test.kind == Collective::alltoall
                           ? std::vector<std::size_t>(at(test.ranks), test.size)
                           : row(test, sender);
    const std::size_t begin = sum_of(std::span(sizes).first(at(rank)));
    const ByteVector block = cut(before[at(sender)].input, begin, sizes[at(rank)]);
    result.insert(result.end(), block.begin(), block.end());
  }
  return result;
}

}  // namespace

std::string CollectiveCase::describe() const {
  return std::string(to_name(kind)) + ", " + std::to_string(ranks) + " ranks, root " +
         std::to_string(root) + ", " + std::to_string(size) + " bytes";
}

std::vector<std::size_t> row(const CollectiveCase& test, Rank sender) {
  const auto begin = test.sizes.begin() + sender * test.ranks;
  return {begin, begin + test.ranks};
}
std::vector<std::size_t> column(const CollectiveCase& test, Rank receiver) {
  std::vector<std::size_t> sizes;
  for (Rank sender = 0; sender < test.ranks; ++sender)
    sizes.push_back(test.sizes[at(sender * test.ranks + receiver)]);
  return sizes;
}

RegionSizes region_sizes(const CollectiveCase& test, Rank rank) {
  const bool is_root = rank == test.root;
  const std::size_t all = test.size * at(test.ranks);
  switch (test.kind) {
    case Collective::bcast: return {0, test.size};
    case Collective::reduce: return {test.size, is_root ? test.size : 0};
    case Collective::allreduce:
    case Collective::scan: return {test.size, test.size};
    case Collective::gather: return {test.size, is_root ? all : 0};
    case Collective::gatherv: return {test.sizes[at(rank)], is_root ? sum_of(test.sizes) : 0};
    case Collective::scatter: return {is_root ? all : 0, test.size};
    case Collective::scatterv: return {is_root ? sum_of(test.sizes) : 0, test.sizes[at(rank)]};
    case Collective::allgather: return {test.size, all};
    case Collective::allgatherv: return {test.sizes[at(rank)], sum_of(test.sizes)};
    case Collective::alltoall: return {all, all};
    case Collective::alltoallv: return {sum_of(row(test, rank)), sum_of(column(test, rank))};
    case Collective::reduce_scatter: return {sum_of(test.sizes), test.sizes[at(rank)]};
    default: return {};
  }
}

std::vector<RankMemory> random_memory(const CollectiveCase& test, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<RankMemory> memory(at(test.ranks));
  for (Rank rank = 0; rank < test.ranks; ++rank) {
    const RegionSizes sizes = region_sizes(test, rank);
    memory[at(rank)] = {random_bytes(sizes.input, random), random_bytes(sizes.output, random)};
  }
  return memory;
}

ByteVector expected_output(const CollectiveCase& test, const std::vector<RankMemory>& before,
                           Rank rank) {
  const std::size_t size = region_sizes(test, rank).output;
  const auto begin_of = [&] { return sum_of(std::span(test.sizes).first(at(rank))); };
  switch (test.kind) {
    case Collective::bcast: return before[at(test.root)].output;
    case Collective::reduce:
      return rank == test.root ? sum_up_to(before, before.size()) : ByteVector();
    case Collective::allreduce: return sum_up_to(before, before.size());
    case Collective::scan: return sum_up_to(before, at(rank) + 1);
    case Collective::gather:
    case Collective::gatherv: return rank == test.root ? concatenate(before) : ByteVector();
    case Collective::allgather:
    case Collective::allgatherv: return concatenate(before);
    case Collective::scatter: return cut(before[at(test.root)].input, at(rank) * size, size);
    case Collective::scatterv: return cut(before[at(test.root)].input, begin_of(), size);
    case Collective::reduce_scatter: return cut(sum_up_to(before, before.size()), begin_of(), size);
    case Collective::alltoall:
    case Collective::alltoallv: return expected_alltoall(test, before, rank);
    default: return {};
  }
}

bool reduces(Collective kind) {
  return kind == Collective::reduce || kind == Collective::allreduce || kind == Collective::scan ||
         kind == Collective::reduce_scatter;
}
bool has_root(Collective kind) {
  return kind == Collective::bcast || kind == Collective::reduce || kind == Collective::gather ||
         kind == Collective::gatherv || kind == Collective::scatter || kind == Collective::scatterv;
}
bool by_sizes(Collective kind) {
  return kind == Collective::gatherv || kind == Collective::scatterv ||
         kind == Collective::allgatherv || kind == Collective::alltoallv ||
         kind == Collective::reduce_scatter;
}

std::vector<std::size_t> uneven_sizes(const CollectiveCase& test, std::size_t largest,
                                      std::mt19937_64& random) {
  const std::size_t unit = reduces(test.kind) ? sum_element : 1;
  const std::size_t count =
      at(test.ranks) * (test.kind == Collective::alltoallv ? at(test.ranks) : 1);
  std::vector<std::size_t> sizes;
  for (std::size_t i = 0; i < count; ++i)
    sizes.push_back(largest == 2 ? 2 * unit : unit * (random() % (largest + 1)));
  return sizes;
}

}  // namespace ferry::mpi
