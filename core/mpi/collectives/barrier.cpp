#include "core/mpi/collectives/phases.hpp"

namespace ferry::mpi::phase {

void barrier_dissemination(ScheduleBuilder& to, const Members& members) {
  for (Rank distance = 1; distance < members.count; distance *= 2) {
    to.signal(members.at(members.further(distance)));
    to.await(members.at(members.further(-distance)));
    to.end_round();
  }
}

void signal_up(ScheduleBuilder& to, const Members& members) {
  Rank bit = 1;
  for (; bit < members.count && (members.me & bit) == 0; bit *= 2)
    if (members.me + bit < members.count) to.await(members.at(members.me + bit));
  to.end_round();
  if (bit < members.count) to.signal(members.at(members.me - bit));
  to.end_round();
}

void signal_down(ScheduleBuilder& to, const Members& members) {
  Rank bit = 1;
  while (bit < members.count && (members.me & bit) == 0) bit *= 2;
  if (bit < members.count) to.await(members.at(members.me - bit));
  to.end_round();
  for (bit /= 2; bit > 0; bit /= 2)
    if (members.me + bit < members.count) to.signal(members.at(members.me + bit));
  to.end_round();
}

}  // namespace ferry::mpi::phase
