#include "hw_backend/agent/agent_jobs.hpp"

#include <array>
#include <cctype>
#include <charconv>
#include <cstdint>
#include <map>
#include <span>

#include "core/mpi/workloads/trace_file.hpp"
#include "core/ports/world_error.hpp"

namespace ferry::agent {
namespace {

constexpr Duration answer_of_agent = Duration::milliseconds(3'000);

constexpr std::size_t longest_name = 40;
constexpr std::size_t digits_of_origin = 16;

/// What may stand in a folder's name.
std::string plain(const std::string& text, std::size_t longest = longest_name) {
  std::string name;
  for (const char c : text) {
    name += std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' ? c : '_';
  }
  return name.substr(0, longest);
}

std::string with_job(std::string text, const std::string& job) {
  constexpr std::string_view mark = "{job}";
  const std::size_t at = text.find(mark);
  if (at != std::string::npos) text.replace(at, mark.size(), job);
  return text;
}

/// What ranks need of a trace, by their VM. Throws WorldError if it cannot be read.
std::map<VmId, std::string> traces_of(const JobSpec& spec) {
  std::map<VmId, std::string> traces;
  if (spec.workload.type != WorkloadType::trace) return traces;
  std::map<VmId, std::uint32_t> groups;
  for (const VmId vm : spec.vms) groups.emplace(vm, static_cast<std::uint32_t>(groups.size()));
  std::vector<std::uint32_t> groups_of_ranks;
  for (std::uint32_t rank = 0; rank < spec.ranks(); ++rank) {
    groups_of_ranks.push_back(groups.at(spec.vms[rank / spec.ranks_per_vm]));
  }
  auto divided = mpi::divide_trace(spec.workload.file, groups_of_ranks);
  if (!divided) throw WorldError("job " + spec.name + ": " + divided.error().front());
  for (const auto& [vm, group] : groups) traces[vm] = std::move((*divided)[group]);
  return traces;
}

}  // namespace

std::string name_of_run(const std::string& folder, std::int64_t origin) {
  std::array<char, digits_of_origin> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(),
                                 static_cast<std::uint64_t>(origin), 16);
  return plain(folder, longest_name - 1 - digits_of_origin) + "-" +
         std::string(digits.data(), end.ptr);
}

/// Belongs to links while it lives.
class AgentJobs::Opened final : public mpi::HostedJob {
 public:
  Opened(AgentJobs& host, std::vector<VmId> vms, std::unique_ptr<RemoteJob> job)
      : host_(host), vms_(std::move(vms)), job_(std::move(job)) {
    for (const VmId vm : vms_) host_.links_.at(vm)->add(*job_);
  }
  ~Opened() override {
    for (const VmId vm : vms_) host_.links_.at(vm)->remove(*job_);
  }
  void start() override { job_->start(); }
  Result<> join(mpi::WorkloadLog& log, std::vector<std::string>& complaints) override {
    return job_->join(log, complaints);
  }
  void abort(const std::string& why) override { job_->abort(why); }

 private:
  AgentJobs& host_;
  std::vector<VmId> vms_;
  std::unique_ptr<RemoteJob> job_;
};

AgentJobs::AgentJobs(World& world, const Instance& instance,
                     const std::vector<VmId>& vms_with_agents, const OpenControl& open,
                     AgentJobsOptions options)
    : world_(world), instance_(instance), options_(std::move(options)) {
  for (const VmId vm : vms_with_agents) {
    links_.emplace(vm, std::make_unique<AgentLink>(
                           world.executor, world.clock, vm, instance.vms[vm.index].name, open(vm),
                           options_.controller, options_.patience,
                           [this, vm] { return world_.hypervisor.inspect(vm); }));
  }
}

AgentJobs::~AgentJobs() = default;

AgentLink* AgentJobs::link(VmId vm) {
  const auto found = links_.find(vm);
  return found == links_.end() ? nullptr : found->second.get();
}

std::unique_ptr<mpi::HostedJob> AgentJobs::open(const mpi::HostedJobRequest& request) {
  RemoteJobOptions options;
  options.key =
      plain(options_.run) + "-" + std::to_string(request.id.index) + "-" + plain(request.spec.name);
  for (const std::string& argument : options_.arguments) {
    options.arguments.push_back(with_job(argument, request.spec.name));
  }
  options.environment = options_.environment;
  options.user = options_.user;
  const auto description = std::as_bytes(std::span(options_.description));
  options.description.assign(description.begin(), description.end());
  options.traces = traces_of(request.spec);
  options.taken_over = options_.taken_over;
  options.patience = options_.patience;
  options.grace = options_.grace;
  std::map<VmId, std::string> names;
  for (const VmId vm : request.spec.vms) {
    names[vm] = instance_.vms[vm.index].name;
    if (links_.count(vm) == 0) {
      throw WorldError("job " + request.spec.name + " has ranks in " + names[vm] +
                       ", which has no agent");
    }
  }
  std::vector<VmId> vms;
  for (const auto& [vm, name] : names) vms.push_back(vm);
  auto job =
      std::make_unique<RemoteJob>(world_.executor, world_.clock, request, std::move(options),
                                  std::move(names), [this](VmId vm) { links_.at(vm)->poke(); });
  job->set_clocks([this](VmId vm) { return links_.at(vm)->clock_map(); });
  job->set_troubles([this](VmId vm) { return links_.at(vm)->trouble(); });
  return std::make_unique<Opened>(*this, std::move(vms), std::move(job));
}

// --- Who holds a device. ---

std::string NamingHypervisor::holders_of(VmId vm, DeviceKind kind) const {
  AgentLink* const link = link_(vm);
  if (link == nullptr) return {};
  const auto holders = link->find_holders({}, clock_.now() + answer_of_agent);
  if (!holders) return {};
  std::string text;
  for (const Holder& holder : *holders) {
    const bool is_verbs = holder.path.rfind("/dev/infiniband/", 0) == 0;
    if (is_verbs != (kind == DeviceKind::virtual_function)) continue;
    text += (text.empty() ? "" : ", ") + holder.program + " (process " +
            std::to_string(holder.process) + " of " + holder.user + ") has " + holder.path +
            (is_verbs ? " open" : " mapped");
  }
  return text;
}

Result<> NamingHypervisor::detach(VmId vm, DeviceKind kind, TimePoint deadline) {
  const std::string holders = holders_of(vm, kind);  // they may have gone when the time is up
  Result<> detached = inner_.detach(vm, kind, deadline);
  if (detached || holders.empty()) return detached;
  return failure(detached.error().kind, detached.error().reason + "; in the guest " + holders);
}

Result<> NamingHypervisor::await_detached(VmId vm, DeviceKind kind, TimePoint deadline) {
  Result<> detached = inner_.await_detached(vm, kind, deadline);
  if (detached) return detached;
  const std::string holders = holders_of(vm, kind);
  if (holders.empty()) return detached;
  return failure(detached.error().kind, detached.error().reason + "; in the guest " + holders);
}

}  // namespace ferry::agent
