/* The patterns of message_patterns.hpp, for smpicc: PATTERN ITERATIONS. Rank 0 prints the processor
 * seconds that the simulation took between two barriers, and the simulated seconds. */
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double jittered(uint32_t mean, int rank, int iteration) {
  uint32_t mixed = ((uint32_t)rank * 2654435761U) ^ ((uint32_t)iteration * 2246822519U);
  return 1e-9 * (mean / 2 + (mixed >> 8) % mean);
}

/* The machine's, not the simulated one that SMPI puts in place of the library's calls. */
static double processor_seconds(void) {
  struct timespec time;
  syscall(SYS_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void send_to(int rank, int bytes, char* body) {
  MPI_Send(body, bytes, MPI_BYTE, rank, 0, MPI_COMM_WORLD);
}
static void receive_from(int rank, int bytes, char* body) {
  MPI_Recv(body, bytes, MPI_BYTE, rank, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank;
  int ranks;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const char* pattern = argv[1];
  const int iterations = atoi(argv[2]);
  int columns = 1;
  while (4 * columns * columns <= ranks) columns *= 2;
  const int column = rank % columns;
  const int row = rank / columns;
  char body[1024] = {0};

  MPI_Barrier(MPI_COMM_WORLD);
  const double began = processor_seconds();
  const double simulated = MPI_Wtime();
  for (int i = 0; i < iterations; ++i) {
    if (strcmp(pattern, "ping_pong") == 0) {
      smpi_execute(jittered(200, rank, i));
      if (rank % 2 == 0) {
        send_to(rank + 1, 8, body);
        receive_from(rank + 1, 8, body);
      } else {
        receive_from(rank - 1, 8, body);
        send_to(rank - 1, 8, body);
      }
    } else if (strcmp(pattern, "allreduce") == 0) {
      smpi_execute(jittered(1000, rank, i));
      double mine = 1;
      double sum = 0;
      MPI_Allreduce(&mine, &sum, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
      if (sum != ranks) abort();
    } else {
      if (column > 0) receive_from(rank - 1, 1024, body);
      if (row > 0) receive_from(rank - columns, 1024, body);
      smpi_execute(jittered(5000, rank, i));
      if (column + 1 < columns) send_to(rank + 1, 1024, body);
      if (row + 1 < ranks / columns) send_to(rank + columns, 1024, body);
    }
  }
  MPI_Barrier(MPI_COMM_WORLD);
  if (rank == 0) printf("RESULT %.9f %.9f\n", processor_seconds() - began, MPI_Wtime() - simulated);
  MPI_Finalize();
  return 0;
}
