/* Two ranks of Open MPI: ping-pong and windows of messages, for bench_shm, which runs it by mpirun.
 * Usage: openmpi_point_to_point SMALLEST LARGEST LATENCY_BYTES BANDWIDTH_BYTES
 * Prints a line for each power of two: size, seconds one way, bytes per second. How often each size
 * is sent follows from the bytes to move: bench_shm does the same with the same numbers. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { window = 64, fewest = 20, most_latency = 10000, most_windows = 400 };

static long clamp(long value, long low, long high) {
  return value < low ? low : value > high ? high : value;
}

/* Seconds from one rank to the other. */
static double latency(char* out, char* in, long size, int rank, long rounds) {
  double start = 0;
  const long warm_up = rounds / 10 + 2;
  for (long i = 0; i < rounds + warm_up; ++i) {
    if (i == warm_up) start = MPI_Wtime();
    if (rank == 0) {
      MPI_Send(out, (int)size, MPI_BYTE, 1, 1, MPI_COMM_WORLD);
      MPI_Recv(in, (int)size, MPI_BYTE, 1, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else {
      MPI_Recv(in, (int)size, MPI_BYTE, 0, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      MPI_Send(out, (int)size, MPI_BYTE, 0, 1, MPI_COMM_WORLD);
    }
  }
  return (MPI_Wtime() - start) / (2.0 * (double)rounds);
}

/* Bytes per second with a window of messages under way, each window acknowledged by 4 bytes. */
static double bandwidth(char* out, char* in, long size, int rank, long rounds) {
  MPI_Request requests[window];
  double start = 0;
  char ack[4] = {0};
  const long warm_up = rounds / 10 + 1;
  for (long i = 0; i < rounds + warm_up; ++i) {
    if (i == warm_up) start = MPI_Wtime();
    if (rank == 0) {
      for (int j = 0; j < window; ++j)
        MPI_Isend(out, (int)size, MPI_BYTE, 1, 2, MPI_COMM_WORLD, &requests[j]);
      MPI_Waitall(window, requests, MPI_STATUSES_IGNORE);
      MPI_Recv(ack, 4, MPI_BYTE, 1, 3, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else {
      for (int j = 0; j < window; ++j)
        MPI_Irecv(in, (int)size, MPI_BYTE, 0, 2, MPI_COMM_WORLD, &requests[j]);
      MPI_Waitall(window, requests, MPI_STATUSES_IGNORE);
      MPI_Send(ack, 4, MPI_BYTE, 0, 3, MPI_COMM_WORLD);
    }
  }
  return (double)size * window * (double)rounds / (MPI_Wtime() - start);
}

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0;
  int ranks = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  if (argc != 5 || ranks != 2) {
    if (rank == 0) fprintf(stderr, "two ranks; SMALLEST LARGEST LATENCY_BYTES BANDWIDTH_BYTES\n");
    MPI_Abort(MPI_COMM_WORLD, 2);
  }
  const long smallest = atol(argv[1]);
  const long largest = atol(argv[2]);
  const long latency_bytes = atol(argv[3]);
  const long bandwidth_bytes = atol(argv[4]);
  char* out = NULL;
  char* in = NULL;
  if (posix_memalign((void**)&out, 4096, (size_t)largest) ||
      posix_memalign((void**)&in, 4096, (size_t)largest))
    MPI_Abort(MPI_COMM_WORLD, 3);
  memset(out, 1, (size_t)largest);
  memset(in, 2, (size_t)largest);
  for (long size = smallest; size <= largest; size *= 2) {
    const double seconds =
        latency(out, in, size, rank, clamp(latency_bytes / size, fewest, most_latency));
    MPI_Barrier(MPI_COMM_WORLD);
    const double rate =
        bandwidth(out, in, size, rank, clamp(bandwidth_bytes / size / window, 2, most_windows));
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) printf("%ld %.4e %.4e\n", size, seconds, rate);
  }
  free(out);
  free(in);
  MPI_Finalize();
  return 0;
}
