#include "core/migration/journal_records.hpp"

#include <array>
#include <charconv>

namespace ferry::records {
namespace {

/// Words with spaces between. Records are written for every step of every VM, so this is no format.
class Words {
 public:
  explicit Words(std::string_view first) {
    text_.reserve(80);
    text_ = first;
  }
  Words& operator<<(std::string_view word) {
    text_ += ' ';
    text_ += word;
    return *this;
  }
  Words& operator<<(std::uint64_t number) {
    text_ += ' ';
    return append(number);
  }
  Words& operator<<(std::int64_t number) {
    text_ += ' ';
    return append(number);
  }
  Words& operator<<(TimePoint time) { return *this << time.since_start().count_nanoseconds(); }
  Words& operator<<(Duration time) { return *this << time.count_nanoseconds(); }
  Words& operator<<(Bytes bytes) { return *this << bytes.count(); }
  /// Goes on with the same word.
  Words& part(std::string_view word) {
    text_ += ':';
    text_ += word;
    return *this;
  }
  Words& part(std::uint64_t number) {
    text_ += ':';
    return append(number);
  }
  /// A text that others wrote: a record is one line.
  Words& text(std::string_view text) {
    text_ += ' ';
    for (const char c : text) text_ += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    return *this;
  }
  std::string take() { return std::move(text_); }

 private:
  template <class Number>
  Words& append(Number number) {
    std::array<char, 24> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    text_.append(digits.data(), end);
    return *this;
  }
  std::string text_;
};

std::string_view word(PhaseEnd end) {
  switch (end) {
    case PhaseEnd::done: return "done";
    case PhaseEnd::failed: return "failed";
    case PhaseEnd::late: return "late";
  }
  return "?";
}

Words of_wave(std::uint64_t wave, std::string_view what, TimePoint now) {
  Words words("wave");
  words << wave << what << now;
  return words;
}

}  // namespace

std::string controller_begins(std::uint64_t number, TimePoint now, std::int64_t origin) {
  return (Words("controller") << number << now << origin).take();
}

std::string controller_ends(TimePoint now, bool interrupted) {
  return (Words("controller") << "ends" << now << (interrupted ? "interrupted" : "done")).take();
}

std::string wave_opens(const Instance& instance, std::uint64_t wave, TimePoint opened,
                       std::span<const WaveMove> moves, std::span<const SuspendRequest> requests) {
  Words words = of_wave(wave, "opens", opened);
  words << "moves";
  for (const WaveMove& move : moves) {
    words << std::uint64_t{move.move};
    words.part(instance.vms[instance.moves[move.move].vm.index].name)
        .part(instance.hosts[move.from.index].name)
        .part(instance.hosts[move.to.index].name);
  }
  words << "jobs";
  for (const SuspendRequest& request : requests) {
    words << instance.jobs[request.job.index].name;
    words.part(request.epoch);
  }
  return words.take();
}

std::string wave_suspended(std::uint64_t wave, TimePoint now) {
  return of_wave(wave, "suspended", now).take();
}

std::string wave_unsuspended(std::uint64_t wave, TimePoint now, bool cancelled,
                             std::string_view reason) {
  Words words = of_wave(wave, "unsuspended", now);
  words << (cancelled ? "cancelled" : "failed");
  return words.text(reason).take();
}

std::string device_begins(Phase phase, std::string_view vm, std::string_view host, TimePoint now) {
  return (Words(to_name(phase)) << vm << host << now).take();
}

std::string migration_begins(std::string_view vm, std::string_view from, std::string_view to,
                             TimePoint now) {
  return (Words(to_name(Phase::migration)) << vm << from << to << now).take();
}

std::string round_ends(std::string_view vm, const RoundReport& round) {
  return (Words("round") << vm << std::int64_t{round.round} << round.bytes << round.time
                         << round.dirty_bytes)
      .take();
}

std::string phase_ends(PhaseEnd end, Phase phase, std::string_view vm, TimePoint now) {
  return (Words(word(end)) << to_name(phase) << vm << now).take();
}

std::string migration_done(std::string_view vm, TimePoint now, const TransferReport& report) {
  Words words(word(PhaseEnd::done));
  words << to_name(Phase::migration) << vm << now << report.downtime << report.bytes
        << std::int64_t{report.rounds};
  return words.text(report.note).take();
}

std::string traffic_lost(std::string_view vm, Duration redirected, Duration lost) {
  return (Words("traffic") << vm << redirected << lost).take();
}

std::string function_replaced(std::string_view vm, std::string_view host) {
  return (Words("replaced") << vm << host).take();
}

std::string host_is_down(std::string_view host) { return (Words("down") << host).take(); }

std::string given_up(std::uint64_t move, std::string_view vm, TimePoint now,
                     std::string_view reason) {
  Words words("given_up");
  words << move;
  words.part(vm);
  words << now;
  return words.text(reason).take();
}

std::string goes_back(std::string_view vm, std::string_view host, std::string_view reason) {
  return (Words("back") << vm << host).text(reason).take();
}

std::string at_rest(std::string_view vm, TimePoint now, Outcome outcome, std::string_view host,
                    std::optional<TimePoint> vf_gone, std::string_view reason) {
  Words words("rest");
  words << vm << now << to_name(outcome) << host;
  if (vf_gone) {
    words << *vf_gone;
  } else {
    words << "-";
  }
  return words.text(reason).take();
}

std::string wave_reactivates(std::uint64_t wave, TimePoint now) {
  return of_wave(wave, "reactivates", now).take();
}

std::string status_is_stale(std::string_view vm, std::string_view reason) {
  return (Words("stale") << vm).text(reason).take();
}

std::string wave_closed(std::uint64_t wave, TimePoint now) {
  return of_wave(wave, "closed", now).take();
}

}  // namespace ferry::records
