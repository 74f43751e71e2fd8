// Preloaded into a controller (LD_PRELOAD): ends it with SIGKILL at a record of its journal, which no other process could
// do at the right moment. FERRY_LAB_KILL says when, and how the record begins behind its number and checksum:
//
//   before done detach_vf vm0      what came before has happened, and the record is not there
//   torn done detach_vf vm0        half of the record is there
//   after done detach_vf vm0       the record is there, and nothing after it has happened
#define _GNU_SOURCE
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char journal[] = "/journal";
enum { checksum_digits = 8 };

static int is_journal(int descriptor) {
  char link[64];
  char path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  const ssize_t size = readlink(link, path, sizeof path);
  const ssize_t end = (ssize_t)sizeof journal - 1;
  return size >= end && memcmp(path + size - end, journal, (size_t)end) == 0;
}

/// Does the line `NUMBER CHECKSUM RECORD` have a record that begins with these words?
static int begins_with(const char* line, size_t size, const char* words) {
  size_t at = 0;
  while (at < size && isdigit((unsigned char)line[at])) ++at;
  at += 1 + checksum_digits + 1;
  const size_t length = strlen(words);
  return at + length < size && memcmp(line + at, words, length) == 0 &&
         isspace((unsigned char)line[at + length]);
}

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

ssize_t write(int descriptor, const void* data, size_t size) {
  const char* when = getenv("FERRY_LAB_KILL");
  const char* words = when == NULL ? NULL : strchr(when, ' ');
  const int now =
      words != NULL && is_journal(descriptor) && begins_with((const char*)data, size, words + 1);
  if (now && when[0] == 'b') die();
  const ssize_t done = syscall(SYS_write, descriptor, data, now && when[0] == 't' ? size / 2 : size);
  if (now) die();
  return done;
}
