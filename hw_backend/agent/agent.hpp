// The agent of a VM: what it does with the controller's messages, and when it speaks by itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "hw_backend/agent/agent_channel.hpp"
#include "hw_backend/agent/agent_job.hpp"
#include "hw_backend/agent/messages.hpp"

namespace ferry::agent {

struct AgentSettings {
  std::string channel;                         ///< as `AgentChannel` has it
  std::filesystem::path state = "/run/ferry";  ///< jobs and their boards; must be in memory
  std::filesystem::path root = "/";            ///< where `sys` and `proc` are
};

/// One thread; waits for the channel and for the bells of jobs. All that it must not forget is in
/// files of `state`, so another one can take over at any time.
class Agent {
 public:
  explicit Agent(AgentSettings settings);

  /// Until `stop` becomes readable. The failure says what the agent cannot do without: its state
  /// folder, or that another agent has it.
  [[nodiscard]] Result<> run(int stop);

 private:
  using Time = std::chrono::steady_clock::time_point;
  [[nodiscard]] Result<> take_state();
  void wait(int stop);
  void receive(std::span<const std::byte> bytes);
  void send(Message message);
  [[nodiscard]] bool accept(std::uint64_t controller);
  AgentJob* find(const std::string& key);
  /// Tells of a job that is not there.
  AgentJob* find_or_report(const std::string& key);
  void work();

  void handle(const Hello& hello);
  void handle(const StartJob& start);
  void handle(const PostBatch& batch);
  void handle(const FetchPosts& fetch);
  void handle(const Confirm& confirm);
  void handle(const Revoke& revoke);
  void handle(const Cards& cards);
  void handle(const Condemn& condemn);
  void handle(const Dismiss& dismiss);
  void handle(const EndJob& end);
  void handle(const Fetch& fetch);
  void handle(const Acknowledge& acknowledge);
  void handle(const FindHolders& find);
  void handle(const HandTrace& piece);
  void handle(const Ping& ping);
  /// What only agents say.
  template <class Other>
  void handle(const Other& /*message*/) {}

  AgentSettings settings_;
  AgentChannel channel_;
  std::uint64_t instance_;
  std::uint64_t controller_ = 0;  ///< the latest
  std::map<std::string, std::unique_ptr<AgentJob>> jobs_;
  /// Jobs that were forgotten: a late order to start one is not carried out.
  std::set<std::string> over_;
  /// Questions whose answer has to wait, for ranks in the midst of something.
  std::deque<Message> unanswered_;
};

}  // namespace ferry::agent
