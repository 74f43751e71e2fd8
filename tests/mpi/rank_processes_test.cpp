// Ranks as processes: how a job ends when one of them dies, throws, or is wrong.
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <set>
#include <string>
#include <thread>

#include "tests/mpi/mpi_job.hpp"

namespace ferry::mpi {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

/// Every rank that is not meant to fail has to end with an error that says `why`; whoever does not,
/// fails here.
std::vector<shm::RankFailure> run_to_an_error(std::uint32_t ranks, const std::string& why,
                                              const std::function<void(Communicator&)>& body) {
  const UniformChooser chooser(every_protocol());
  return shm::run_shm_processes(
      ranks,
      [&](std::uint32_t rank, const std::shared_ptr<shm::Region>& region) {
        const shm::RankEnd end =
            shm::run_rank(region, RankId{rank}, ranks, chooser, {}, [&](Process& process) {
              Communicator world = process.world();
              body(world);
            });
        ASSERT_FALSE(end.ended);
        EXPECT_THAT(end.ended.error().reason, HasSubstr(why));
        if (testing::Test::HasFailure()) throw std::runtime_error("it failed");
      },
      {.limit = Duration::seconds(120), .others_survive = true});
}

std::set<std::string> names_of_shared_memory() {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    if (entry.path().filename().string().starts_with("ferry")) names.insert(entry.path());
  }
  return names;
}

/// Those of other tests, which run meanwhile, go by themselves and are waited for.
std::set<std::string> names_left_since(const std::set<std::string>& before) {
  std::set<std::string> left = names_of_shared_memory();
  for (const std::string& name : before) left.erase(name);
  for (int i = 0; i < 600 && !left.empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const std::set<std::string> now = names_of_shared_memory();
    std::erase_if(left, [&](const std::string& name) { return !now.contains(name); });
  }
  return left;
}

enum class Role { sends, receives, is_waited_for };

TEST(RankProcesses, end_with_the_name_of_a_rank_that_was_killed_in_the_middle_of_a_message) {
  const std::set<std::string> before = names_of_shared_memory();
  for (const Role role : {Role::sends, Role::receives, Role::is_waited_for}) {
    for (const std::size_t size : {100U, 40'000U, 3'000'000U}) {
      SCOPED_TRACE(testing::Message() << static_cast<int>(role) << ", " << size << " B");
      const auto failures =
          run_to_an_error(4, "rank 1 was killed by signal 9", [&](Communicator& world) {
            world.barrier();
            std::vector<std::byte> bytes(size);
            Buffer all(bytes.data(), size);
            const ConstBuffer from(bytes.data(), size);
            if (world.rank() == 1) {
              // Announced, or some of its fragments on their way.
              Request request =
                  role == Role::sends ? world.isend(from, 0, 3) : world.irecv(all, 0, 3);
              (void)world.test(request);
              raise(SIGKILL);
            }
            if (world.rank() != 0) return world.barrier();
            if (role == Role::sends) {
              world.recv(all, 1, 3);
              world.recv(all, 1, 4);
            } else if (role == Role::receives) {
              for (int i = 0; i < 5000; ++i) world.send(from, 1, 3);
            }
            world.barrier();
          });
      ASSERT_EQ(failures.size(), 1U);
      EXPECT_EQ(failures[0].rank, 1U);
      EXPECT_EQ(failures[0].signal, SIGKILL);
    }
  }
  EXPECT_THAT(names_left_since(before), IsEmpty());
}

TEST(RankProcesses, end_with_the_reason_of_a_rank_that_threw) {
  const auto failures =
      run_to_an_error(3, "rank 2 has failed: out of paper", [](Communicator& world) {
        world.barrier();
        if (world.rank() == 2) throw std::runtime_error("out of paper");
        world.barrier();
      });
  ASSERT_EQ(failures.size(), 1U);
  EXPECT_EQ(failures[0].to_text(), "rank 2 exited with status 70");
}

TEST(RankProcesses, that_call_different_sizes_all_hear_of_it) {
  const auto failures =
      run_to_an_error(4, "collective 0 of communicator world: rank ", [](Communicator& world) {
        const std::int64_t values[] = {1, 2};
        std::int64_t sums[2] = {};
        const std::size_t size = world.rank() == 0 ? 16 : 8;
        world.allreduce({values, size}, {sums, size}, ElementType::int64, Reduction::sum);
        world.barrier();
      });
  EXPECT_THAT(failures, IsEmpty());
}

}  // namespace
}  // namespace ferry::mpi
