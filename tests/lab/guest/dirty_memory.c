/* Dirties guest memory as a scenario says: so much of it is not zero, a working set is written again
 * and again at a given rate. Runs in the lab's guests, started by their init; bytes everywhere.
 *
 *   dirty_memory --nonzero N --working-set N --rate N --control FIFO --status FILE
 *
 * --nonzero is how much of the VM's memory should hold something. The kernel and what runs beside this
 * program have written some already; the rest is written here, as far as there is room.
 * Lines written to the control FIFO change things later: "rate N" (bytes of pages a second), "status".
 * The status file holds one "name value" a line; it is rewritten at start and after each command.
 *
 * The working set is swept page by page, so that r bytes a second dirty min(r t, working set) bytes in
 * t seconds. One word changes in a page: to a hypervisor that tracks pages that is a whole page.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { page = 4096, tick_ms = 10, most_behind_ms = 200 };

/* Left to the guest agent and the programs that it starts. */
static const uint64_t reserve = 12u << 20;

struct options {
  uint64_t nonzero, working_set, rate;
  const char *control, *status;
};

struct sweep {
  unsigned char *region;
  uint64_t region_bytes, working_set, next_page, pages_written, written_before;
  struct timespec started;
};

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static uint64_t free_memory(void) {
  FILE *file = fopen("/proc/meminfo", "r");
  char line[128];
  unsigned long long kib = 0;
  if (!file) fail("/proc/meminfo");
  while (fgets(line, sizeof line, file)) {
    if (sscanf(line, "MemFree: %llu kB", &kib) == 1) break;
  }
  fclose(file);
  return (uint64_t)kib << 10;
}

static int is_zero(const uint64_t *words) {
  for (size_t i = 0; i < page / sizeof *words; ++i) {
    if (words[i]) return 0;
  }
  return 1;
}

/* Counts the pages of one piece of physical memory that are not zero, in bytes. */
static uint64_t nonzero_in(int core, uint64_t offset, uint64_t size) {
  static uint64_t buffer[(256 << 10) / sizeof(uint64_t)];
  uint64_t found = 0;
  while (size >= page) {
    const size_t wanted = size < sizeof buffer ? size / page * page : sizeof buffer;
    const ssize_t got = pread(core, buffer, wanted, (off_t)offset);
    if (got < page) fail("/proc/kcore");
    for (ssize_t at = 0; at + page <= got; at += page) {
      if (!is_zero(buffer + at / (ssize_t)sizeof *buffer)) found += page;
    }
    offset += (uint64_t)got / page * page;
    size -= (uint64_t)got / page * page;
  }
  return found;
}

/* How much of the VM's memory is not zero, read from the kernel's map of all physical memory. It is in
 * the lower part of the kernel's half of the addresses; the kernel's own image, mapped a second time
 * near their end, and memory mapped piecemeal in between are not counted again. */
static uint64_t nonzero_now(void) {
  static const uint64_t end_of_direct_map = 0xffffc90000000000u; /* without randomised layout; see init */
  const int core = open("/proc/kcore", O_RDONLY);
  Elf64_Ehdr header;
  uint64_t found = 0;
  if (core < 0 || pread(core, &header, sizeof header, 0) != sizeof header) fail("/proc/kcore");
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr part;
    if (pread(core, &part, sizeof part, (off_t)(header.e_phoff + (uint64_t)i * sizeof part)) != sizeof part) {
      fail("/proc/kcore");
    }
    if (part.p_type == PT_LOAD && part.p_vaddr < end_of_direct_map) found += nonzero_in(core, part.p_offset, part.p_memsz);
  }
  close(core);
  return found;
}

static double seconds_since(const struct timespec *then) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)(now.tv_sec - then->tv_sec) + (double)(now.tv_nsec - then->tv_nsec) / 1e9;
}

