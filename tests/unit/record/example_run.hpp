// A small run made by hand: three VMs, of which two move and one is never started.
#pragma once

#include "core/record/run_records.hpp"
#include "core/scenario/instance.hpp"

namespace ferry::testing {

inline TimePoint at_ms(std::int64_t milliseconds) {
  return TimePoint::at(Duration::milliseconds(milliseconds));
}

inline Instance example_instance() {
  Instance instance;
  for (const char* name : {"host0", "host1", "host2"}) {
    HostSpec host;
    host.name = name;
    instance.hosts.push_back(host);
  }
  for (const char* name : {"vm10", "vm2", "vm1"}) {  // not in the order of names
    VmSpec vm;
    vm.name = name;
    instance.vms.push_back(vm);
  }
  for (const char* name : {"lu1", "ep,0"}) {
    JobSpec job;
    job.name = name;
    instance.jobs.push_back(job);
  }
  instance.jobs[1].strategy = Strategy::progress_engine;
  instance.vms[0].jobs = {JobId{0}, JobId{1}};
  for (std::uint32_t i = 0; i < 3; ++i) {
    MoveSpec move;
    move.migration = "leave";
    move.vm = VmId{i};
    move.transfer.transport = Transport::rdma;
    instance.moves.push_back(move);
  }
  return instance;
}

inline void record_example(Recorder& records) {
  // vm10: 1.0 s .. 3.0 s, completed, its two device phases overlap.
  records.span({VmId{0}, Phase::set_pre_migration, HostId{0}, at_ms(1000), at_ms(1100)});
  records.span({VmId{0}, Phase::detach_vf, HostId{0}, at_ms(1100), at_ms(1400)});
  records.span({VmId{0}, Phase::remove_ivshmem, HostId{0}, at_ms(1200), at_ms(1300)});
  records.span({VmId{0}, Phase::migration, HostId{0}, at_ms(1400), at_ms(2400)});
  records.span({VmId{0}, Phase::attach_vf, HostId{1}, at_ms(2400), at_ms(2800)});
  records.span({VmId{0}, Phase::add_ivshmem, HostId{1}, at_ms(2500), at_ms(2900)});
  records.span({VmId{0}, Phase::set_post_migration, HostId{1}, at_ms(2900), at_ms(3000)});
  records.round(VmId{0}, {1, Bytes(1000), Duration::milliseconds(800), Bytes(50)});
  records.round(VmId{0}, {2, Bytes(50), Duration::milliseconds(40), Bytes(0)});
  // vm2: starts at the same instant, fails while its VF is detached, and is rolled back.
  records.span({VmId{1}, Phase::set_pre_migration, HostId{0}, at_ms(1000), at_ms(1100)});
  records.span({VmId{1}, Phase::detach_vf, HostId{0}, at_ms(1100), at_ms(1500), Outcome::failed});

  MoveRecord completed;
  completed.move = 0;
  completed.vm = VmId{0};
  completed.from = HostId{0};
  completed.to = HostId{1};
  completed.start = at_ms(1000);
  completed.end = at_ms(3000);
  completed.transfer = {Duration::milliseconds(120), Bytes(1050), 2};
  completed.outage = Duration::milliseconds(1900);
  completed.lost_traffic = Duration::milliseconds(1950);
  records.move(completed);

  MoveRecord rolled_back;
  rolled_back.move = 1;
  rolled_back.vm = VmId{1};
  rolled_back.start = at_ms(1000);
  rolled_back.end = at_ms(1600);
  rolled_back.outcome = Outcome::rolled_back;
  rolled_back.reason = "detach_vf: refused, \"busy\"";
  records.move(rolled_back);

  MoveRecord not_started;
  not_started.move = 2;
  not_started.vm = VmId{2};
  not_started.start = at_ms(1600);
  not_started.end = at_ms(1600);
  not_started.outcome = Outcome::not_started;
  not_started.reason = "interrupted";
  records.move(not_started);

  // Two ranks of lu1, blocked from 1.1 to 2.9 s and from 1.5 to 3.0 s; a later one for 0.5 s.
  records.rank(
      {JobId{0}, RankId{1}, at_ms(1000), at_ms(1050), at_ms(1060), at_ms(1500), at_ms(3000)});
  records.rank(
      {JobId{0}, RankId{0}, at_ms(1000), at_ms(1020), at_ms(1030), at_ms(1100), at_ms(2900)});
  records.rank(
      {JobId{0}, RankId{0}, at_ms(4000), at_ms(4000), at_ms(4000), at_ms(4000), at_ms(4500)});
}

}  // namespace ferry::testing
