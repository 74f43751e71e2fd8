// The engine of one rank: the state of its messages, and what moves it on. Everything here happens
// in calls of its tasks: a call does what it can, and who blocks lets arrivals in.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/mpi/communicator_state.hpp"
#include "core/mpi/matching.hpp"
#include "core/mpi/peer.hpp"
#include "core/mpi/pool.hpp"
#include "core/mpi/process.hpp"
#include "core/mpi/requests.hpp"

namespace ferry::mpi {

class Suspension;

/// A message as it has come.
struct Packet {
  const PacketHeader& header;
  const std::byte* body;  ///< null: phantom, or none
  std::size_t body_size;
  Channel channel;
};

class alignas(64) Engine final : public Fetchable {
 public:
  Engine(const ProcessPorts& ports, RankId rank, std::uint32_t job_size,
         const ProcessOptions& options);
  ~Engine() override;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  [[nodiscard]] RankId rank() const { return rank_; }
  [[nodiscard]] std::uint32_t job_size() const { return job_size_; }
  [[nodiscard]] const ProcessOptions& options() const { return options_; }

  // --- What `Communicator` forwards (calls.cpp). ---
  [[nodiscard]] Request isend(Communicator::State& in, const ConstBuffer& from, Rank to, Tag tag,
                              bool synchronous);
  [[nodiscard]] Request irecv(Communicator::State& in, const Buffer& into, Rank from, Tag tag);
  void send(Communicator::State& in, const ConstBuffer& from, Rank to, Tag tag);
  Status recv(Communicator::State& in, const Buffer& into, Rank from, Tag tag);
  Status sendrecv(Communicator::State& in, const ConstBuffer& from, Rank to, Tag send_tag,
                  const Buffer& into, Rank source, Tag tag);
  [[nodiscard]] std::optional<Status> iprobe(Communicator::State& in, Rank from, Tag tag);
  Status probe(Communicator::State& in, Rank from, Tag tag);
  Status wait(Request& request);
  void wait_all(std::span<Request> requests, std::span<Status> statuses);
  std::optional<std::size_t> wait_any(std::span<Request> requests, Status* status);
  bool test(Request& request, Status* status);
  void cancel(Request& request);

  // --- Collectives (schedule_runner.cpp). ---
  /// Starts the communicator's next collective. What buffers point to stays until the request is
  /// complete. Phantom if `output` is, or, of no size, `input`.
  [[nodiscard]] Request start_collective(Communicator::State& in, const CollectiveCall& call,
                                         const CollectiveShape& shape, const ConstBuffer& input,
                                         const Buffer& output);
  /// Blocks until it is complete.
  void run_collective(Communicator::State& in, const CollectiveCall& call,
                      const CollectiveShape& shape, const ConstBuffer& input, const Buffer& output);
  /// Starts the communicator's next collective. The schedule's regions are `input` and `output`;
  /// what they point to stays until the request is complete. Phantom if `output` is, or, of no
  /// size, `input`.
  [[nodiscard]] Request start_schedule(Communicator::State& in, const CollectiveCall& call,
                                       std::shared_ptr<const Schedule> schedule,
                                       const ConstBuffer& input, const Buffer& output);

  // --- New places of ranks (locality.cpp), by LocalityTurns of each communicator. ---
  /// Ranks are in these places now: their collectives wait until all ranks of a communicator have
  /// answered. Communicators that are made later answer for themselves.
  [[nodiscard]] std::vector<LocalityReply> ask_locality(
      Generation generation, std::shared_ptr<const JobLocality> locality);
  /// Of a communicator, if this rank is in it: collectives that were held go on.
  void agree_locality(const LocalityAgreement& agreement);

  // --- Communicators (communicator.cpp). ---
  /// With `group.context` agreed between its ranks by the last collective of `parent`. Lives as
  /// long as the engine.
  Communicator::State& add_communicator(Group group, const Communicator::State& parent);
  [[nodiscard]] Communicator world() { return Communicator(*communicators_.front()); }
  /// Even, above all that were used here.
  [[nodiscard]] std::uint32_t next_context();

  // --- Progress (progress.cpp). ---
  /// Takes in what has arrived and posts what waits for room.
  void progress();
  /// What the next message touches, of a collective above all: of a job with many ranks nothing
  /// that one of them needs is in the nearest caches when its turn comes.
  void fetch(int step) const override;
  void finish();
  /// The rank's program has ended.
  void leave();
  /// Ends the rank's calls with `JobAborted`. From any task; `why` outlives the engine.
  void abort(const std::string& why);