/* Words that no compression finds much in. */
static uint64_t next_word(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static void fill(struct sweep *sweep) {
  uint64_t state = 88172645463325252u;
  uint64_t *word = (uint64_t *)sweep->region;
  const uint64_t words = sweep->region_bytes / sizeof *word;
  for (uint64_t i = 0; i < words; ++i) word[i] = next_word(&state);
}

static void prepare(const struct options *options, struct sweep *sweep) {
  const uint64_t unused = free_memory();
  const uint64_t room = unused > reserve ? unused - reserve : 0;
  sweep->written_before = nonzero_now();
  uint64_t bytes = options->nonzero > sweep->written_before ? options->nonzero - sweep->written_before : 0;
  if (bytes < options->working_set) bytes = options->working_set;
  if (bytes > room) bytes = room;
  sweep->region_bytes = bytes / page * page;
  sweep->working_set = options->working_set / page * page;
  if (sweep->working_set > sweep->region_bytes) sweep->working_set = sweep->region_bytes;
  if (sweep->region_bytes > 0) {
    sweep->region = mmap(NULL, sweep->region_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sweep->region == MAP_FAILED) fail("mmap");
    madvise(sweep->region, sweep->region_bytes, MADV_NOHUGEPAGE);
    fill(sweep);
  }
}

static void write_status(const struct options *options, const struct sweep *sweep) {
  const double seconds = seconds_since(&sweep->started); /* the count of pages below takes a while */
  char temporary[256];
  snprintf(temporary, sizeof temporary, "%s.new", options->status);
  FILE *file = fopen(temporary, "w");
  if (!file) fail(temporary);
  fprintf(file, "nonzero_asked %llu\nnonzero %llu\nwritten_before %llu\nregion %llu\nworking_set %llu\nrate %llu\n",
          (unsigned long long)options->nonzero, (unsigned long long)nonzero_now(),
          (unsigned long long)sweep->written_before, (unsigned long long)sweep->region_bytes,
          (unsigned long long)sweep->working_set, (unsigned long long)options->rate);
  fprintf(file, "dirtied %llu\nseconds %.3f\n", (unsigned long long)sweep->pages_written * page, seconds);
  fclose(file);
  if (rename(temporary, options->status)) fail(options->status);
}

static void write_pages(struct sweep *sweep, uint64_t count) {
  const uint64_t pages = sweep->working_set / page;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t *word = (uint64_t *)(sweep->region + sweep->next_page * page);
    *word = ~*word + sweep->pages_written;
    sweep->next_page = (sweep->next_page + 1) % pages;
    ++sweep->pages_written;
  }
}

/* From now on at this rate; what was counted so far is forgotten. */
static void restart(struct options *options, struct sweep *sweep, uint64_t rate) {
  options->rate = rate;
  sweep->pages_written = 0;
  clock_gettime(CLOCK_MONOTONIC, &sweep->started);
}

static void obey(char *text, struct options *options, struct sweep *sweep) {
  char *rest = NULL;
  for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    unsigned long long rate;
    if (sscanf(line, "rate %llu", &rate) == 1) restart(options, sweep, rate);
    write_status(options, sweep);
  }
}

static void run(struct options *options, struct sweep *sweep) {
  /* Open for writing too: the FIFO never ends. */
  struct pollfd control = {.fd = open(options->control, O_RDWR | O_NONBLOCK), .events = POLLIN};
  if (control.fd < 0) fail(options->control);
  double due = 0; /* pages that should have been written and were not */
  double last = 0;
  for (;;) {
    /* Also with nothing to dirty: each return from here to user mode renews an emulated processor's
     * TLB (kernel option pti=on; the lab's README says why it must be). */
    const int ready = poll(&control, 1, tick_ms);
    if (ready < 0 && errno != EINTR) fail("poll");
    if (ready > 0) {
      char text[512];
      const ssize_t size = read(control.fd, text, sizeof text - 1);
      if (size > 0) {
        text[size] = 0;
        obey(text, options, sweep);
        due = 0;
        last = seconds_since(&sweep->started);
      }
      continue;
    }
    const double now = seconds_since(&sweep->started);
    const double pages_per_second = sweep->working_set ? (double)options->rate / page : 0;
    due += (now - last) * pages_per_second;
    last = now;
    /* A guest that was stopped does not make up for it. */
    if (due > pages_per_second * most_behind_ms / 1e3) due = pages_per_second * most_behind_ms / 1e3;
    const uint64_t count = (uint64_t)due;
    write_pages(sweep, count);
    due -= (double)count;
  }
}

int main(int count, char **arguments) {
  struct options options = {.control = "/run/dirty_memory.control", .status = "/run/dirty_memory.status"};
  for (int i = 1; i + 1 < count; i += 2) {
    const char *name = arguments[i], *value = arguments[i + 1];
    if (!strcmp(name, "--nonzero")) options.nonzero = strtoull(value, NULL, 10);
    else if (!strcmp(name, "--working-set")) options.working_set = strtoull(value, NULL, 10);
    else if (!strcmp(name, "--rate")) options.rate = strtoull(value, NULL, 10);
    else if (!strcmp(name, "--control")) options.control = value;
    else if (!strcmp(name, "--status")) options.status = value;
    else {
      fprintf(stderr, "dirty_memory: unknown option %s\n", name);
      return 2;
    }
  }
  struct sweep sweep = {0};
  prepare(&options, &sweep);
  if (mkfifo(options.control, 0600) && errno != EEXIST) fail(options.control);
  restart(&options, &sweep, options.rate);
  write_status(&options, &sweep);
  run(&options, &sweep);
}
