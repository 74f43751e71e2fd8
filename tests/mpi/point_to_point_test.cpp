#include "tests/mpi/mpi_job.hpp"

namespace ferry::mpi {
namespace {

class PointToPoint : public MpiJob {};
FERRY_FOR_EVERY_FABRIC_AND_PROCESSES(PointToPoint);

TEST_P(PointToPoint, messages_of_every_protocol_go_there_and_back) {
  run_job(2, [](Communicator& world) {
    for (const std::size_t size : sizes_of_every_protocol()) {
      std::vector<std::byte> got(size);
      if (world.rank() == 0) {
        const std::vector<std::byte> sent = bytes_like(size, size);
        world.send({sent.data(), size}, 1, 3);
        const Status status = world.recv({got.data(), size}, 1, 4);
        ASSERT_EQ(got, sent);
        EXPECT_EQ(status.source, 1);
        EXPECT_EQ(status.tag, 4);
        EXPECT_EQ(status.size, size);
      } else {
        world.recv({got.data(), size}, 0, 3);
        world.send({got.data(), size}, 0, 4);
      }
    }
  });
}

TEST_P(PointToPoint, phantom_messages_have_sizes) {
  run_job(2, [](Communicator& world) {
    for (const std::size_t size : sizes_of_every_protocol()) {
      if (world.rank() == 0) {
        world.send(ConstBuffer::phantom(size), 1, 3);
      } else {
        EXPECT_EQ(world.recv(Buffer::phantom(size), 0, 3).size, size);
      }
    }
  });
}

TEST_P(PointToPoint, messages_of_one_sender_and_tag_keep_their_order_whatever_their_protocol) {
  run_job(2, [](Communicator& world) {
    constexpr int rounds = 20;
    if (world.rank() == 0) {
      std::vector<std::vector<std::byte>> sent;
      std::vector<Request> requests;
      for (int i = 0; i < rounds; ++i) {
        for (const std::size_t size : sizes_of_every_protocol())
          sent.push_back(bytes_like(size, sent.size()));
      }
      for (const auto& bytes : sent)
        requests.push_back(world.isend({bytes.data(), bytes.size()}, 1, 3));
      world.wait_all(requests);
    } else {
      for (std::size_t i = 0; i < rounds * sizes_of_every_protocol().size(); ++i) {
        const std::size_t size = sizes_of_every_protocol()[i % sizes_of_every_protocol().size()];
        std::vector<std::byte> got(300'000);
        const Status status = world.recv({got.data(), got.size()}, any_source, any_tag);
        ASSERT_EQ(status.size, size) << i;
        got.resize(size);
        ASSERT_EQ(got, bytes_like(size, i));
      }
    }
  });
}

TEST_P(PointToPoint, tags_tell_messages_apart_in_any_order_of_receiving) {
  run_job(2, [](Communicator& world) {
    constexpr Tag tags = 50;
    std::vector<int> values(tags);
    std::iota(values.begin(), values.end(), 100);
    if (world.rank() == 0) {
      for (Tag tag = 0; tag < tags; ++tag)
        world.send({&values[static_cast<std::size_t>(tag)], sizeof(int)}, 1, tag);
    } else {
      for (Tag tag = tags; tag-- > 0;) {
        int got = 0;
        world.recv({&got, sizeof(got)}, 0, tag);
        EXPECT_EQ(got, 100 + tag);
      }
    }
  });
}

TEST_P(PointToPoint, older_receives_match_first_whether_they_have_wildcards_or_not) {
  run_job(2, [](Communicator& world) {
    int got[4] = {};
    if (world.rank() == 1) {
      std::vector<Request> receives;
      receives.push_back(world.irecv({&got[0], sizeof(int)}, 0, 2));
      receives.push_back(world.irecv({&got[1], sizeof(int)}, any_source, any_tag));
      receives.push_back(world.irecv({&got[2], sizeof(int)}, 0, any_tag));
      receives.push_back(world.irecv({&got[3], sizeof(int)}, any_source, 2));
      world.send({}, 0, 0);
      world.wait_all(receives);
      EXPECT_THAT(got, testing::ElementsAre(12, 11, 13, 22));
    } else {
      world.recv({}, 1, 0);
      const int values[4] = {11, 12, 13, 22};
      const Tag tags[4] = {1, 2, 3, 2};
      for (int i = 0; i < 4; ++i) world.send({&values[i], sizeof(int)}, 1, tags[i]);
    }
  });
}

TEST_P(PointToPoint, many_send_to_one_and_each_keeps_its_order) {
  run_job(8, [](Communicator& world) {
    constexpr std::uint32_t each = 300;
    if (world.rank() != 0) {
      for (std::uint32_t i = 0; i < each; ++i) world.send({&i, sizeof(i)}, 0, 7);
      return;
    }
    std::vector<std::uint32_t> next(8, 0);
    for (std::uint32_t i = 0; i < 7 * each; ++i) {
      std::uint32_t got = 0;
      const Status status = world.recv({&got, sizeof(got)}, any_source, 7);
      ASSERT_EQ(got, next.at(static_cast<std::size_t>(status.source))++);
    }
  });
}

TEST_P(PointToPoint, ten_thousand_requests_are_open_at_once) {
  run_job(2, [](Communicator& world) {
    constexpr int count = 10'000;
    std::vector<int> values(count, -1);
    std::vector<Request> requests;
    const Rank other = 1 - world.rank();
    for (int i = 0; i < count; ++i) {
      const Tag tag = count - 1 - i;  // the newest matches first
      requests.push_back(
          world.irecv({&values[static_cast<std::size_t>(tag)], sizeof(int)}, other, tag));
    }
    std::vector<int> sent(count);
    std::iota(sent.begin(), sent.end(), 0);
    for (int i = 0; i < count; ++i) {
      requests.push_back(world.isend({&sent[static_cast<std::size_t>(i)], sizeof(int)}, other, i));
    }
    world.wait_all(requests);
    EXPECT_EQ(values, sent);
  });
}

TEST_P(PointToPoint, a_rank_sends_to_itself) {
  run_job(2, [](Communicator& world) {
    for (const std::size_t size : sizes_of_every_protocol()) {
      const std::vector<std::byte> sent = bytes_like(size, 5);
      std::vector<std::byte> got(size);
      Request receive = world.irecv({got.data(), size}, world.rank(), 1);
      world.send({sent.data(), size}, world.rank(), 1);
      EXPECT_EQ(world.wait(receive).source, world.rank());
      EXPECT_EQ(got, sent);
      Request send = world.isend({sent.data(), size}, world.rank(), 1);
      got.assign(size, std::byte{});
      world.recv({got.data(), size}, any_source, 1);
      world.wait(send);
      EXPECT_EQ(got, sent);
    }
  });
}

TEST_P(PointToPoint, a_truncated_message_fills_the_buffer_and_names_ranks_and_sizes) {
  run_job(
      options(2),
      [](Communicator& world) {
        for (const std::size_t size : {std::size_t{100}, std::size_t{2000}, std::size_t{100'000}}) {
          if (world.rank() == 0) {
            const std::vector<std::byte> sent = bytes_like(size, 1);
            world.send({sent.data(), size}, 1, 9);
          } else {
            std::vector<std::byte> got(size);
            const Status status = world.recv({got.data(), size / 2}, 0, 9);
            EXPECT_EQ(status.error, Error::truncated);
            EXPECT_EQ(status.size, size);
            std::vector<std::byte> wanted = bytes_like(size, 1);
            std::fill(wanted.begin() + static_cast<long>(size / 2), wanted.end(), std::byte{});
            EXPECT_EQ(got, wanted);
          }
        }
      },
      [](Job& job, const Result<void>& ended) {
        EXPECT_TRUE(ended);
        EXPECT_THAT(
            job.complaints(),
            testing::ElementsAre("rank 1 receives 100 bytes from rank 0, tag 9, communicator "
                                 "world, into a buffer of 50 bytes",
                                 "rank 1 receives 2000 bytes from rank 0, tag 9, communicator "
                                 "world, into a buffer of 1000 bytes",
                                 "rank 1 receives 100000 bytes from rank 0, tag 9, communicator "
                                 "world, into a buffer of 50000 bytes"));
      });
}

TEST_P(PointToPoint, a_synchronous_send_ends_when_it_has_been_matched) {
  run_job(2, [](Communicator& world) {
    for (const std::size_t size : sizes_of_every_protocol()) {
      std::vector<std::byte> bytes = bytes_like(size, 1);
      if (world.rank() == 0) {
        Request send = world.issend({bytes.data(), size}, 1, 1);
        world.send({}, 1, 2);
        for (int i = 0; i < 10; ++i) EXPECT_FALSE(world.test(send));
        world.send({}, 1, 3);  // only now it is received
        world.wait(send);
      } else {
        world.recv({}, 0, 2);
        world.recv({}, 0, 3);
        world.recv({bytes.data(), size}, 0, 1);
      }
    }
  });
}

TEST_P(PointToPoint, a_receive_that_is_cancelled_leaves_its_message_to_the_next) {
  run_job(2, [](Communicator& world) {
    int value = 5;
    if (world.rank() == 0) {
      Request receive = world.irecv({&value, sizeof(value)}, 1, 1);
      world.cancel(receive);
      EXPECT_TRUE(world.wait(receive).cancelled);
      world.send({}, 1, 0);
      value = 0;
      EXPECT_FALSE(world.recv({&value, sizeof(value)}, 1, 1).cancelled);
      EXPECT_EQ(value, 5);
    } else {
      world.recv({}, 0, 0);
      world.send({&value, sizeof(value)}, 0, 1);
    }
  });
}

TEST_P(PointToPoint, a_probe_waits_for_an_envelope_and_takes_nothing) {
  run_job(3, [](Communicator& world) {
    if (world.rank() != 0) {
      const std::vector<std::byte> bytes =
          bytes_like(static_cast<std::size_t>(world.rank()) * 5000, 2);
      world.send({bytes.data(), bytes.size()}, 0, world.rank());
      return;
    }
    for (int i = 0; i < 2; ++i) {
      const Status seen = world.probe(any_source, any_tag);
      EXPECT_EQ(seen.size, static_cast<std::size_t>(seen.source) * 5000);
      std::vector<std::byte> got(seen.size);
      EXPECT_EQ(world.recv({got.data(), got.size()}, seen.source, seen.tag).size, seen.size);
    }
    EXPECT_EQ(world.iprobe(any_source, any_tag), std::nullopt);
  });
}

TEST_P(PointToPoint, one_of_several_is_waited_for) {
  run_job(4, [](Communicator& world) {
    if (world.rank() != 0) {
      int value = 0;
      world.recv({&value, sizeof(value)}, 0, 0);
      world.send({&value, sizeof(value)}, 0, 1);
      return;
    }
    std::vector<int> got(3, -1);
    std::vector<Request> receives;
    for (Rank i = 1; i < 4; ++i)
      receives.push_back(world.irecv({&got[static_cast<std::size_t>(i - 1)], sizeof(int)}, i, 1));
    for (const Rank next : {2, 3, 1}) {
      world.send({&next, sizeof(next)}, next, 0);
      Status status;
      const std::optional<std::size_t> ended = world.wait_any(receives, &status);
      ASSERT_EQ(ended, static_cast<std::size_t>(next - 1));
      EXPECT_EQ(status.source, next);
      EXPECT_EQ(got[*ended], next);
      EXPECT_TRUE(receives[*ended].empty());
    }
    EXPECT_EQ(world.wait_any(receives), std::nullopt);
  });
}

TEST_P(PointToPoint, a_rank_that_polls_sees_its_message) {
  run_job(2, [](Communicator& world) {
    for (int i = 0; i < 50; ++i) {
      int value = i;
      if (world.rank() == 0) {
        world.send({&value, sizeof(value)}, 1, 1);
        value = -1;
        Request receive = world.irecv({&value, sizeof(value)}, 1, 1);
        Status status;
        while (!world.test(receive, &status)) {
        }
        EXPECT_EQ(status.size, sizeof(value));
        EXPECT_EQ(value, i);
      } else {
        while (!world.iprobe(0, any_tag)) {
        }
        world.recv({&value, sizeof(value)}, 0, 1);
        world.send({&value, sizeof(value)}, 0, 1);
      }
    }
  });
}

TEST_P(PointToPoint, both_send_before_they_receive) {
  run_job(2, [](Communicator& world) {
    for (const std::size_t size : sizes_of_every_protocol()) {
      const std::vector<std::byte> sent = bytes_like(size, static_cast<std::size_t>(world.rank()));
      std::vector<std::byte> got(size);
      const Rank other = 1 - world.rank();
      const Status status =
          world.sendrecv({sent.data(), size}, other, 1, {got.data(), size}, other, 1);
      EXPECT_EQ(status.size, size);
      EXPECT_EQ(got, bytes_like(size, static_cast<std::size_t>(other)));
    }
  });
}

}  // namespace
}  // namespace ferry::mpi