  // --- Reports (waits.cpp). ---
  /// As `Process::suspension_turns`.
  [[nodiscard]] std::uint64_t suspension_turns();
  [[nodiscard]] std::string describe_waits() const;
  /// Messages that have come and that no receive has asked for.
  [[nodiscard]] std::size_t unexpected_count() const;
  /// What a test may look at: nothing of the engine is left of messages that have ended.
  [[nodiscard]] std::size_t open_requests() const { return requests_.in_use(); }
  /// Of each rank that this one has talked to.
  struct Balance {
    RankId rank;
    Peer::Connection connection;
    std::uint32_t used_credits;
    std::uint32_t consumed_credits;
    std::uint64_t fragments_sent;
    std::uint64_t fragments_taken;
    bool idle;  ///< nothing waits to leave, to be put in order, or to be read
  };
  [[nodiscard]] std::vector<Balance> balances() const;

 private:
  friend class Suspension;
  class Locked;  ///< scope in which the rank's state is one task's
  class Call;    ///< scope of a call of the program
  class Block;   ///< scope in which a call blocks, for reports

  // Calls.
  template <class Done>
  void block_until(Done&& done);
  /// The same; while it waits, it looks without being continued.
  template <class Done>
  void block_and_look(Done&& done);
  /// Takes in arrivals until there are none or `done`.
  template <class Done>
  bool progress_until(Done&& done);
  /// The same, until there are none.
  void take_arrivals();
  /// In suspensions, at the beginning of a call.
  void take_part();
  template <class Done>
  class Looking;
  /// Waits for arrivals, or for another task of the rank that does.
  Wake wait_for_something();
  /// Lets time pass after a look that found nothing.
  void pause();
  void check_rank(const Communicator::State& in, Rank rank, const char* what) const;
  Operation* operation_of(const Request& request);
  Status end_request(Operation& operation);
  void block_on(Operation& operation);
  void block_through(const Operation& collective);
  void throw_if_aborted() const;
  /// Where the program begins something: it may never wait, and would go on without end.
  void leave_if_aborted() const {
    if (aborted_.load(std::memory_order_relaxed) != nullptr) [[unlikely]] throw_if_aborted();
  }

  // Sending (sending.cpp).
  Peer& peer_of(RankId rank) {
    if (rank == latest_rank_) return *latest_peer_;
    Peer* const peer = peers_.find(rank);
    note_latest(peer != nullptr ? *peer : add_peer(rank));
    return *latest_peer_;
  }
  void note_latest(Peer& peer) {
    latest_peer_ = &peer;
    latest_rank_ = peer.rank;
  }
  Peer& add_peer(RankId rank);
  const Route& route_of(Peer& peer);
  void renew_route(Peer& peer, std::uint32_t generation);
  [[noreturn]] void end_unreachable(const Peer& peer);
  struct SendCall {
    const Communicator::State& in;
    std::uint32_t context;
    Tag tag;
    bool synchronous;
    std::uint64_t collective;  ///< high byte and size, as in `PacketHeader::more`
  };
  /// Null if the message has left and nothing is to be waited for.
  Operation* start_send(const SendCall& call, Rank to, const ConstBuffer& from);
  /// The same, not to oneself.
  Operation* start_send_to(Peer& peer, const SendCall& call, const ConstBuffer& from);
  /// One that has not left as an eager message at once.
  Operation& start_late_send(Peer& peer, const SendCall& call, const ConstBuffer& from);
  /// Whether the other side has promised to keep its bytes, if no receive waits for them.
  [[nodiscard]] bool may_be_eager(const Peer& peer, const Choice& choice, std::size_t size) const;
  /// False: it may not be eager, or there is no room now.
  bool try_eager(Peer& peer, const SendCall& call, const ConstBuffer& from,
                 std::uint64_t request_name);
  bool try_eager_here(Peer& peer, const SendCall& call, std::span<const ConstSlice> pieces,
                      std::size_t size, std::uint8_t flags, std::uint64_t request_name);
  bool leave(Peer& peer, Operation& send);
  bool announce(Peer& peer, Operation& send, const Choice& choice);
  void queue_send(Peer& peer, Operation& send);
  /// Posts a numbered packet. False: no room now, and nothing has happened.
  bool transmit(Peer& peer, PacketHeader& header, std::span<const ConstSlice> body,
                std::uint64_t body_checksum, Channel channel);
  bool transmit_here(Peer& peer, PacketHeader& header, std::span<const ConstSlice> body,
                     std::uint64_t body_checksum, Channel channel);
  bool post(Peer& peer, PacketHeader& header, std::span<const ConstSlice> body,
            std::uint64_t body_checksum, Channel channel);
  bool post_here(Peer& peer, PacketHeader& header, std::span<const ConstSlice> body,
                 std::uint64_t body_checksum, Channel channel);
  void answer(Peer& peer, PacketHeader header);
  /// Messages in fragments take turns: none waits until a longer one before it has left.
  void flush_streams(Peer& peer);
  /// A turn of one. False: no room.
  bool stream(Peer& peer, Operation& send);
  void end_stream(Operation& send);
  /// The channel that the bytes take from here on.
  void choose_data(Peer& peer, Operation& send);
  void backlog(Peer& peer);
  void flush(Peer& peer);
  void flush_answers(Peer& peer);
  void flush_backlog();
  /// How many sends and answers have something that is still to be posted.
  [[nodiscard]] std::size_t left_to_post() const;
  /// The task that waits in the wait set, if there is one, looks again: what it waits for may have
  /// come, or left, by another task of the rank, a moment after it looked.
  void tell_who_waits();
  void send_to_self(const SendCall& call, const ConstBuffer& from, Operation*& send);
  /// Whether the peer should hear of our credits although nothing else goes there.
  [[nodiscard]] bool owes(const Peer& peer) const {
    return peer.owed_credits >= options_.credits / 2;
  }
  void return_credits_if_due(Peer& peer);

