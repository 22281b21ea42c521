/* Work for one processor: integers, branches and 1 MiB of memory. work MILLIONS: prints a sum that says it was done. */
#include <stdio.h>
#include <stdlib.h>

static unsigned table[1 << 18];

int main(int count, char **given) {
  unsigned long rounds = (count > 1 ? strtoul(given[1], 0, 10) : 1) * 1000000, sum = 0;
  unsigned state = 12345;
  for (unsigned long i = 0; i < rounds; i++) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    unsigned *at = &table[state >> 14];
    *at += state & 1 ? 3 : sum & 0xff;
    sum += *at;
  }
  printf("%lx\n", sum);
  return 0;
}
