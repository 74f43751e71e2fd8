// Reading a scenario with 1,000 listed VMs, against yaml-cpp's own load of the same text: the ratio
// of the two times is what counts (at most 2). And how soon ten megabytes of brackets are refused.
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <chrono>
#include <string>

#include "core/scenario/document.hpp"
#include "core/units/check.hpp"

namespace {

/// 1,000 VMs on 125 hosts, each with its own sizes and its own migration to the next host.
std::string listed_scenario() {
  constexpr int vms = 1000;
  constexpr int hosts = 125;
  std::string text =
      "ferry: 1\nname: listed\nplatform: test-bed.yaml\ncluster:\n  hosts:\n"
      "    - {name: host, count: 125, cores: 64, memory: 128GiB, virtual_functions: 64}\nvms:\n";
  for (int i = 0; i < vms; ++i) {
    text += fmt::format(
        "  - name: vm-{0}\n    on: host{1}\n    vcpus: 2\n    memory: {2}MiB\n"
        "    virtual_functions: 1\n    ivshmem: 64MiB\n"
        "    pages: {{zero: {3}%, working_set: {4}MiB, idle_dirty_rate: {5}MB/s}}\n",
        i, i % hosts, 1024 + i, 20 + i % 30, 50 + i % 100, 1 + i % 40);
  }
  text += "migrations:\n";
  for (int i = 0; i < hosts; ++i) {
    text += fmt::format("  - {{name: move-{0}, vms: vm-{0}, to: host{1}, at: {0}ms}}\n", i,
                        (i + 1) % hosts);
  }
  return text;
}

const std::string& text() {
  static const std::string scenario = listed_scenario();
  return scenario;
}

void yaml_cpp_loads(benchmark::State& state) {
  for (auto _ : state) {
    const YAML::Node node = YAML::Load(text());
    benchmark::DoNotOptimize(node.size());
  }
}
BENCHMARK(yaml_cpp_loads)->Unit(benchmark::kMillisecond);

void ferry_reads(benchmark::State& state) {
  const std::string name = std::string(FERRY_SCENARIO_TESTS) + "/good/listed.yaml";
  for (auto _ : state) {
    const auto loaded = ferry::read_scenario(text(), name);
    ferry::check(loaded.has_value(), "the benchmark's scenario is accepted");
    benchmark::DoNotOptimize(loaded->resolved.size());
  }
}
BENCHMARK(ferry_reads)->Unit(benchmark::kMillisecond);

/// Both in turn, so that a busy machine slows both: `ratio` is ours over theirs.
void ferry_reads_beside_yaml_cpp(benchmark::State& state) {
  using Clock = std::chrono::steady_clock;
  const std::string name = std::string(FERRY_SCENARIO_TESTS) + "/good/listed.yaml";
  std::chrono::duration<double> ours{0};
  std::chrono::duration<double> theirs{0};
  for (auto _ : state) {
    const Clock::time_point start = Clock::now();
    const auto loaded = ferry::read_scenario(text(), name);
    benchmark::DoNotOptimize(loaded->resolved.size());
    const Clock::time_point between = Clock::now();
    const YAML::Node node = YAML::Load(text());
    benchmark::DoNotOptimize(node.size());
    ours += between - start;
    theirs += Clock::now() - between;
  }
  state.counters["ratio"] = ours / theirs;
}
BENCHMARK(ferry_reads_beside_yaml_cpp)->Unit(benchmark::kMillisecond);

void ferry_refuses_ten_megabytes_of_brackets(benchmark::State& state) {
  const std::string brackets(10U << 20U, '[');
  for (auto _ : state) {
    const auto loaded = ferry::read_scenario(brackets, "brackets.yaml");
    ferry::check(!loaded.has_value(), "brackets are no scenario");
    benchmark::DoNotOptimize(loaded.error().size());
  }
}
BENCHMARK(ferry_refuses_ten_megabytes_of_brackets)->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