  // Progress.
  void handle(const Arrival& arrival);
  void take_packet(const Arrival& arrival);
  void take_returns(Peer& peer, const PacketHeader& header);
  void verify(const Arrival& arrival) const;
  void keep_early(Peer& peer, const Packet& packet);
  void take_next(Peer& peer, const Packet& packet);
  void take_early(Peer& peer, Channel channel);
  /// Those that return an operation leave it to the caller to `complete` it: a receive that has got
  /// all of its message.
  Operation* dispatch(Peer& peer, const Packet& packet);
  Operation* take_message(Peer& peer, const Packet& packet);
  void dispatch_control(Peer& peer, const PacketHeader& header);
  void keep_unexpected(const Packet& packet);

  // Receiving (receiving.cpp).
  Operation& post_receive(const Communicator::State& in, std::uint32_t context, const Buffer& into,
                          std::uint32_t source, Tag tag);
  /// Matches what has come, or posts.
  void start_receive(Operation& receive);
  void meet(Operation& receive, Unexpected& message);
  /// The caller completes the receive.
  void receive_eager(Peer& peer, Operation& receive, const PacketHeader& header,
                     const std::byte* body);
  void answer_matched(Peer& peer, std::uint64_t request);
  void receive_from_self(Operation& receive, Unexpected& message);
  /// Bytes of the message that fit.
  std::size_t note_envelope(Operation& receive, const PacketHeader& header);
  std::size_t note_status(Operation& receive, const PacketHeader& header);
  void complain_of_truncation(const Operation& receive, const PacketHeader& header);

  // Rendezvous (rendezvous.cpp).
  void receive_announced(Peer& peer, Operation& receive, const PacketHeader& header);
  void start_read(Peer& peer, Operation& receive);
  void clear_to_send(Peer& peer, Operation& receive);
  void take_up_renewal(Peer& peer, Operation& receive);
  /// Announces again what was withdrawn.
  void renew(Peer& peer, Operation& send);
  void take_read(std::uint64_t cookie, bool done);
  void take_clear(Peer& peer, const PacketHeader& header);
  void take_fragment(Peer& peer, const Packet& packet);
  void take_done(const PacketHeader& header);
  void take_matched(const PacketHeader& header);
  void take_lost(Peer& peer, const PacketHeader& header);
  void take_renewed(Peer& peer, const PacketHeader& header);
  void answer_done(Peer& peer, const Operation& receive);
  /// False: its memory cannot be read, so its bytes go in fragments once they are asked for.
  [[nodiscard]] bool expose(Operation& send, const Choice& choice);
  void unexpose(Operation& send);

  // Ends.
  void complete(Operation& operation) {
    operation.state = Operation::State::complete;
    if (operation.run != nullptr) step_ended(operation);
  }

  // Communicators.
  Communicator::State& make_communicator(Group group, CollectivePolicy policy);
  [[nodiscard]] std::optional<LocalityReply> reply_of(Communicator::State& in);

