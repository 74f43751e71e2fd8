// What a controller and an agent say to each other (`PROTOCOL.md`). Everything may be said again:
// a question is answered anew, an order that was carried out changes nothing.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "core/ports/result.hpp"
#include "hw_backend/agent/fields.hpp"

namespace ferry::agent {

/// Of all that follows. Sides of different versions refuse each other.
inline constexpr std::uint16_t protocol_version = 1;

/// Names a job among all runs: letters, digits, `.`, `_` and `-`, at most 100, not beginning with a
/// dot. It is the name of a folder.
[[nodiscard]] bool is_job_key(const std::string& key);

// --- From the controller. ---

/// First of all after a link was opened. The agent answers `Welcome`.
struct Hello {
  std::uint64_t controller = 0;  ///< later controllers have larger numbers
};

/// Makes a job's folder and board here, and starts its ranks of this VM. `JobReport`.
struct StartJob {
  std::string key;
  std::string name;                ///< for people
  std::vector<std::uint32_t> vms;  ///< by rank of the job; `native`: none
  bool whole_job = false;          ///< as `BoardOptions`
  bool migration_thread = false;
  bool reconnect_eagerly = false;
  std::int64_t close_channel_nanoseconds = 0;
  std::vector<std::uint32_t> ranks;      ///< that run here; ascending
  std::vector<std::uint32_t> watched;    ///< of these, whose computations are told
  std::vector<std::string> arguments;    ///< the program first
  std::vector<std::string> environment;  ///< NAME=VALUE, beside what the agent adds
  std::string user;                      ///< who runs it; empty: as the agent
  Bytes8 description;                    ///< the file `description` in the job's folder
};
inline constexpr std::uint32_t native = 0xffff'ffffU;

/// Posts of the job's board from number `first` on, each as `encode_post` has it. `JobReport`.
struct PostBatch {
  std::string key;
  std::uint64_t first = 0;
  std::vector<Bytes8> posts;
};
/// Which posts are kept? `PostBatch`.
struct FetchPosts {
  std::string key;
  std::uint64_t first = 0;
};
/// Are ranks drained for the epoch? Answered at once, whatever they do. `Confirmed`.
struct Confirm {
  std::string key;
  std::uint64_t epoch = 0;
  std::uint64_t round = 0;
};
/// No rank closes for the epoch any more. `Revoked`, when none is in the midst of it.
struct Revoke {
  std::string key;
  std::uint64_t epoch = 0;
};
/// What ranks of the job published, from rank `first` on. Once all are known, ranks hear of it.
struct Cards {
  std::string key;
  std::uint32_t first = 0;
  std::vector<Bytes8> cards;
};
/// The job is over, for this reason; its ranks leave their calls.
struct Condemn {
  std::string key;
  std::string why;
};
/// All ranks of the job have come to their ends: none is needed by another one any more.
struct Dismiss {
  std::string key;
};
/// Its processes are killed, and with `forget` nothing is kept of it.
struct EndJob {
  std::string key;
  bool forget = false;
};
/// A rank's result from byte `offset` on. `Chunk`.
struct Fetch {
  std::string key;
  std::uint32_t rank = 0;
  std::uint64_t offset = 0;
};
/// A report was received.
struct Acknowledge {
  std::string key;
  std::uint32_t rank = 0;
  std::uint64_t version = 0;
};
/// Who has the RDMA device of the NIC with this address open? Empty: any. `Holders`.
struct FindHolders {
  std::uint64_t id = 0;
  std::string mac;
};
/// A piece of what the ranks of this VM need of the job's trace; without bytes: how much is there?
/// `TraceReport`.
struct HandTrace {
  std::string key;
  std::uint64_t offset = 0;
  std::uint64_t total = 0;  ///< bytes of all pieces
  Bytes8 bytes;
};
/// What does the guest's clock show? `Pong`.
struct Ping {
  std::uint64_t id = 0;
};

// --- From the agent. ---

struct Welcome {
  std::uint64_t agent = 0;  ///< another one after each start
  std::string version;      ///< of the program
  std::vector<std::string> jobs;
};
/// It is not the latest controller's, or makes no sense.
struct Refused {
  std::uint64_t controller = 0;  ///< the latest
  std::string why;
};
/// What is there of a job.
struct JobReport {
  std::string key;
  std::string why_not;          ///< it was not started; empty: it was
  std::uint64_t posted = 0;     ///< posts
  std::uint64_t kept_from = 0;  ///< of which these can be fetched
  std::uint32_t cards = 0;      ///< known
  bool dismissed = false;
  std::vector<std::uint32_t> ranks;
};

/// How far a rank is with an epoch.
struct EpochState {
  std::uint64_t epoch = 0;
  std::uint32_t changes = 0;  ///< of `drained`
  std::uint32_t closed = 0;   ///< connections
  bool concerned = false;
  bool drained = false;
  bool has_closed = false;
  bool refused = false;  ///< to close
  bool noted_end = false;
  bool blocked = false;
};
/// Of a communicator, as `LocalityReply`.
struct ReplyState {
  std::uint32_t context = 0;
  std::uint32_t first = 0;
  std::uint32_t rank = 0;
  std::uint32_t ranks = 0;
  std::uint64_t generation = 0;
  std::uint64_t number = 0;
  bool agreed = false;
};
struct RankState {
  std::uint32_t process = 0;  ///< its id; 0: it has not come to its board yet
  bool gone = false;          ///< it takes part in nothing any more
  bool left = false;          ///< its program has ended
  bool stopped = false;
  std::uint64_t seen = 0;           ///< posts
  std::int64_t computes_until = 0;  ///< ns of the guest's clock
  std::uint64_t computations = 0;
  std::vector<EpochState> epochs;
  std::vector<ReplyState> replies;  ///< the latest
  std::string verdict;              ///< why it ends the job; empty: it does not
  Bytes8 card;                      ///< what it published
  bool has_card = false;

