#include "tests/mpi/mpi_job.hpp"

namespace ferry::mpi {
namespace {

class Communicators : public MpiJob {};
FERRY_FOR_EVERY_FABRIC_AND_PROCESSES(Communicators);

TEST_P(Communicators, a_dup_keeps_its_messages_apart) {
  run_job(2, [](Communicator& world) {
    Communicator other = world.dup();
    EXPECT_EQ(other.rank(), world.rank());
    EXPECT_EQ(other.size(), 2);
    int got = 0;
    if (world.rank() == 0) {
      const int values[2] = {1, 2};
      world.send({&values[0], sizeof(int)}, 1, 5);
      other.send({&values[1], sizeof(int)}, 1, 5);
    } else {
      EXPECT_EQ(other.recv({&got, sizeof(got)}, any_source, any_tag).source, 0);
      EXPECT_EQ(got, 2);
      world.recv({&got, sizeof(got)}, any_source, any_tag);
      EXPECT_EQ(got, 1);
    }
  });
}

TEST_P(Communicators, a_split_groups_by_color_and_orders_by_key_then_rank) {
  run_job(7, [](Communicator& world) {
    // Even ranks backwards, odd ones as they are; the last is in none.
    const Rank rank = world.rank();
    const bool even = rank % 2 == 0;
    std::optional<Communicator> part = world.split(rank == 6 ? -1 : rank % 2, even ? -rank : 0);
    ASSERT_EQ(part.has_value(), rank != 6);
    if (!part) return;
    EXPECT_EQ(part->size(), 3);
    EXPECT_EQ(part->rank(), even ? 2 - rank / 2 : rank / 2);
    // Its ranks are those of the part, in envelopes too.
    const Rank right = (part->rank() + 1) % 3;
    const Rank left = (part->rank() + 2) % 3;
    int got = -1;
    const Request send = part->isend({&rank, sizeof(rank)}, right, 1);
    const Status status = part->recv({&got, sizeof(got)}, any_source, 1);
    EXPECT_EQ(status.source, left);
    EXPECT_EQ(got, even ? 2 * (2 - left) : 2 * left + 1);
    Request ended = send;
    part->wait(ended);
  });
}

TEST_P(Communicators, parts_of_parts_and_their_dups_have_contexts_of_their_own) {
  run_job(8, [](Communicator& world) {
    std::optional<Communicator> half = world.split(world.rank() / 4, 0);
    std::optional<Communicator> quarter = half->split(half->rank() / 2, 0);
    Communicator twin = quarter->dup();
    std::vector<Communicator> all = {world, *half, *quarter, twin};
    // The same envelope in each; received in another order than sent.
    std::vector<int> got(4, -1);
    std::vector<Request> requests;
    for (std::size_t i = 4; i-- > 0;) {
      requests.push_back(all[i].irecv({&got[i], sizeof(int)}, any_source, 0));
    }
    std::vector<int> values;
    for (Communicator& each : all) values.push_back(each.size() * 100 + each.rank());
    for (std::size_t i = 0; i < 4; ++i) {
      const Rank to = (all[i].rank() + 1) % all[i].size();
      requests.push_back(all[i].isend({&values[i], sizeof(int)}, to, 0));
    }
    world.wait_all(requests);
    for (std::size_t i = 0; i < 4; ++i) {
      const Rank from = (all[i].rank() + all[i].size() - 1) % all[i].size();
      EXPECT_EQ(got[i], all[i].size() * 100 + from);
    }
  });
}

TEST_P(Communicators, a_message_that_comes_before_its_communicator_waits_for_it) {
  run_job(3, [](Communicator& world) {
    // Rank 0 has the new communicator first, as it waits for nothing that comes after.
    for (int i = 0; i < 20; ++i) {
      Communicator next = world.dup();
      int got = -1;
      const Rank to = (next.rank() + 1) % 3;
      Request send = next.isend({&i, sizeof(i)}, to, i);
      next.recv({&got, sizeof(got)}, any_source, i);
      EXPECT_EQ(got, i);
      next.wait(send);
    }
  });
}

}  // namespace
}  // namespace ferry::mpi
