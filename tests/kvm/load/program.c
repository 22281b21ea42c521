/* What the load compiles in each round: some hundred functions (functions.h), sorting, a checksum, floating point. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint32_t function(uint32_t);
#include "functions.h"

enum { COUNT = 4000, STEPS = 2000 };

static uint32_t values[COUNT];

static int ascending(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

static uint32_t checksum(const unsigned char *bytes, size_t length) {
  uint32_t sum = 0xffffffff;
  while (length-- > 0) {
    sum ^= *bytes++;
    for (int bit = 0; bit < 8; bit++) sum = sum >> 1 ^ (0xedb88320 & -(sum & 1));
  }
  return ~sum;
}

int main(void) {
  uint32_t x = SEED + 1, through = SEED;
  for (int i = 0; i < COUNT; i++) values[i] = x = x * 1664525 + 1013904223;
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) through = functions[i](through);
  qsort(values, COUNT, sizeof *values, ascending);
  double y = (SEED + 1) / 64.0;
  for (int i = 0; i < STEPS; i++) y = 3.75 * y * (1 - y);
  uint64_t bits;
  memcpy(&bits, &y, sizeof bits);
  printf("%08x %08x %016llx\n", checksum((unsigned char *)values, sizeof values), through, (unsigned long long)bits);
  return 0;
}