  bool ended = false;       ///< its process
  std::int32_t signal = 0;  ///< that killed it; 0: it exited
  std::int32_t exit_status = 0;
  bool end_unknown = false;  ///< nobody saw how
};
/// Sent when it changes, and again until it is acknowledged.
struct RankReport {
  std::string key;
  std::uint32_t rank = 0;
  std::uint64_t version = 0;
  RankState state;
};
struct Confirmed {
  std::string key;
  std::uint64_t epoch = 0;
  std::uint64_t round = 0;
  struct Rank {
    std::uint32_t rank = 0;
    bool drained = false;
    std::uint32_t changes = 0;
  };
  std::vector<Rank> ranks;
};
struct Revoked {
  std::string key;
  std::uint64_t epoch = 0;
  struct Rank {
    std::uint32_t rank = 0;
    bool has_closed = false;
    std::uint32_t closed = 0;
  };
  std::vector<Rank> ranks;
};
struct Chunk {
  std::string key;
  std::uint32_t rank = 0;
  std::uint64_t offset = 0;
  std::uint64_t total = 0;
  Bytes8 bytes;
};
struct TraceReport {
  std::string key;
  std::uint64_t held = 0;  ///< bytes, from the first one on
  bool whole = false;      ///< ranks can read it
  std::string why_not;     ///< the piece cannot be kept; empty: it can
};
struct Holder {
  std::uint32_t process = 0;
  std::string program;
  std::string user;
  std::string path;  ///< what it has open
  bool operator==(const Holder&) const = default;
};
struct Holders {
  std::uint64_t id = 0;
  std::vector<Holder> holders;
};
struct Pong {
  std::uint64_t id = 0;
  std::int64_t clock_nanoseconds = 0;  ///< the guest's CLOCK_MONOTONIC
};

/// Its index is the kind on the wire: append only, or raise the version.
using Message =
    std::variant<Hello, StartJob, PostBatch, FetchPosts, Confirm, Revoke, Cards, Condemn, EndJob,
                 Fetch, Acknowledge, FindHolders, Ping, Welcome, Refused, JobReport, RankReport,
                 Confirmed, Revoked, Chunk, Holders, Pong, Dismiss, HandTrace, TraceReport>;

struct Envelope {
  std::uint64_t controller = 0;  ///< from whom, or for whom
  Message message;
};

[[nodiscard]] Bytes8 encode(Envelope envelope);
/// The failure says what is wrong: another version, an unknown kind, or what does not fit.
[[nodiscard]] Result<Envelope> decode(std::span<const std::byte> bytes);

}  // namespace ferry::agent
