#include "hw_backend/agent/rank_keeper.hpp"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

namespace ferry::agent {
namespace {

std::filesystem::path file_of(const RankCommand& command, const char* what) {
  return command.folder / (what + std::to_string(command.rank));
}

/// Field 22 of /proc/PID/stat (proc(5)): with the id it names a process for good.
std::uint64_t start_of(std::uint32_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(text.substr(name_end + 1));
  std::string state;
  fields >> state;
  if (state == "Z" || state == "X") return 0;
  std::string field;
  for (int i = 4; i <= 22; ++i) fields >> field;
  return std::strtoull(field.c_str(), nullptr, 10);
}

void write_file(const std::filesystem::path& file, const std::string& text) {
  const std::filesystem::path fresh = file.string() + ".new";
  {
    std::ofstream out(fresh, std::ios::trunc);
    out << text;
  }
  std::error_code ignored;
  std::filesystem::rename(fresh, file, ignored);
}

pid_t rank_process = 0;  ///< in a keeper

void kill_rank_of_keeper(int /*signal*/) {
  if (rank_process > 0) {
    ::kill(-rank_process, SIGKILL);
    ::kill(rank_process, SIGKILL);
  }
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> all;
  all.reserve(texts.size() + 1);
  for (const std::string& text : texts) all.push_back(const_cast<char*>(text.c_str()));
  all.push_back(nullptr);
  return all;
}

[[noreturn]] void be_rank(const RankCommand& command) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setsid();
  const std::string output =
      (command.folder / "out" / ("output." + std::to_string(command.rank))).string();
  const int null = ::open("/dev/null", O_RDONLY);
  // As root in a folder of the user: a link there must not lead elsewhere.
  const int out = ::open(output.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0644);
  if (null >= 0) dup2(null, 0);
  if (out >= 0) {
    dup2(out, 1);
    dup2(out, 2);
  }
  const auto fail = [](const char* what) {
    dprintf(2, "ferry-agent: %s: %s\n", what, std::strerror(errno));
    _exit(127);
  };
  const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
  setrlimit(RLIMIT_MEMLOCK,
            &unlimited);  // adapters pin what they use; if refused, they will say so
  if (command.account.changes) {
    const std::vector<gid_t> groups(command.account.groups.begin(), command.account.groups.end());
    if (setgroups(groups.size(), groups.data()) != 0) fail("setgroups");
    if (setgid(command.account.group) != 0) fail("setgid");
    if (setuid(command.account.user) != 0) fail("setuid");
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // the change of user cleared it
  }
  if (chdir((command.folder / "out").c_str()) != 0) fail("chdir");
  for (int file = 3; file < 1024; ++file) ::close(file);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execvpe(command.arguments.front().c_str(), pointers(command.arguments).data(),
          pointers(command.environment).data());
  fail(command.arguments.front().c_str());
  _exit(127);
}

/// Makes this process the rank's keeper, unless there is one. The name comes with what it says, so
/// that whoever dies in between, an agent or a keeper, leaves either no keeper or one that is
/// known.
bool become_keeper(const RankCommand& command) {
  const std::filesystem::path name = file_of(command, "keeper.");
  const std::string own = name.string() + "." + std::to_string(getpid());
  std::ofstream(own) << getpid() << " " << start_of(static_cast<std::uint32_t>(getpid())) << "\n";
  const bool is_keeper = link(own.c_str(), name.c_str()) == 0;
  unlink(own.c_str());
  return is_keeper;
}

/// `settled` is closed once the rank has a keeper.
[[noreturn]] void be_keeper(const RankCommand& command, int settled) {
  setsid();
  prctl(PR_SET_NAME, "ferry-keeper");
  for (int file = 0; file < 1024; ++file) {
    if (file != settled) ::close(file);
  }
  if (!become_keeper(command)) _exit(0);
  ::close(settled);
  const int null = ::open("/dev/null", O_RDWR);
  dup2(null, 1);
  dup2(null, 2);
  struct sigaction on_end {};
  on_end.sa_handler = kill_rank_of_keeper;
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  sigprocmask(SIG_SETMASK, &end, nullptr);  // until the rank is known
  sigaction(SIGTERM, &on_end, nullptr);
  signal(SIGCHLD, SIG_DFL);
  signal(SIGPIPE, SIG_IGN);
  rank_process = fork();
  if (rank_process == 0) be_rank(command);
  sigprocmask(SIG_UNBLOCK, &end, nullptr);
  int status = 0;
  if (rank_process < 0) status = 127 << 8;
  while (rank_process > 0 && waitpid(rank_process, &status, 0) < 0 && errno == EINTR) {
  }
  ::kill(-rank_process, SIGKILL);  // what it started ends with it
  const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
  const int exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  write_file(file_of(command, "end."),
             std::to_string(signal) + " " + std::to_string(exit_status) + "\n");
  const int bell = ::open((command.folder / "bell").c_str(), O_RDWR | O_NONBLOCK);
  [[maybe_unused]] const ssize_t rung = write(bell, "k", 1);
  _exit(0);
}

std::optional<Keeper> keeper_of(const std::filesystem::path& folder, std::uint32_t rank) {
  std::ifstream file(folder / ("keeper." + std::to_string(rank)));
  Keeper keeper;
  if (!(file >> keeper.process >> keeper.started)) return std::nullopt;
  return keeper;
}

bool lives(const Keeper& keeper) {
  return keeper.process != 0 && keeper.started != 0 && start_of(keeper.process) == keeper.started;
}

}  // namespace

