// Random programs of point-to-point messages, checked against what a sequential reading of them
// says.
#include <algorithm>
#include <map>
#include <random>

#include "tests/mpi/mpi_job.hpp"
#include "tests/sanitized.hpp"

namespace ferry::mpi {
namespace {

class RandomPrograms : public MpiJob {};
FERRY_FOR_EVERY_FABRIC_AND_PROCESSES(RandomPrograms);

struct Message {
  Rank from = 0;
  Rank to = 0;
  Tag tag = 0;
  std::size_t size = 0;
  bool synchronous = false;
  std::size_t number = 0;  ///< in its stage
};

/// Messages of a stage are all received in it, by receives that are posted in some order among the
/// sends; a rank waits for all of its own at the stage's end. So it ends, whatever the protocols.
struct Stage {
  std::vector<Message> messages;
  bool wildcards = false;  ///< receives take any source, else also any tag
};

struct Program {
  Rank ranks = 2;
  std::vector<Stage> stages;
};

Program make_program(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto below = [&](std::uint64_t end) { return random() % end; };
  Program program;
  program.ranks = static_cast<Rank>(2 + below(5));
  for (std::uint64_t s = 2 + below(4); s-- > 0;) {
    Stage stage;
    stage.wildcards = below(2) == 0;
    const std::uint64_t count = below(60);
    for (std::uint64_t i = 0; i < count; ++i) {
      static constexpr std::uint64_t ends[] = {2, 100, 2000, 70'000, 200'000};
      Message message;
      message.from = static_cast<Rank>(below(static_cast<std::uint64_t>(program.ranks)));
      message.to = static_cast<Rank>(below(static_cast<std::uint64_t>(program.ranks)));
      message.tag = static_cast<Tag>(below(3));
      message.size = below(ends[below(5)]);
      message.synchronous = below(5) == 0;
      message.number = stage.messages.size();
      stage.messages.push_back(message);
    }
    program.stages.push_back(std::move(stage));
  }
  return program;
}

/// One rank's part of a stage: its sends in order, its receives in order, interleaved by the seed.
class StageOfRank {
 public:
  StageOfRank(Communicator& world, const Stage& stage, std::size_t seed)
      : world_(world),
        stage_(stage),
        seed_(seed),
        random_(seed * 1000 + static_cast<std::size_t>(world.rank())) {}

  void run() {
    std::vector<const Message*> sends;
    std::vector<const Message*> receives;
    for (const Message& message : stage_.messages) {
      if (message.from == world_.rank()) sends.push_back(&message);
      if (message.to == world_.rank()) receives.push_back(&message);
    }
    buffers_.reserve(sends.size());
    into_.reserve(receives.size());
    std::size_t next_send = 0;
    std::size_t next_receive = 0;
    while (next_send < sends.size() || next_receive < receives.size()) {
      const bool sending =
          next_receive == receives.size() || (next_send < sends.size() && random_() % 2 == 0);
      if (sending) {
        send(*sends[next_send++]);
      } else {
        receive(*receives[next_receive++]);
      }
      if (random_() % 8 == 0) (void)world_.iprobe(any_source, 99);
    }
    statuses_.resize(receives_.size());
    world_.wait_all(receives_, statuses_);
    world_.wait_all(sends_);
    check(receives);
  }

 private:
  [[nodiscard]] std::size_t content_seed(const Message& message) const {
    return seed_ + message.number * 13;
  }
  void send(const Message& message) {
    buffers_.push_back(bytes_like(message.size, content_seed(message)));
    const ConstBuffer buffer(buffers_.back().data(), message.size);
    sends_.push_back(message.synchronous ? world_.issend(buffer, message.to, message.tag)
                                         : world_.isend(buffer, message.to, message.tag));
  }
  void receive(const Message& message) {
    into_.emplace_back(200'000);
    const Buffer buffer(into_.back().data(), into_.back().size());
    receives_.push_back(stage_.wildcards ? world_.irecv(buffer, any_source, any_tag)
                                         : world_.irecv(buffer, message.from, message.tag));
  }
  /// The n-th receive that took from a sender with a tag has the n-th message of these.
  void check(const std::vector<const Message*>& expected) {
    std::map<std::pair<Rank, Tag>, std::vector<const Message*>> left;
    for (const Message* message : expected) left[{message->from, message->tag}].push_back(message);
    for (std::size_t i = 0; i < statuses_.size(); ++i) {
      auto& queue = left[{statuses_[i].source, statuses_[i].tag}];
      ASSERT_FALSE(queue.empty()) << "a message that was not sent";
      const Message& message = *queue.front();
      queue.erase(queue.begin());
      ASSERT_EQ(statuses_[i].size, message.size);
      into_[i].resize(message.size);
      ASSERT_EQ(into_[i], bytes_like(message.size, content_seed(message)));
    }
  }

  Communicator& world_;
  const Stage& stage_;
  std::size_t seed_;
  std::mt19937_64 random_;
  std::vector<std::vector<std::byte>> buffers_;
  std::vector<std::vector<std::byte>> into_;
  std::vector<Request> sends_;
  std::vector<Request> receives_;
  std::vector<Status> statuses_;
};

TEST_P(RandomPrograms, receive_what_a_sequential_reading_says) {
  constexpr std::uint64_t programs = sanitized ? 16 : 40;
  for (std::uint64_t seed = 1; seed <= programs; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const Program program = make_program(seed);
    JobOptions with = options(static_cast<std::uint32_t>(program.ranks));
    with.process.credits = seed % 2 == 0 ? 64 : 1024;
    with.process.migration_thread = seed % 3 == 0;
    run_job(with, [&](Communicator& communicator) {
      for (std::size_t i = 0; i < program.stages.size(); ++i) {
        StageOfRank(communicator, program.stages[i], seed * 100 + i).run();
        // A stage's wildcards must not take what belongs to the next.
        communicator.barrier();
      }
    });
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace ferry::mpi
