#include "hw_backend/agent/messages.hpp"

#include <cctype>
#include <utility>

namespace ferry::agent {

// Found by argument-dependent lookup, so in this namespace; each struct once, for both ways.
#define FERRY_FIELDS(Type, ...)            \
  template <class Archive>                 \
  void fields(Archive& archive, Type& m) { \
    archive __VA_ARGS__;                   \
  }
FERRY_FIELDS(Hello, (m.controller))
FERRY_FIELDS(StartJob, (m.key)(m.name)(m.vms)(m.whole_job)(m.migration_thread)(m.reconnect_eagerly)(
                           m.close_channel_nanoseconds)(m.ranks)(m.watched)(m.arguments)(
                           m.environment)(m.user)(m.description))
FERRY_FIELDS(PostBatch, (m.key)(m.first)(m.posts))
FERRY_FIELDS(FetchPosts, (m.key)(m.first))
FERRY_FIELDS(Confirm, (m.key)(m.epoch)(m.round))
FERRY_FIELDS(Revoke, (m.key)(m.epoch))
FERRY_FIELDS(Cards, (m.key)(m.first)(m.cards))
FERRY_FIELDS(Condemn, (m.key)(m.why))
FERRY_FIELDS(Dismiss, (m.key))
FERRY_FIELDS(EndJob, (m.key)(m.forget))
FERRY_FIELDS(Fetch, (m.key)(m.rank)(m.offset))
FERRY_FIELDS(Acknowledge, (m.key)(m.rank)(m.version))
FERRY_FIELDS(FindHolders, (m.id)(m.mac))
FERRY_FIELDS(Ping, (m.id))
FERRY_FIELDS(Welcome, (m.agent)(m.version)(m.jobs))
FERRY_FIELDS(Refused, (m.controller)(m.why))
FERRY_FIELDS(JobReport, (m.key)(m.why_not)(m.posted)(m.kept_from)(m.cards)(m.dismissed)(m.ranks))
FERRY_FIELDS(EpochState, (m.epoch)(m.changes)(m.closed)(m.concerned)(m.drained)(m.has_closed)(
                             m.refused)(m.noted_end)(m.blocked))
FERRY_FIELDS(ReplyState, (m.context)(m.first)(m.rank)(m.ranks)(m.generation)(m.number)(m.agreed))
FERRY_FIELDS(RankState, (m.process)(m.gone)(m.left)(m.stopped)(m.seen)(m.computes_until)(
                            m.computations)(m.epochs)(m.replies)(m.verdict)(m.card)(m.has_card)(
                            m.ended)(m.signal)(m.exit_status)(m.end_unknown))
FERRY_FIELDS(RankReport, (m.key)(m.rank)(m.version)(m.state))
FERRY_FIELDS(Confirmed::Rank, (m.rank)(m.drained)(m.changes))
FERRY_FIELDS(Confirmed, (m.key)(m.epoch)(m.round)(m.ranks))
FERRY_FIELDS(Revoked::Rank, (m.rank)(m.has_closed)(m.closed))
FERRY_FIELDS(Revoked, (m.key)(m.epoch)(m.ranks))
FERRY_FIELDS(Chunk, (m.key)(m.rank)(m.offset)(m.total)(m.bytes))
FERRY_FIELDS(Holder, (m.process)(m.program)(m.user)(m.path))
FERRY_FIELDS(Holders, (m.id)(m.holders))
FERRY_FIELDS(Pong, (m.id)(m.clock_nanoseconds))
FERRY_FIELDS(HandTrace, (m.key)(m.offset)(m.total)(m.bytes))
FERRY_FIELDS(TraceReport, (m.key)(m.held)(m.whole)(m.why_not))
#undef FERRY_FIELDS

namespace {

template <std::size_t... Kinds>
bool read_kind(FieldReader& reader, std::size_t kind, Message& message,
               std::index_sequence<Kinds...> /*all*/) {
  return ((kind == Kinds ? (reader(message.emplace<Kinds>()), true) : false) || ...);
}

}  // namespace

bool is_job_key(const std::string& key) {
  if (key.empty() || key.size() > 100 || key.front() == '.') return false;
  for (const char c : key) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (!plain && c != '.' && c != '_' && c != '-') return false;
  }
  return true;
}

Bytes8 encode(Envelope envelope) {
  FieldWriter writer;
  std::uint16_t version = protocol_version;
  auto kind = static_cast<std::uint16_t>(envelope.message.index());
  writer(version)(kind)(envelope.controller);
  std::visit([&](auto& message) { writer(message); }, envelope.message);
  return writer.take();
}

Result<Envelope> decode(std::span<const std::byte> bytes) {
  FieldReader reader(bytes);
  std::uint16_t version = 0;
  std::uint16_t kind = 0;
  Envelope envelope;
  reader(version)(kind)(envelope.controller);
  if (!reader.ok()) return failure(FailureKind::failed, "a message is too short");
  if (version != protocol_version) {
    return failure(FailureKind::refused,
                   "the other side speaks version " + std::to_string(version) +
                       " of the agent's protocol, this one version " +
                       std::to_string(protocol_version) + "; install the same release on both");
  }
  constexpr std::size_t kinds = std::variant_size_v<Message>;
  if (!read_kind(reader, kind, envelope.message, std::make_index_sequence<kinds>())) {
    return failure(FailureKind::failed, "a message is of the unknown kind " + std::to_string(kind));
  }
  if (!reader.done()) {
    return failure(FailureKind::failed,
                   "a message of kind " + std::to_string(kind) + " is malformed");
  }
  return envelope;
}

}  // namespace ferry::agent
