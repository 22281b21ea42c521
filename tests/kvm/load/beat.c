/* Shows ten times a second that the guest goes on: counts, and looks whether its memory and its clock are as they have to be. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WORDS = 16384, PAUSE_US = 100000 };

static uint32_t block[WORDS];

static int64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void say(const char *what, uint32_t count) {
  char line[64];
  int length = snprintf(line, sizeof line, "%s %u\n", what, count);
  write(1, line, length);
}

int main(void) {
  int64_t last = nanoseconds();
  for (uint32_t i = 0; i < WORDS; i++) block[i] = i;
  for (uint32_t count = 1;; count++) {
    for (uint32_t i = 0; i < WORDS; i++)
      if (block[i]++ != i + count - 1) say("WRONG memory at beat", count);
    int64_t now = nanoseconds();
    if (now < last) say("WRONG clock at beat", count);
    last = now;
    say("beat", count);
    usleep(PAUSE_US);
  }
}
