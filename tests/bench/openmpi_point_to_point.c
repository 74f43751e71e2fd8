/* Two ranks of Open MPI: ping-pong and windows of messages, for bench_shm, which runs it by mpirun.
 * Usage: openmpi_point_to_point SMALLEST LARGEST
 * Prints a line for each power of two: size, seconds one way, bytes per second, of the quickest of
 * some batches. Batches and rounds follow from the size: bench_shm does the same with the same
 * numbers. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { window = 64, batches = 20, batch_bytes = 1 << 21, most_rounds = 500, most_windows = 20 };

static long clamp(long value, long low, long high) {
  return value < low ? low : value > high ? high : value;
}

/* Seconds from one rank to the other. */
static double latency(char* out, char* in, int size, int rank) {
  const long rounds = clamp(batch_bytes / size, 2, most_rounds);
  double best = 1e9;
  for (int batch = 0; batch <= batches; ++batch) { /* the first warms up */
    const double start = MPI_Wtime();
    for (long i = 0; i < rounds; ++i) {
      if (rank == 0) {
        MPI_Send(out, size, MPI_BYTE, 1, 1, MPI_COMM_WORLD);
        MPI_Recv(in, size, MPI_BYTE, 1, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      } else {
        MPI_Recv(in, size, MPI_BYTE, 0, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        MPI_Send(out, size, MPI_BYTE, 0, 1, MPI_COMM_WORLD);
      }
    }
    const double seconds = (MPI_Wtime() - start) / (2.0 * (double)rounds);
    if (batch > 0 && seconds < best) best = seconds;
  }
  return best;
}

/* Bytes per second with a window of messages under way, each window acknowledged by 4 bytes. */
static double bandwidth(char* out, char* in, int size, int rank) {
  const long windows = clamp(4L * batch_bytes / size / window, 1, most_windows);
  MPI_Request requests[window];
  char acknowledgement[4] = {0};
  double best = 0;
  for (int batch = 0; batch <= batches; ++batch) {
    const double start = MPI_Wtime();
    for (long i = 0; i < windows; ++i) {
      if (rank == 0) {
        for (int j = 0; j < window; ++j)
          MPI_Isend(out, size, MPI_BYTE, 1, 2, MPI_COMM_WORLD, &requests[j]);
        MPI_Waitall(window, requests, MPI_STATUSES_IGNORE);
        MPI_Recv(acknowledgement, 4, MPI_BYTE, 1, 3, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      } else {
        for (int j = 0; j < window; ++j)
          MPI_Irecv(in, size, MPI_BYTE, 0, 2, MPI_COMM_WORLD, &requests[j]);
        MPI_Waitall(window, requests, MPI_STATUSES_IGNORE);
        MPI_Send(acknowledgement, 4, MPI_BYTE, 0, 3, MPI_COMM_WORLD);
      }
    }
    const double rate = (double)size * window * (double)windows / (MPI_Wtime() - start);
    if (batch > 0 && rate > best) best = rate;
  }
  return best;
}

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0;
  int ranks = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  if (argc != 3 || ranks != 2) {
    if (rank == 0) fprintf(stderr, "two ranks; arguments: SMALLEST LARGEST\n");
    MPI_Abort(MPI_COMM_WORLD, 2);
  }
  const int smallest = atoi(argv[1]);
  const int largest = atoi(argv[2]);
  char* out = NULL;
  char* in = NULL;
  if (posix_memalign((void**)&out, 4096, (size_t)largest) ||
      posix_memalign((void**)&in, 4096, (size_t)largest))
    MPI_Abort(MPI_COMM_WORLD, 3);
  memset(out, 1, (size_t)largest);
  memset(in, 2, (size_t)largest);
  for (int size = smallest; size <= largest; size *= 2) {
    const double seconds = latency(out, in, size, rank);
    const double rate = bandwidth(out, in, size, rank);
    if (rank == 0) printf("%d %.4e %.4e\n", size, seconds, rate);
  }
  free(out);
  free(in);
  MPI_Finalize();
  return 0;
}
