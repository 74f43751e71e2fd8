#include "hw_backend/agent/post_codec.hpp"

#include <algorithm>
#include <utility>

#include "core/units/plausible_time.hpp"

namespace ferry::mpi {

template <class Archive>
void fields(Archive& archive, CallCount& count) {
  archive(count.calls)(count.bytes);
}

}  // namespace ferry::mpi

namespace ferry::agent {
namespace {

struct SiteFields {
  std::uint32_t vm = 0;
  std::uint32_t host = 0;
  bool virtual_function = false;
  bool ivshmem = false;
};
template <class Archive>
void fields(Archive& archive, SiteFields& site) {
  archive(site.vm)(site.host)(site.virtual_function)(site.ivshmem);
}

struct PostFields {
  mpi::Post::Kind kind = mpi::Post::Kind::request;
  std::uint64_t epoch = 0;
  std::vector<std::uint32_t> moving;
  std::uint32_t context = 0;
  std::uint32_t first = 0;
  std::uint64_t generation = 0;
  std::uint64_t from = 0;
  std::vector<SiteFields> sites;
  bool has_places = false;
  std::vector<std::uint32_t> places;  ///< by rank
};
template <class Archive>
void fields(Archive& archive, PostFields& post) {
  archive(post.kind)(post.epoch)(post.moving)(post.context)(post.first)(post.generation)(post.from)(
      post.sites)(post.has_places)(post.places);
}

struct SampleFields {
  std::uint64_t message_bytes = 0;
  std::uint32_t round = 0;
  std::int64_t began = 0;
  std::int64_t took = 0;
};
template <class Archive>
void fields(Archive& archive, SampleFields& sample) {
  archive(sample.message_bytes)(sample.round)(sample.began)(sample.took);
}

struct PacketFields {
  std::uint32_t channel = 0;
  std::uint32_t moves = 0;
  std::uint64_t packets = 0;
};
template <class Archive>
void fields(Archive& archive, PacketFields& of) {
  archive(of.channel)(of.moves)(of.packets);
}

struct ResultFields {
  std::int64_t began = 0;
  std::int64_t ended = 0;
  std::int64_t longest_slice = 0;
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::vector<mpi::CallCount> collectives;
  std::vector<SampleFields> samples;
  std::uint64_t wrong_messages = 0;
  std::string first_wrong;
  std::vector<std::string> complaints;
  std::vector<PacketFields> packets;
};
template <class Archive>
void fields(Archive& archive, ResultFields& result) {
  archive(result.began)(result.ended)(result.longest_slice)(result.messages)(result.bytes)(
      result.collectives)(result.samples)(result.wrong_messages)(result.first_wrong)(
      result.complaints)(result.packets);
}

std::int64_t nanoseconds(TimePoint time) { return time.since_start().count_nanoseconds(); }
TimePoint time_point(std::int64_t value) { return TimePoint::at(Duration::nanoseconds(value)); }

}  // namespace

Bytes8 encode_post(const PostOnBoard& on_board) {
  const mpi::Post& post = on_board.post;
  PostFields of;
  of.kind = post.kind;
  of.epoch = post.epoch;
  if (post.moving != nullptr) {
    for (const VmId vm : *post.moving) of.moving.push_back(vm.index);
  }
  of.context = post.locality.of.context;
  of.first = post.locality.of.first;
  of.generation = post.locality.generation;
  of.from = post.locality.from;
  if (post.sites != nullptr) {
    for (const mpi::VmSite& site : *post.sites) {
      of.sites.push_back({site.vm.index, site.host.index, site.virtual_function, site.ivshmem});
    }
  }
  if (on_board.locality != nullptr) {
    of.has_places = true;
    of.places = on_board.locality->group_of;
  }
  FieldWriter writer;
  writer(of);
  return writer.take();
}

Result<PostOnBoard> decode_post(std::span<const std::byte> bytes) {
  FieldReader reader(bytes);
  PostFields of;
  reader(of);
  if (!reader.done() || of.kind > mpi::Post::Kind::agree) {
    return failure(FailureKind::failed, "a post on the job's board is malformed");
  }
  PostOnBoard on_board;
  on_board.post.kind = of.kind;
  on_board.post.epoch = of.epoch;
  if (of.kind <= mpi::Post::Kind::reactivate) {
    std::vector<VmId> moving;
    for (const std::uint32_t vm : of.moving) moving.push_back(VmId{vm});
    on_board.post.moving = std::make_shared<const std::vector<VmId>>(std::move(moving));
  }
  on_board.post.locality = {{of.context, of.first}, of.generation, of.from};
  if (of.kind == mpi::Post::Kind::reactivate) {
    std::vector<mpi::VmSite> sites;
    for (const SiteFields& site : of.sites) {
      sites.push_back({VmId{site.vm}, HostId{site.host}, site.virtual_function, site.ivshmem});
    }
    on_board.post.sites = std::make_shared<const std::vector<mpi::VmSite>>(std::move(sites));
  }
  if (of.has_places) {
    on_board.locality = std::make_shared<const mpi::JobLocality>(std::move(of.places));
  }
  return on_board;
}

Bytes8 encode_result(const RankResult& result) {
  const mpi::RankLog& log = result.log;
  ResultFields of;
  of.began = nanoseconds(log.began);
  of.ended = nanoseconds(log.ended);
  of.longest_slice = log.longest_slice.count_nanoseconds();
  of.messages = log.traffic.messages;
  of.bytes = log.traffic.bytes;
  of.collectives.assign(log.traffic.collectives.begin(), log.traffic.collectives.end());
  for (const mpi::Sample& sample : log.samples) {
    of.samples.push_back({sample.message_bytes, sample.round, nanoseconds(sample.began),
                          sample.took.count_nanoseconds()});
  }
  of.wrong_messages = log.wrong_messages;
  of.first_wrong = log.first_wrong;
  of.complaints = result.complaints;
  for (const mpi::ChannelPackets& part : log.packets) {
    of.packets.push_back({static_cast<std::uint32_t>(part.channel), part.moves, part.packets});
  }
  FieldWriter writer;
  writer(of);
  return writer.take();
}

Result<RankResult> decode_result(std::span<const std::byte> bytes) {
  FieldReader reader(bytes);
  ResultFields of;
  reader(of);
  RankResult result;
  mpi::RankLog& log = result.log;
  if (!reader.done() || of.collectives.size() != log.traffic.collectives.size()) {
    return failure(FailureKind::failed, "the result of a rank is malformed");
  }
  std::vector<std::int64_t> times = {of.began, of.ended, of.longest_slice};
  for (const SampleFields& sample : of.samples) {
    times.push_back(sample.began);
    times.push_back(sample.took);
  }
  if (!std::ranges::all_of(times,
                           [](auto time) { return is_plausible(Duration::nanoseconds(time)); })) {
    return failure(FailureKind::failed, "the result of a rank has times that cannot be");
  }
  log.began = time_point(of.began);
  log.ended = time_point(of.ended);
  log.longest_slice = Duration::nanoseconds(of.longest_slice);
  log.traffic.messages = of.messages;
  log.traffic.bytes = of.bytes;
  std::copy(of.collectives.begin(), of.collectives.end(), log.traffic.collectives.begin());
  for (const SampleFields& sample : of.samples) {
    log.samples.push_back({sample.message_bytes, sample.round, time_point(sample.began),
                           Duration::nanoseconds(sample.took)});
  }
  log.wrong_messages = of.wrong_messages;
  log.first_wrong = std::move(of.first_wrong);
  result.complaints = std::move(of.complaints);
  for (const PacketFields& part : of.packets) {
    if (part.channel >= channel_count) {
      return failure(FailureKind::failed, "the result of a rank names a channel that is not known");
    }
    log.packets.push_back({static_cast<Channel>(part.channel), part.moves, part.packets});
  }
  return result;
}

}  // namespace ferry::agent
