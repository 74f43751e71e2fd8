#include "core/mpi/suspension.hpp"

#include <algorithm>
#include <array>

#include "core/mpi/engine_call.hpp"
#include "core/mpi/message_path.hpp"
#include "core/units/check.hpp"

namespace ferry::mpi {
namespace {

bool stays_in_vm(Channel channel) { return channel == Channel::shm || channel == Channel::cma; }

/// The channels of a route that end with its connection.
std::array<bool, channel_count> closing_channels(const Route& route) {
  std::array<bool, channel_count> closing{};
  const auto add = [&](Channel channel) {
    if (!stays_in_vm(channel)) closing[static_cast<std::size_t>(channel)] = true;
  };
  add(route.control());
  for (const Route::Range& range : route.ranges()) {
    add(range.choice.channel);
    add(range.choice.data);
  }
  return closing;
}

bool closes_channels(const Route& route) {
  const std::array<bool, channel_count> closing = closing_channels(route);
  return std::find(closing.begin(), closing.end(), true) != closing.end();
}

/// Whether no packet has gone or come.
bool is_silent(const Peer& peer) {
  return peer.next_sequence == 1 && peer.expected_sequence == 1 && peer.early.empty();
}

}  // namespace

Suspension::Suspension(Engine& engine, RankBoard& board, Executor& executor)
    : engine_(engine), board_(board), executor_(executor) {
  board_.enlist(engine.rank(), *this);
}

Suspension::~Suspension() {
  ending_.store(true);
  board_.delist(engine_.rank());
  wake();
  helper_.reset();
}

// --- Which pairs are held. ---

bool Suspension::leaves_vm(const Peer& peer) const {
  const std::vector<std::optional<VmId>>& vms = board_.options().vms;
  const std::optional<VmId> own = vms[engine_.rank().index];
  if (!own || own != vms[peer.rank.index] || !peer.route->reaches()) return true;
  return closes_channels(*peer.route);
}

bool Suspension::moves(const Post& post, RankId rank) const {
  const std::optional<VmId> vm = board_.options().vms[rank.index];
  return vm && std::binary_search(post.moving->begin(), post.moving->end(), *vm);
}

bool Suspension::holds(const Post& post, const Peer& peer) const {
  const bool concerns =
      board_.options().whole_job || moves(post, engine_.rank()) || moves(post, peer.rank);
  return concerns && leaves_vm(peer);
}

void Suspension::apply(const Numbered& numbered, Peer& peer) const {
  if (!holds(numbered.post, peer)) return;
  switch (numbered.post.kind) {
    case Post::Kind::request:
      if (peer.hold.holders++ == 0) peer.hold.since = numbered.number;
      return;
    case Post::Kind::close: peer.hold.closed = true; return;
    case Post::Kind::reactivate:
      if (--peer.hold.holders == 0) peer.hold.since = 0;
      return;
    case Post::Kind::ask:
    case Post::Kind::agree: return;
  }
}

void Suspension::meet(Peer& peer) {
  for (const Numbered& numbered : history_) {
    apply(numbered, peer);
    if (peer.hold.holders == 0) peer.hold.closed = false;
  }
  if (peer.hold.holders == 0) return;
  peer.hold.draining_since = peer.hold.since;
  peer.hold.silent = true;
  peer.connection = Peer::Connection::held;
  held_.push_back(&peer);
}

void Suspension::heard(Peer& peer) {
  if (!peer.hold.silent) return;
  peer.hold.silent = false;
  peer.connection = Peer::Connection::draining;
  restless_ = true;
  // Before anything goes there: it may take all others' word that they have drained.
  for (Active& active : actives_) {
    if (!holds(active.request, peer)) continue;
    concern(active);
    if (!active.drained) continue;
    active.drained = false;
    board_.drained(engine_.rank(), active.request.epoch, false);
  }
}

void Suspension::concern(Active& active) {
  if (active.concerned) return;
  active.concerned = true;
  ++concerned_;
  ++turns_;
  board_.noticed(engine_.rank(), active.request.epoch, true);
}

// --- What the board says. ---

bool Suspension::step() {
  if (is_hopeless()) return false;
  bool changed = false;
  if (board_.posted() != seen_) {
    take_note();
    changed = true;
  }
  if (!restless_) return changed;
  restless_ = false;
  for (Peer* peer : held_) {
    if (peer->connection == Peer::Connection::draining) try_flush(*peer);
    if (!is_drained(*peer)) restless_ = true;
  }
  report();
  return changed;
}

void Suspension::take_note() {
  const std::vector<Post> posts = board_.posts_from(seen_);
  std::vector<std::uint64_t> ended;
  std::vector<Post> places;
  const std::vector<Peer*> peers = engine_.peers_.in_order();
  for (const Post& post : posts) {
    const Numbered numbered{++seen_, post};
    if (post.kind == Post::Kind::ask || post.kind == Post::Kind::agree) {
      places.push_back(post);
      continue;
    }
    history_.push_back(numbered);
    if (post.kind != Post::Kind::close) {
      for (Peer* peer : peers) apply(numbered, *peer);
    }
    switch (post.kind) {
      case Post::Kind::request: begin(post); break;
      case Post::Kind::close: close(post); break;
      case Post::Kind::reactivate:
        open_device(post);
        end(post);
        ended.push_back(post.epoch);
        break;
      case Post::Kind::ask:
      case Post::Kind::agree: break;
    }
  }
  settle();
  if (actives_.empty()) history_.clear();
  restless_ = true;
  if (keeps_program()) program_waits();
  if (reopened_) resume();
  // Collectives that begin here may meet ranks: after what the board says of holds.
  for (const Post& post : places) take_place(post.kind, post.locality);
  for (const std::uint64_t epoch : ended) board_.took_note_of_end(engine_.rank(), epoch);
  if (stopped_ && !keeps_program() && !waits_for_held()) program_goes_on();
}

void Suspension::take_place(Post::Kind kind, const LocalityAgreement& said) {
  if (kind == Post::Kind::agree) {
    engine_.agree_locality(said);
    return;
  }
  std::shared_ptr<const JobLocality> locality = board_.locality(said.generation);
  if (locality == nullptr) return;  // a later question is already there
  for (const LocalityReply& reply : engine_.ask_locality(said.generation, std::move(locality))) {
    board_.reply(engine_.rank(), reply);
  }
}

void Suspension::begin(const Post& request) {
  Active& active = actives_.emplace_back();
  active.request = request;
  const std::vector<Peer*> peers = engine_.peers_.in_order();
  const bool concerned = board_.options().whole_job || moves(request, engine_.rank()) ||
                         std::any_of(peers.begin(), peers.end(), [&](const Peer* peer) {
                           return !peer->hold.silent && holds(request, *peer);
                         });
  if (concerned) concern(active);
}

void Suspension::close(const Post& post) {
  const Duration each = board_.options().close_channel;
  const auto closes = [&](const Peer* peer) { return holds(post, *peer) && !peer->hold.closed; };
  const auto open = std::count_if(held_.begin(), held_.end(), [&](const Peer* peer) {
    return closes(peer) && !peer->hold.silent && closes_channels(*peer->route);
  });
  const bool passed = open != 0 && occupy(each * static_cast<double>(open));
  board_.close(engine_.rank(), post.epoch, [&] {
    std::size_t closed = 0;
    for (Peer* peer : held_) {
      if (!closes(peer)) continue;
      check(is_drained(*peer) && peer->hold.reads == 0, "what is closed has been drained");
      peer->hold.closed = true;
      if (peer->hold.silent || !closes_channels(*peer->route)) continue;
      disconnect(*peer);
      if (!passed) engine_.ports_.processor.spend(each);
      ++closed;
    }
    return closed;
  });
}

bool Suspension::occupy(Duration cost) {
  const std::optional<VmId> own = board_.options().vms[engine_.rank().index];
  return own && engine_.ports_.processor.occupy({&*own, 1}, cost, TimePoint::never()).has_value();
}

/// Where a device is a thing, who reads the post has opened it by now.
void Suspension::open_device(const Post& post) {
  const std::optional<VmId> own = board_.options().vms[engine_.rank().index];
  if (!own || board_.options().open_device == Duration::zero() || !post.sites) return;
  for (const VmSite& site : *post.sites) {
    if (site.vm != *own || !site.virtual_function) continue;
    const Duration cost = board_.options().open_device;
    if (!occupy(cost)) engine_.ports_.processor.spend(cost);
  }
}

void Suspension::end(const Post& post) {
  const auto active = std::find_if(actives_.begin(), actives_.end(), [&](const Active& each) {
    return each.request.epoch == post.epoch;
  });
  check(active != actives_.end(), "an epoch ends once, after it began");
  if (active->concerned) {
    --concerned_;
    ++turns_;
  }
  actives_.erase(active);
}

void Suspension::settle() {
  held_.clear();
  for (Peer* peer : engine_.peers_.in_order()) {
    const bool held = peer->hold.holders != 0;
    const bool another = peer->hold.since != peer->hold.draining_since;
    if (peer->connection != Peer::Connection::open && (!held || another)) reopen(*peer);
    if (held && peer->connection == Peer::Connection::open) begin_drain(*peer);
    if (held) held_.push_back(peer);
  }
}

void Suspension::report() {
  for (Active& active : actives_) {
    if (active.drained) continue;
    active.drained = std::all_of(held_.begin(), held_.end(), [&](const Peer* peer) {
      return is_drained(*peer) || !holds(active.request, *peer);
    });
    if (active.drained) board_.drained(engine_.rank(), active.request.epoch, true);
  }
}

// --- Draining. ---

void Suspension::begin_drain(Peer& peer) {
  peer.connection = Peer::Connection::draining;
  peer.hold.draining_since = peer.hold.since;
  if (is_silent(peer)) {
    peer.hold.silent = true;
    peer.connection = Peer::Connection::held;
    return;
  }
  if (peer.hold.flushed == peer.hold.since) withdraw(peer);
}

void Suspension::try_flush(Peer& peer) {
  if (peer.backlogged) engine_.flush(peer);
  if (!peer.answers.empty() || peer.hold.reads != 0) return;
  if (!peer.streams.empty() && peer.streams.front()->moved != 0) return;
  PacketHeader flush;
  flush.kind = static_cast<std::uint8_t>(PacketKind::flush);
  flush.more = peer.hold.since;
  flush.key = peer.hold.fragments_sent;
  if (!engine_.transmit(peer, flush, {}, 0, engine_.route_of(peer).control())) return;
  peer.connection = Peer::Connection::held;
}

bool Suspension::is_drained(const Peer& peer) {
  const Peer::Hold& hold = peer.hold;
  if (hold.silent || hold.closed) return true;
  return peer.connection == Peer::Connection::held && hold.flushed == hold.since &&
         hold.fragments_taken == hold.fragments_due;
}

void Suspension::take_flush(Peer& peer, const PacketHeader& header) {
  peer.hold.flushed = header.more;
  peer.hold.fragments_due = header.key;
  if (peer.connection == Peer::Connection::open) return;  // of a hold that is to come, or is over
  restless_ = true;
  if (peer.hold.flushed == peer.hold.since) withdraw(peer);
}

/// The other side reads nothing of ours any more.
void Suspension::withdraw(const Peer& peer) {
  for (std::uint32_t i = 0; i < engine_.requests_.places(); ++i) {
    Operation& send = engine_.requests_.at(i);
    if (send.kind != Operation::Kind::send || !send.exposed) continue;
    if (send.source != peer.rank.index || send.is_complete()) continue;
    engine_.unexpose(send);
    send.withdrawn = send.state == Operation::State::announced;
  }
}

void Suspension::disconnect(const Peer& peer) {
  const std::array<bool, channel_count> closing = closing_channels(*peer.route);
  for (const Channel channel : all_channels) {
    if (!closing[static_cast<std::size_t>(channel)]) continue;
    engine_.ports_.endpoint.disconnect(peer.way.to, channel);
  }
}

// --- Reactivation. ---

void Suspension::reopen(Peer& peer) {
  if (peer.hold.closed && !peer.hold.silent && board_.options().reconnect_eagerly) connect(peer);
  peer.connection = Peer::Connection::open;
  peer.hold.draining_since = 0;
  peer.hold.silent = false;
  peer.hold.closed = false;
  peer.hold.reopened = true;
  reopened_ = true;
}

void Suspension::connect(const Peer& peer) {
  const std::array<bool, channel_count> opening =
      closing_channels(engine_.ports_.chooser.route(engine_.rank(), peer.rank));
  for (const Channel channel : all_channels) {
    if (opening[static_cast<std::size_t>(channel)]) {
      engine_.ports_.endpoint.connect(peer.way.to, channel);
    }
  }
}

/// What connections that were opened had under way goes on.
void Suspension::resume() {
  reopened_ = false;
  for (std::uint32_t i = 0; i < engine_.requests_.places(); ++i) {
    Operation& operation = engine_.requests_.at(i);
    if (operation.kind == Operation::Kind::collective || operation.is_complete()) continue;
    if (operation.source == any_rank) continue;
    Peer* peer = engine_.peers_.find(RankId{operation.source});
    if (peer == nullptr || !peer->hold.reopened) continue;
    if (peer->connection != Peer::Connection::open) continue;
    if (operation.withdrawn) {
      engine_.renew(*peer, operation);
    } else if (operation.state == Operation::State::unread) {
      // It may be there: if the other side never withdrew it, or if it was renewed while this side
      // was not open yet. If not, the read fails, and its renewal is on its way.
      engine_.start_read(*peer, operation);
    }
  }
  for (Peer* peer : engine_.peers_.in_order()) {
    if (!peer->hold.reopened) continue;
    peer->hold.reopened = false;
    for (Operation* send = peer->streams.front(); send != nullptr;
         send = decltype(peer->streams)::next(*send)) {
      engine_.choose_data(*peer, *send);
    }
    engine_.backlog(*peer);
  }
  engine_.flush_backlog();
}

// --- Who waits. ---

/// Whether something that the rank has under way is with a rank that it may not speak with now.
bool Suspension::waits_for_held() const {
  if (held_.empty()) return false;
  for (std::uint32_t i = 0; i < engine_.requests_.places(); ++i) {
    const Operation& operation = engine_.requests_.at(i);
    if (operation.kind == Operation::Kind::collective || operation.is_complete()) continue;
    if (operation.source == any_rank) return true;
    const Peer* peer = engine_.peers_.find(RankId{operation.source});
    if (peer != nullptr && peer->connection != Peer::Connection::open) return true;
  }
  return false;
}

void Suspension::program_waits() {
  waiting_ = true;
  if (actives_.empty() || !(keeps_program() || waits_for_held())) return;
  std::vector<std::uint64_t> epochs;
  for (const Active& active : actives_) {
    if (active.concerned || !board_.options().migration_thread) {
      epochs.push_back(active.request.epoch);
    }
  }
  stopped_ = true;
  board_.stopped(engine_.rank(), epochs);
}

void Suspension::program_goes_on() {
  waiting_ = false;
  if (!stopped_) return;
  stopped_ = false;
  board_.went_on(engine_.rank());
}

void Suspension::leave() {
  if (is_hopeless()) board_.delist(engine_.rank());
  board_.leave(engine_.rank());
}

// --- The helper. ---

void Suspension::spawn_helper() {
  helper_ = executor_.spawn("migration thread of rank " + std::to_string(engine_.rank().index),
                            [this] { help(); });
}

void Suspension::help() {
  std::uint64_t seen = 0;
  try {
    while (board_.await_post(engine_.rank(), seen)) seen = help_once();
    return;
  } catch (const JobAborted&) {
    // The job is over; its ranks know why.
  }
  board_.delist(engine_.rank());  // nobody else may speak for a rank that has ended
}

/// Takes part until no epoch is open. Posts that were seen.
std::uint64_t Suspension::help_once() {
  const Engine::Locked locked(engine_);
  for (;;) {
    do engine_.take_arrivals();
    while (step());
    if (is_hopeless()) board_.delist(engine_.rank());
    if (actives_.empty() || is_hopeless() || ending_.load()) return seen_;
    if (engine_.wait_for_something() == Wake::cancelled && !ending_.load()) {
      engine_.fail("rank " + std::to_string(engine_.rank().index) +
                   " has ended: " + std::string(rank_was_cancelled));
    }
  }
}

}  // namespace ferry::mpi