Result<Account> find_account(const std::string& user) {
  Account account;
  const passwd* const found = user.empty() ? getpwuid(geteuid()) : getpwnam(user.c_str());
  if (found == nullptr) {
    if (user.empty()) return account;
    return failure(FailureKind::refused, "there is no user " + user +
                                             " in the guest; add it, or "
                                             "name another one as rank: {user: ...}");
  }
  account.user = found->pw_uid;
  account.group = found->pw_gid;
  account.home = found->pw_dir;
  account.changes = found->pw_uid != geteuid();
  if (!account.changes) return account;
  if (geteuid() != 0) {
    return failure(FailureKind::refused,
                   "the agent does not run as root, so it cannot become user " + user);
  }
  int count = 256;
  std::vector<gid_t> groups(static_cast<std::size_t>(count));
  if (getgrouplist(found->pw_name, found->pw_gid, groups.data(), &count) < 0) count = 0;
  account.groups.assign(groups.begin(), groups.begin() + count);
  return account;
}

Result<> start_rank(const RankCommand& command) {
  const auto fails = [](const std::string& why) {
    return failure(FailureKind::failed, "a rank cannot be started: " + why);
  };
  std::array<int, 2> settled = {};
  if (pipe2(settled.data(), O_CLOEXEC) != 0) return fails(std::strerror(errno));
  const pid_t between = fork();
  if (between == 0) {
    // The keeper is nobody's child: it outlives the agent, and nobody has to collect it.
    if (fork() == 0) be_keeper(command, settled[1]);
    _exit(0);
  }
  const int error = errno;
  ::close(settled[1]);
  if (between > 0) {
    waitpid(between, nullptr, 0);
    char nothing = 0;
    while (read(settled[0], &nothing, 1) < 0 && errno == EINTR) {
    }
  }
  ::close(settled[0]);
  if (between < 0) return fails(std::strerror(error));
  if (!was_started(command.folder, command.rank)) return fails("nobody keeps it");
  return {};
}

bool was_started(const std::filesystem::path& folder, std::uint32_t rank) {
  std::error_code ignored;
  return std::filesystem::exists(folder / ("keeper." + std::to_string(rank)), ignored);
}

std::optional<RankExit> look_for_end(const std::filesystem::path& folder, std::uint32_t rank) {
  const auto read = [&]() -> std::optional<RankExit> {
    std::ifstream file(folder / ("end." + std::to_string(rank)));
    RankExit end;
    if (!(file >> end.signal >> end.status)) return std::nullopt;
    return end;
  };
  if (const auto end = read()) return end;
  const std::optional<Keeper> keeper = keeper_of(folder, rank);
  if (keeper && lives(*keeper)) return std::nullopt;
  if (const auto end = read()) return end;  // it has just gone
  return RankExit{0, 0, true};
}

void kill_rank(const std::filesystem::path& folder, std::uint32_t rank) {
  const std::optional<Keeper> keeper = keeper_of(folder, rank);
  if (keeper && lives(*keeper)) ::kill(static_cast<pid_t>(keeper->process), SIGTERM);
}

}  // namespace ferry::agent
