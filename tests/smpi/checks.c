/* What smpi_test.cpp simulates on our side, for SMPI: PART SIZE REPEATS. Each rank prints the
 * simulated seconds at which it is done. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes that `from` sends to `to`; as in smpi_test.cpp. */
static int block(int size, int from, int to) { return size * (1 + (from * 7 + to * 13) % 5); }

static void ping_pong(int rank, int size, int repeats, char* body) {
  for (int i = 0; i < repeats; ++i) {
    if (rank == 0) {
      MPI_Send(body, size, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
      MPI_Recv(body, size, MPI_BYTE, 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else if (rank == 1) {
      MPI_Recv(body, size, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      MPI_Send(body, size, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
    }
  }
}

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank;
  int ranks;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const char* part = argv[1];
  const int size = atoi(argv[2]);
  const int repeats = atoi(argv[3]);
  const int large = 16 << 20;
  char* body = SMPI_SHARED_MALLOC(large);
  double done = 0;
  if (strcmp(part, "ping_pong") == 0) {
    ping_pong(rank, size, repeats, body);
  } else if (strcmp(part, "beside_a_flow") == 0) {
    /* Ranks 2 and 3 are where 0 and 1 are, and keep the link busy. */
    ping_pong(rank, size, repeats, body);
    done = MPI_Wtime();
    for (int i = 0; i < 4 && rank >= 2; ++i) {
      if (rank == 2) MPI_Send(body, large, MPI_BYTE, 3, 0, MPI_COMM_WORLD);
      if (rank == 3) MPI_Recv(body, large, MPI_BYTE, 2, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    }
    if (rank >= 2) done = MPI_Wtime();
  } else if (strcmp(part, "allreduce") == 0) {
    for (int i = 0; i < repeats; ++i) {
      MPI_Allreduce(MPI_IN_PLACE, body, size / 8, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    }
  } else {
    int* counts = malloc(4 * sizeof(int) * (size_t)ranks);
    int* zeros = counts + ranks;
    int* received = counts + 2 * ranks;
    for (int i = 0; i < ranks; ++i) {
      counts[i] = block(size, rank, i);
      received[i] = block(size, i, rank);
      zeros[i] = 0;
    }
    for (int i = 0; i < repeats; ++i) {
      MPI_Alltoallv(body, counts, zeros, MPI_BYTE, body, received, zeros, MPI_BYTE,
                    MPI_COMM_WORLD);
    }
    free(counts);
  }
  if (done == 0) done = MPI_Wtime();
  printf("DONE %d %.9f\n", rank, done);
  SMPI_SHARED_FREE(body);
  MPI_Finalize();
  return 0;
}
