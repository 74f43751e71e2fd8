// The controller's end of the link to one VM's agent.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/ports/clock.hpp"
#include "core/ports/control.hpp"
#include "core/ports/executor.hpp"
#include "core/ports/hypervisor.hpp"
#include "core/ports/result.hpp"
#include "core/ports/types.hpp"
#include "hw_backend/agent/clock_map.hpp"
#include "hw_backend/agent/messages.hpp"
#include "hw_backend/agent/remote_job.hpp"

namespace ferry::agent {

class AgentLink {
 public:
  /// `controller`: the number that it speaks under. `patience`: how long the agent may say nothing
  /// while its VM stays where it is; then jobs that were started end. `inspect`: what has become of
  /// the VM; asked when the agent has been silent for long, and may block as long as a call to a
  /// hypervisor.
  AgentLink(Executor& executor, Clock& clock, VmId vm, std::string name,
            std::unique_ptr<Control> control, std::uint64_t controller, Duration patience,
            std::function<VmInspection()> inspect);
  /// Joins.
  ~AgentLink();
  AgentLink(const AgentLink&) = delete;
  AgentLink& operator=(const AgentLink&) = delete;

  void add(RemoteJob& job);
  void remove(RemoteJob& job);
  /// There is something to say. From any task; never blocks.
  void poke() { control_->notify(); }
  /// Who has the VM's RDMA device open.
  [[nodiscard]] Result<std::vector<Holder>> find_holders(const std::string& mac,
                                                         TimePoint deadline);
  [[nodiscard]] ClockMap clock_map() const;
  /// As `Control::trouble`.
  [[nodiscard]] std::string trouble() const { return control_->trouble(); }
  /// Whether the agent has answered since the link was last opened.
  [[nodiscard]] bool is_open() const;

 private:
  void serve();
  void say();
  void receive(std::span<const std::byte> bytes);
  void send(Message message);
  void look_for_silence();
  void give_up_silent();
  /// Calls them without the mutex; none is removed meanwhile.
  void for_every_job(const std::function<void(RemoteJob&)>& call);
  void for_job(const std::string& key, const std::function<void(RemoteJob&)>& call);

  void handle(const Welcome& welcome);
  void handle(const Refused& refused);
  void handle(const JobReport& report);
  void handle(const PostBatch& batch);
  void handle(const RankReport& report);
  void handle(const Confirmed& confirmed);
  void handle(const Revoked& revoked);
  void handle(const Chunk& chunk);
  void handle(const TraceReport& report);
  void handle(const Holders& holders);
  void handle(const Pong& pong);
  /// What only controllers say.
  template <class Other>
  void handle(const Other& /*message*/) {}

  Executor& executor_;
  Clock& clock_;
  VmId vm_;
  std::string name_;
  std::unique_ptr<Control> control_;
  std::uint64_t controller_;
  Duration patience_;
  std::function<VmInspection()> inspect_;
  std::unique_ptr<Mutex> mutex_;  ///< of what follows; jobs are called without it
  std::unique_ptr<Condition> changed_;
  std::vector<RemoteJob*> jobs_;
  RemoteJob* busy_ = nullptr;  ///< that is being called
  ClockMap map_;
  bool welcomed_ = false;
  std::uint64_t openings_ = 0;
  TimePoint said_hello_;
  TimePoint turned_;  ///< when silence was looked for last
  TimePoint looked_;  ///< when the VM was
  Duration silence_;  ///< of the agent, as far as this listened and saw that the VM did not move
  TimePoint pinged_;
  std::uint64_t ping_ = 0;
  bool seen_lost_ = false;
  std::uint64_t question_ = 0;  ///< about holders
  std::string asked_mac_;
  TimePoint asked_at_;
  std::optional<std::vector<Holder>> holders_;
  bool asks_holders_ = false;
  std::unique_ptr<Task> task_;  ///< last: it uses the rest
};

}  // namespace ferry::agent
