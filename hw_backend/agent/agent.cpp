#include "hw_backend/agent/agent.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>

#include "hw_backend/agent/holders.hpp"

namespace ferry::agent {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

constexpr int soon = 5;            ///< ms: a rank is in the midst of a change
constexpr int repeat = 250;        ///< ms: somebody has to acknowledge
constexpr int look_around = 1000;  ///< ms: keepers that died without a word

/// Of the names of empty files, for jobs that are over.
const std::string over_mark = ".over-";

std::int64_t monotonic_nanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

std::uint64_t new_instance() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

void say(const std::string& what) { dprintf(2, "ferry-agent: %s\n", what.c_str()); }

}  // namespace

Agent::Agent(AgentSettings settings)
    : settings_(std::move(settings)), channel_(settings_.channel), instance_(new_instance()) {}

Result<> Agent::take_state() {
  std::error_code error;
  const fs::path jobs = settings_.state / "jobs";
  fs::create_directories(jobs, error);
  if (error) {
    return failure(FailureKind::failed,
                   "the folder " + jobs.string() + " cannot be made: " + error.message());
  }
  const fs::path lock = settings_.state / "agent.lock";
  // Kept until the process ends; keepers close it.
  const int file = ::open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  // Of an agent that has died a keeper that it was starting may have the lock for a moment.
  bool locked = false;
  for (int tries = 0; file >= 0 && !locked && tries < 100; ++tries) {
    if (tries != 0) usleep(50'000);
    locked = flock(file, LOCK_EX | LOCK_NB) == 0;
  }
  if (!locked) {
    return failure(FailureKind::refused, errno == EWOULDBLOCK
                                             ? "another agent has " + settings_.state.string()
                                             : lock.string() + ": " + std::strerror(errno));
  }
  std::ifstream(settings_.state / "controller") >> controller_;
  for (const fs::directory_entry& entry : fs::directory_iterator(jobs, error)) {
    const std::string key = entry.path().filename();
    if (key.rfind(over_mark, 0) == 0) over_.insert(key.substr(over_mark.size()));
    if (!is_job_key(key)) continue;
    Result<std::unique_ptr<AgentJob>> job = AgentJob::open(entry.path());
    if (job) {
      // The agent before this one may have died when it had started some of its ranks.
      (void)(*job)->start_ranks();  // the report has the reason
      jobs_.emplace(key, std::move(*job));
    } else {
      say("job " + key + " is given up: " + job.error().reason);
    }
  }
  return {};
}

Result<> Agent::run(int stop) {
  if (Result<> taken = take_state(); !taken) return taken;
  pollfd stopping{stop, POLLIN, 0};
  std::string told;
  while (poll(&stopping, 1, 0) == 0) {
    const std::optional<std::string> closed = channel_.open();
    if (closed && *closed != told) say(*closed);
    told = closed.value_or(std::string());
    wait(stop);
    while (const std::optional<std::vector<std::byte>> bytes = channel_.next()) receive(*bytes);
    work();
  }
  return {};
}

void Agent::wait(int stop) {
  std::vector<pollfd> files = {{stop, POLLIN, 0}, {channel_.listener(), POLLIN, 0}};
  const short of_stream = static_cast<short>(channel_.wants_to_write() ? POLLIN | POLLOUT : POLLIN);
  files.push_back({channel_.stream(), of_stream, 0});
  int time = look_around;
  for (const auto& [key, job] : jobs_) {
    files.push_back({job->bell(), POLLIN, 0});
    if (job->has_unacknowledged()) time = std::min(time, repeat);
  }
  if (!unanswered_.empty()) time = soon;
  if (channel_.stream() < 0) time = std::min(time, 100);
  if (poll(files.data(), files.size(), time) <= 0) return;
  if (files[1].revents != 0) channel_.on_listener();
  if (files[2].revents != 0) channel_.on_stream(files[2].revents);
  std::size_t next = 3;
  for (const auto& [key, job] : jobs_) {
    if (files[next++].revents != 0) job->answer_bell();
  }
}

/// What has become of ranks, and what could not be answered before.
void Agent::work() {
  for (const auto& [key, job] : jobs_) {
    job->look([this](RankReport report) { send(std::move(report)); });
  }
  std::deque<Message> waiting = std::move(unanswered_);
  unanswered_.clear();
  for (Message& message : waiting) {
    std::visit([this](const auto& each) { handle(each); }, message);
  }
}

void Agent::send(Message message) {
  const Bytes8 bytes = encode({controller_, std::move(message)});
  (void)channel_.send(bytes);  // what is dropped is said again, or asked for again
}

void Agent::receive(std::span<const std::byte> bytes) {
  const Result<Envelope> read = decode(bytes);
  if (!read) {
    send(Refused{controller_, read.error().reason});
    return;
  }
  if (!accept(read->controller)) {
    send(Refused{controller_, "a later controller has taken over"});
    return;
  }
  std::visit([this](const auto& message) { handle(message); }, read->message);
}

/// Only the latest controller is heard; which one that is outlives the agent.
bool Agent::accept(std::uint64_t controller) {
  if (controller < controller_) return false;
  if (controller == controller_) return true;
  const fs::path fresh = settings_.state / "controller.new";
  std::ofstream out(fresh, std::ios::trunc);
  out << controller << '\n';
  out.close();
  std::error_code error;
  if (out) fs::rename(fresh, settings_.state / "controller", error);
  if (!out || error) say("the controller's number cannot be kept: no room in the state folder?");
  controller_ = controller;
  unanswered_.clear();
  return true;
}

AgentJob* Agent::find(const std::string& key) {
  const auto found = jobs_.find(key);
  return found == jobs_.end() ? nullptr : found->second.get();
}

AgentJob* Agent::find_or_report(const std::string& key) {
  AgentJob* const job = find(key);
  if (job == nullptr) {
    JobReport report;
    report.key = key;
    report.why_not = "the agent has no such job";
    send(std::move(report));
  }
  return job;
}

void Agent::handle(const Hello& /*hello*/) {
  Welcome welcome{instance_, FERRY_VERSION, {}};
  for (const auto& [key, job] : jobs_) welcome.jobs.push_back(key);
  send(std::move(welcome));
  for (const auto& [key, job] : jobs_) {
    send(job->report());
    job->forget_acknowledged();
  }
}

void Agent::handle(const StartJob& start) {
  const auto refuse = [&](const std::string& why) {
    JobReport report;
    report.key = start.key;
    report.why_not = why;
    send(std::move(report));
  };
  if (!is_job_key(start.key)) return refuse("its key is no name for a folder");
  if (over_.count(start.key) != 0) return refuse("it is over");
  AgentJob* job = find(start.key);
  if (job == nullptr) {
    Result<std::unique_ptr<AgentJob>> made = AgentJob::create(settings_.state / "jobs", start);
    if (!made) return refuse(made.error().reason);
    job = jobs_.emplace(start.key, std::move(*made)).first->second.get();
  }
  (void)job->start_ranks();  // the report has the reason
  send(job->report());
}

void Agent::handle(const PostBatch& batch) {
  AgentJob* const job = find_or_report(batch.key);
  if (job == nullptr) return;
  job->take(batch);
  send(job->report());
}

void Agent::handle(const FetchPosts& fetch) {
  AgentJob* const job = find_or_report(fetch.key);
  if (job != nullptr) send(job->posts_from(fetch.first));
}

void Agent::handle(const Confirm& confirm) {
  AgentJob* const job = find_or_report(confirm.key);
  if (job == nullptr) return;
  if (std::optional<Confirmed> answer = job->confirm(confirm)) {
    send(std::move(*answer));
  } else {
    unanswered_.emplace_back(confirm);
  }
}

void Agent::handle(const Revoke& revoke) {
  AgentJob* const job = find_or_report(revoke.key);
  if (job == nullptr) return;
  if (std::optional<Revoked> answer = job->revoke(revoke)) {
    send(std::move(*answer));
  } else {
    unanswered_.emplace_back(revoke);
  }
}

void Agent::handle(const Cards& cards) {
  AgentJob* const job = find_or_report(cards.key);
  if (job == nullptr) return;
  job->take(cards);
  send(job->report());
}

void Agent::handle(const Condemn& condemn) {
  if (AgentJob* const job = find_or_report(condemn.key)) job->condemn(condemn.why);
}

void Agent::handle(const Dismiss& dismiss) {
  AgentJob* const job = find_or_report(dismiss.key);
  if (job == nullptr) return;
  job->dismiss();
  send(job->report());
}

void Agent::handle(const EndJob& end) {
  AgentJob* const job = find(end.key);
  if (job != nullptr) job->kill_ranks();
  if (job != nullptr && (!end.forget || job->has_running())) return send(job->report());
  if (end.forget && is_job_key(end.key)) {
    const fs::path jobs = settings_.state / "jobs";
    std::ofstream(jobs / (over_mark + end.key)).close();
    over_.insert(end.key);
    jobs_.erase(end.key);
    std::error_code error;
    fs::remove_all(jobs / end.key, error);
  }
  (void)find_or_report(end.key);
}

void Agent::handle(const Fetch& fetch) {
  if (AgentJob* const job = find_or_report(fetch.key)) send(job->result(fetch));
}

void Agent::handle(const Acknowledge& acknowledge) {
  if (AgentJob* const job = find(acknowledge.key)) {
    job->acknowledge(acknowledge.rank, acknowledge.version);
  }
}

void Agent::handle(const FindHolders& find_them) {
  send(Holders{find_them.id, find_holders(settings_.root, find_them.mac)});
}

void Agent::handle(const HandTrace& piece) {
  if (const AgentJob* const job = find_or_report(piece.key)) send(job->take(piece));
}

void Agent::handle(const Ping& ping) { send(Pong{ping.id, monotonic_nanoseconds()}); }

}  // namespace ferry::agent
