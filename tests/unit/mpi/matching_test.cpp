#include "core/mpi/matching.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <deque>
#include <list>
#include <vector>

namespace ferry::mpi {
namespace {

/// MPI's order, as simply as it can be said: two lists, searched from their beginnings.
class NaiveMatching {
 public:
  /// Number of the message that the new receive gets, or -1.
  int receive(int number, Envelope wanted) {
    for (auto message = messages_.begin(); message != messages_.end(); ++message) {
      if (!wanted.accepts(message->envelope)) continue;
      const int match = message->number;
      messages_.erase(message);
      return match;
    }
    receives_.push_back({number, wanted});
    return -1;
  }
  /// Number of the receive that the new message gets, or -1.
  int message(int number, Envelope envelope) {
    for (auto receive = receives_.begin(); receive != receives_.end(); ++receive) {
      if (!receive->envelope.accepts(envelope)) continue;
      const int match = receive->number;
      receives_.erase(receive);
      return match;
    }
    messages_.push_back({number, envelope});
    return -1;
  }
  bool cancel(int number) {
    return receives_.remove_if([&](const Entry& entry) { return entry.number == number; }) != 0;
  }

 private:
  struct Entry {
    int number;
    Envelope envelope;
  };
  std::list<Entry> receives_;
  std::list<Entry> messages_;
};

Envelope random_envelope(bool wildcards) {
  const auto source = *rc::gen::inRange(wildcards ? -1 : 0, 4);
  const auto tag = *rc::gen::inRange(wildcards ? -1 : 0, 4);
  return {source < 0 ? any_rank : static_cast<std::uint32_t>(source), tag};
}

RC_GTEST_PROP(Matching, is_that_of_a_naive_list, ()) {
  NaiveMatching model;
  Matching matching;
  std::deque<Operation> receives;
  std::deque<Unexpected> messages;
  const auto steps = *rc::gen::inRange(0, 200);
  for (int i = 0; i < steps; ++i) {
    const auto what = *rc::gen::inRange(0, 10);
    if (what == 0 && !receives.empty()) {
      const auto which = *rc::gen::inRange<std::size_t>(0, receives.size());
      const bool was_posted = model.cancel(static_cast<int>(which));
      const bool is_posted = receives[which].state == Operation::State::posted;
      RC_ASSERT(is_posted == was_posted);
      if (is_posted) matching.withdraw(receives[which]);
      receives[which].state = Operation::State::complete;
    } else if (what < 5) {
      const Envelope wanted = random_envelope(true);
      receives.emplace_back();
      receives.back().source = wanted.source;
      receives.back().tag = wanted.tag;
      receives.back().index = static_cast<std::uint32_t>(receives.size() - 1);
      Unexpected* found = matching.find_message(wanted);
      const int expected = model.receive(static_cast<int>(receives.size() - 1), wanted);
      RC_ASSERT((found == nullptr ? -1 : static_cast<int>(found->header.sequence)) == expected);
      if (found == nullptr) {
        receives.back().state = Operation::State::posted;
        matching.post(receives.back());
      } else {
        matching.remove(*found);
      }
    } else {
      const Envelope envelope = random_envelope(false);
      messages.emplace_back();
      messages.back().source = envelope.source;
      messages.back().tag = envelope.tag;
      messages.back().header.sequence = messages.size() - 1;
      Operation* found = matching.match_message(envelope);
      const int expected = model.message(static_cast<int>(messages.size() - 1), envelope);
      RC_ASSERT((found == nullptr ? -1 : static_cast<int>(found->index)) == expected);
      if (found == nullptr) {
        matching.keep(messages.back());
      } else {
        found->state = Operation::State::complete;
      }
    }
  }
}

TEST(Matching, keeps_the_order_of_one_envelope_while_its_table_grows) {
  Matching matching;
  std::deque<Unexpected> messages(10'000);
  for (std::size_t i = 0; i < messages.size(); ++i) {
    messages[i].source = static_cast<std::uint32_t>(i % 7);
    messages[i].tag = static_cast<Tag>(i % 3);
    messages[i].header.sequence = i;
    matching.keep(messages[i]);
  }
  EXPECT_EQ(matching.unexpected_count(), 10'000);
  std::vector<std::uint64_t> last(21, 0);
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const Envelope wanted{static_cast<std::uint32_t>(i % 7), static_cast<Tag>(i % 3)};
    Unexpected* found = matching.find_message(wanted);
    ASSERT_NE(found, nullptr);
    ASSERT_EQ(found->header.sequence, i);
    matching.remove(*found);
  }
  EXPECT_EQ(matching.unexpected_count(), 0);
}

}  // namespace
}  // namespace ferry::mpi