  // Collectives.
  CollectiveRun& make_run(Communicator::State& in, const CollectiveCall& call,
                          const ConstBuffer& input, const Buffer& output);
  void begin_run(CollectiveRun& run);
  Operation& begin_collective(Communicator::State& in, const CollectiveCall& call,
                              const CollectiveShape& shape, const ConstBuffer& input,
                              const Buffer& output);
  void release_held(Communicator::State& in);
  void advance(CollectiveRun& run);
  static void take_course(CollectiveRun& run, const Schedule& schedule);
  bool start_round(CollectiveRun& run, Leg* round);
  void start_send_leg(CollectiveRun& run, Leg& leg, std::uint32_t context);
  void start_receive_leg(CollectiveRun& run, const Leg& leg, std::uint32_t context);
  void local_legs(CollectiveRun& run, const Leg* round);
  void step_ended(Operation& step) {
    CollectiveRun& run = *step.run;
    if (step.kind == Operation::Kind::send) {
      run.sends_open.remove(step);
    } else {
      --run.receives_open;
    }
    requests_.give_back(step);
    if (run.receives_open == 0) advance(run);
  }
  void end_run(CollectiveRun& run);
  static void pack(CollectiveRun& run, const ConstBuffer& input, const Buffer& output);
  void place_regions(CollectiveRun& run, const ConstBuffer& input, const Buffer& output);
  void check_collective(const PacketHeader& header);
  void check_collective(const Communicator::State& in, const CollectiveMark& ours,
                        const PacketHeader& theirs);
  void check_waiting(const Communicator::State& in, const CollectiveMark& ours);
  void fail_step(const Operation& step, const PacketHeader& header);

  Matching& matching(std::uint32_t context) {
    return context < of_world_.size() ? of_world_[context] : matching_of_part(context);
  }
  Matching& matching_of_part(std::uint32_t context);
  /// Of every context.
  template <class Visit>
  void for_each_matching(Visit&& visit) const {
    for (const Matching& queues : of_world_) visit(queues);
    for (const std::unique_ptr<Matching>& queues : matching_) {
      if (queues != nullptr) visit(*queues);
    }
  }
  void fail(const std::string& why);

  /// What a message will touch, for `fetch`; null: not known. A run may be over: its place stays.
  struct Soon {
    const CollectiveRun* run = nullptr;
    const Leg* round = nullptr;
    const void* communicator = nullptr;  ///< only of a new run
    const Peer* peer = nullptr;          ///< that is sent to
  };
  static Soon soon_from(const CollectiveRun& run, const Leg* round, const Leg* sends);

  // In the order of use: a message touches as few cache lines as may be. The first one:
  Soon soon_;
  std::unique_ptr<Mutex> mutex_;                       ///< with a migration thread
  std::atomic<const std::string*> aborted_ = nullptr;  ///< why
  Block* blocked_ = nullptr;                           ///< calls that block now
  // The second:
  ProcessPorts ports_;
  // The third and the fourth:
  List<Peer, &Peer::backlog_links> backlog_;
  Peer* latest_peer_ = nullptr;  ///< that was spoken with: who is sent to often answers
  RankId latest_rank_{any_rank};
  RankId rank_;
  std::uint32_t job_size_;
  bool waiting_ = false;                    ///< a task of the rank, on the wait set
  std::unique_ptr<Suspension> suspension_;  ///< null: there are none
  Requests requests_;
  ProcessOptions options_;
  // Beyond:
  std::uint32_t own_credits_ = 0;  ///< of buffers that hold messages to oneself
  PeerTable peers_;
  std::array<Matching, 2> of_world_;
  Pool<Unexpected> unexpected_;
  Pool<CollectiveRun> runs_;
  std::vector<std::unique_ptr<Communicator::State>> communicators_;  ///< by context / 2
  BlockPool blocks_;
  Pool<Answer> answers_;
  Pool<Early> early_;
  std::vector<std::unique_ptr<Matching>> matching_;  ///< by context; none of the world's
  Soon first_;                                       ///< of a collective like the latest one
  std::shared_ptr<const Course> first_course_;       ///< of which else nobody may keep the rounds
  std::vector<ConstSlice> cut_;                      ///< of the fragment that is being posted
  std::unique_ptr<Condition> turn_;                  ///< for the others; with a migration thread
  Generation newest_ = first_generation;             ///< that this rank has heard of
  std::shared_ptr<const JobLocality> newest_locality_;
};

}  // namespace ferry::mpi
